"""Publishes H.264 (or the codec named third) and Opus by WHIP with aiortc.

usage: aiortc_publish.py SECONDS URL [video/H264]
"""

import asyncio
import fractions
import sys

import av
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCRtpSender, VideoStreamTrack
from whip import connected, join, leave, say, seconds_and_url


class MovingPicture(VideoStreamTrack):
    """A gradient that moves with every frame, so that the encoder has work."""

    frames = 0

    async def recv(self):
        timestamp, time_base = await self.next_timestamp()
        frame = av.VideoFrame(640, 360, "yuv420p")
        for plane in frame.planes:
            row = bytes((x + 4 * self.frames) % 256 for x in range(plane.line_size))
            plane.update(row * (plane.buffer_size // plane.line_size))
        frame.pts, frame.time_base = timestamp, fractions.Fraction(time_base)
        self.frames += 1
        return frame


async def main():
    seconds, url = seconds_and_url()
    mime = sys.argv[3] if len(sys.argv) > 3 else "video/H264"
    pc = RTCPeerConnection()
    picture = MovingPicture()
    transceiver = pc.addTransceiver(picture, direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([c for c in codecs if c.mimeType in (mime, "video/rtx")])
    pc.addTransceiver(AudioStreamTrack(), direction="sendonly")

    session = await join(pc, url)
    await connected(pc)
    await asyncio.sleep(seconds)

    sent = {}
    for report in (await pc.getStats()).values():
        if report.type == "outbound-rtp":
            sent[report.kind] = report.packetsSent
    await leave(session)
    await pc.close()
    say(event="done", frames=picture.frames, packets=sent)


asyncio.run(main())
