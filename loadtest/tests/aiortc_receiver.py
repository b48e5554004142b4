"""A WHIP server of another project's stack: takes one publisher and tells what it decodes.

usage: aiortc_receiver.py [DROP_ONE_IN]

Prints {"event": "listening", "url": …}, then "connected", and at the publisher's DELETE {"event": "done", …}. Drops one packet of the
picture in DROP_ONE_IN on arrival, so that they have to be sent again, and asks for a keyframe every second.
"""

import asyncio
import json
import logging
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

DROP_ONE_IN = int(sys.argv[1]) if len(sys.argv) > 1 else 0

frames = {"video": 0, "audio": 0}
sizes = set()
complaints = []
asked = 0


class Complaints(logging.Handler):
    """What the decoders and the jitter buffer have to complain of."""

    def emit(self, record):
        complaints.append(record.getMessage())


def say(**fields):
    print(json.dumps(fields), flush=True)


async def count(track):
    try:
        while True:
            frame = await track.recv()
            frames[track.kind] += 1
            if track.kind == "video":
                sizes.add((frame.width, frame.height))
    except MediaStreamError:
        pass


def drop_some(receiver):
    handle = receiver._handle_rtp_packet
    media = {}

    async def handle_or_drop(packet, arrival_time_ms):
        media.setdefault(packet.ssrc, 0)
        media[packet.ssrc] += 1
        # The first source is the picture's; what repairs it comes by another and always arrives.
        is_picture = packet.ssrc == next(iter(media))
        if DROP_ONE_IN and is_picture and media[packet.ssrc] % DROP_ONE_IN == 0:
            return
        await handle(packet, arrival_time_ms=arrival_time_ms)

    receiver._handle_rtp_packet = handle_or_drop


async def ask_for_keyframes(receiver):
    global asked
    while True:
        await asyncio.sleep(1)
        for source in receiver.getSynchronizationSources():
            await receiver._send_rtcp_pli(source.source)
            asked += 1
            break


async def answer(pc, offer):
    pc.on("track", lambda track: asyncio.ensure_future(count(track)))
    await pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    for transceiver in pc.getTransceivers():
        if transceiver.kind == "video":
            drop_some(transceiver.receiver)
            asyncio.ensure_future(ask_for_keyframes(transceiver.receiver))
    return pc.localDescription.sdp


async def serve(pc, done, reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method = head.split(" ", 1)[0]
    lines = [line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line]
    length = int({name.lower(): value for name, value in lines}.get("content-length", 0))
    body = (await reader.readexactly(length)).decode()
    if method == "POST":
        body = await answer(pc, body)
        status, headers = "201 Created", "Location: /session\r\nContent-Type: application/sdp\r\n"
    else:
        status, headers, body = "200 OK", "", ""
        done.set()
    headers += f"Connection: close\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"HTTP/1.1 {status}\r\n{headers}\r\n{body}".encode())
    await writer.drain()
    writer.close()


async def main():
    logging.getLogger("aiortc.codecs").addHandler(Complaints())
    logging.getLogger("aiortc.rtcrtpreceiver").addHandler(Complaints())
    logging.getLogger("libav").addHandler(Complaints())
    pc = RTCPeerConnection()
    done = asyncio.Event()
    pc.on("connectionstatechange", lambda: say(event=pc.connectionState))
    server = await asyncio.start_server(lambda *pair: serve(pc, done, *pair), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    say(event="listening", url=f"http://{host}:{port}/whip")
    await done.wait()
    lost = sum(
        report.packetsLost for report in (await pc.getStats()).values() if report.type == "inbound-rtp"
    )
    heard = {"frames": frames, "sizes": sorted(sizes), "asked": asked, "lost": lost, "complaints": complaints}
    say(event="done", **heard)
    await pc.close()


asyncio.run(main())
