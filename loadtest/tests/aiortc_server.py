"""A WHEP server of another stack: a full ICE agent that takes the active DTLS role and sends a picture."""

import asyncio

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack

sessions: dict[str, RTCPeerConnection] = {}


async def answer(offer: str) -> str:
    session = RTCPeerConnection()
    session.addTrack(VideoStreamTrack())
    await session.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
    await session.setLocalDescription(await session.createAnswer())
    path = f"/session/{len(sessions)}"
    sessions[path] = session
    body = session.localDescription.sdp
    return f"201 Created\r\nlocation: {path}\r\ncontent-length: {len(body)}\r\n\r\n{body}"


async def end(path: str) -> str:
    await sessions[path].close()
    print(f"ended {path}", flush=True)
    return "200 OK\r\ncontent-length: 0\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return
        lines = head.lower().split("\r\n")
        lengths = [int(line.split(":")[1]) for line in lines if line.startswith("content-length:")]
        body = (await reader.readexactly(sum(lengths))).decode()
        method, path = head.split(" ")[:2]
        response = await answer(body) if method == "POST" else await end(path)
        writer.write(f"HTTP/1.1 {response}".encode())
        await writer.drain()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
