// Views a room by WHEP with werift and counts the packets of each track.
//
// usage: node werift_view.mjs SECONDS URL
import { RTCPeerConnection, RTCRtpCodecParameters } from "werift";

const [seconds, url] = [Number(process.argv[2]), process.argv[3]];
const say = (fields) => console.log(JSON.stringify(fields));

const pc = new RTCPeerConnection({
  iceServers: [],
  codecs: {
    audio: [new RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48000, channels: 2 })],
    video: [
      new RTCRtpCodecParameters({
        mimeType: "video/H264",
        clockRate: 90000,
        parameters: "packetization-mode=1;profile-level-id=42e01f",
        rtcpFeedback: [{ type: "nack" }, { type: "nack", parameter: "pli" }],
      }),
    ],
  },
});

const packets = { video: 0, audio: 0 };
const gaps = { video: 0, audio: 0 };
for (const kind of ["video", "audio"]) {
  let last;
  pc.addTransceiver(kind, { direction: "recvonly" }).onTrack.subscribe((track) => {
    track.onReceiveRtp.subscribe((packet) => {
      const number = packet.header.sequenceNumber;
      if (last !== undefined && number !== ((last + 1) & 0xffff)) gaps[kind] += 1;
      last = number;
      packets[kind] += 1;
    });
  });
}

await pc.setLocalDescription(await pc.createOffer());
const response = await fetch(url, {
  method: "POST",
  headers: { "content-type": "application/sdp", authorization: "Bearer e2e-credential" },
  body: pc.localDescription.sdp,
});
const answer = await response.text();
if (response.status !== 201) throw new Error(`POST answered ${response.status}: ${answer}`);
const session = new URL(response.headers.get("location"), url);
await pc.setRemoteDescription({ type: "answer", sdp: answer });

const deadline = Date.now() + 10_000;
while (pc.connectionState !== "connected") {
  if (Date.now() > deadline) throw new Error(`still ${pc.connectionState} after 10 s`);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
say({ event: "connected" });

await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const removed = await fetch(session, { method: "DELETE", headers: { authorization: "Bearer e2e-credential" } });
if (removed.status !== 200) throw new Error(`DELETE answered ${removed.status} instead of 200`);
say({ event: "done", packets, gaps });
process.exit(0);
