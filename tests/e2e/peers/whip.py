"""The HTTP half of WHIP and WHEP for the aiortc scripts: POST an offer, take the answer, DELETE at the end."""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription


def say(**fields):
    """Tell the test what happened: one JSON object a line."""
    print(json.dumps(fields), flush=True)


def _request(method, url, body=None):
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("Authorization", "Bearer e2e-credential")
    if body is not None:
        request.add_header("Content-Type", "application/sdp")
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, response.headers, response.read().decode()


async def join(pc: RTCPeerConnection, url: str) -> str:
    """Negotiate `pc` at `url`; returns the URL of the session."""
    await pc.setLocalDescription(await pc.createOffer())
    loop = asyncio.get_running_loop()
    offer = pc.localDescription.sdp.encode()
    status, headers, answer = await loop.run_in_executor(None, _request, "POST", url, offer)
    if status != 201:
        raise RuntimeError(f"POST answered {status} instead of 201")
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return urllib.parse.urljoin(url, headers["Location"])


async def leave(session: str):
    """End the session; anything but 200 is an error."""
    loop = asyncio.get_running_loop()
    status, _, _ = await loop.run_in_executor(None, _request, "DELETE", session)
    if status != 200:
        raise RuntimeError(f"DELETE answered {status} instead of 200")


async def connected(pc: RTCPeerConnection, seconds: float = 10):
    """Wait until ICE and DTLS stand."""
    done = asyncio.Event()

    def check():
        if pc.connectionState in ("connected", "failed", "closed"):
            done.set()

    pc.on("connectionstatechange", check)
    check()
    await asyncio.wait_for(done.wait(), seconds)
    if pc.connectionState != "connected":
        raise RuntimeError(f"the session became {pc.connectionState} instead of connected")
    say(event="connected")


def seconds_and_url():
    """The two arguments that every script takes."""
    return float(sys.argv[1]), sys.argv[2]
