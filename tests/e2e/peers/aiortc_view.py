"""Views a room by WHEP with aiortc and counts what it decodes.

usage: aiortc_view.py SECONDS URL
"""

import asyncio

from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from whip import connected, join, leave, say, seconds_and_url


async def main():
    seconds, url = seconds_and_url()
    pc = RTCPeerConnection()
    counts = {"video": 0, "audio": 0}
    sizes = set()
    first = {}

    async def count(track):
        loop = asyncio.get_running_loop()
        try:
            while True:
                frame = await track.recv()
                counts[track.kind] += 1
                first.setdefault(track.kind, loop.time() - began)
                if track.kind == "video":
                    sizes.add((frame.width, frame.height))
        except MediaStreamError:
            say(event="track_ended", kind=track.kind, after_s=loop.time() - began, state=pc.connectionState)

    pc.on("track", lambda track: asyncio.ensure_future(count(track)))
    pc.addTransceiver("video", direction="recvonly")
    pc.addTransceiver("audio", direction="recvonly")

    began = asyncio.get_running_loop().time()
    session = await join(pc, url)
    await connected(pc)
    await asyncio.sleep(seconds)

    received = {}
    for report in (await pc.getStats()).values():
        if report.type == "inbound-rtp":
            received[report.kind] = {"packets": report.packetsReceived, "lost": report.packetsLost}
    await leave(session)
    await pc.close()
    say(event="done", frames=counts, sizes=sorted(sizes), first_frame_s=first, received=received)


asyncio.run(main())
