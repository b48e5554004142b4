import { Session } from '../../sdk/session.ts';
import { ClockReader } from './burnt-clock.ts';

/** One frame that was decoded. Times in milliseconds of the wall clock. */
export interface Seen {
  readonly at: number;
  /** The burnt-in code; null when it could not be read. */
  readonly code: number | null;
}

/** What happened from the request on. Times in milliseconds after the POST was sent. */
export interface JoinTrace {
  readonly answered: number;
  readonly iceConnected: number;
  readonly dtlsConnected: number;
  /** The last packet of the first frame had come. */
  readonly firstFrameReceived: number;
  readonly firstFrameShown: number;
  readonly frames: readonly Seen[];
  readonly freezes: number;
  readonly plis: number;
  readonly nacks: number;
  readonly keyframes: number;
  readonly decoded: number;
  readonly bufferMs: number;
  readonly decodeMs: number;
}

/** How long to watch, and how wide the publisher draws. */
export interface TraceAsk {
  readonly seconds: number;
  readonly sourceWidth: number;
}

/** Joins, notes every frame, and leaves. `postedAt` tells when the last POST was sent. */
export async function joinAndTrace(
  video: HTMLVideoElement,
  endpoint: string,
  ask: TraceAsk,
  postedAt: () => number,
): Promise<JoinTrace> {
  const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const { receiver } = connection.addTransceiver('video', { direction: 'recvonly' });
  connection.addTransceiver('audio', { direction: 'recvonly' });
  video.muted = true;
  video.srcObject = new MediaStream([receiver.track]);
  void video.play();
  const times = { answered: Number.NaN, ice: Number.NaN, dtls: Number.NaN };
  connection.addEventListener('iceconnectionstatechange', () => {
    if (connection.iceConnectionState === 'connected') times.ice = performance.now();
  });
  connection.addEventListener('connectionstatechange', () => {
    if (connection.connectionState === 'connected') times.dtls = performance.now();
  });
  const first = firstFrame(video);
  const frames = trace(receiver.track, ask);
  const session = await Session.open({
    endpoint: new URL(endpoint),
    connection,
    signal: AbortSignal.timeout(60_000),
    prepareAnswer: (sdp) => {
      times.answered = performance.now();
      return sdp;
    },
  });
  const { received, shown } = await first;
  const seen = await frames;
  const posted = postedAt();
  const since = (at: number): number => at - posted;
  const inbound = await inboundVideo(connection);
  const count = (field: string): number => Number(inbound[field] ?? 0);
  await session.close();
  video.srcObject = null;
  return {
    answered: since(times.answered),
    iceConnected: since(times.ice),
    dtlsConnected: since(times.dtls),
    firstFrameReceived: since(received),
    firstFrameShown: since(shown),
    frames: seen,
    freezes: count('freezeCount'),
    plis: count('pliCount'),
    nacks: count('nackCount'),
    keyframes: count('keyFramesDecoded'),
    decoded: count('framesDecoded'),
    bufferMs: (count('jitterBufferDelay') / count('jitterBufferEmittedCount')) * 1000,
    decodeMs: (count('totalDecodeTime') / count('framesDecoded')) * 1000,
  };
}

/** Notes every frame that is decoded, in decoding order, for some seconds from the first one on. */
export async function trace(
  track: MediaStreamTrack,
  { seconds, sourceWidth }: TraceAsk,
  stop?: AbortSignal,
): Promise<readonly Seen[]> {
  const clock = new ClockReader(sourceWidth);
  const seen: Seen[] = [];
  // A group of pictures of four seconds fits, should the page be late.
  const frames = new MediaStreamTrackProcessor({ track, maxBufferSize: 150 }).readable.getReader();
  let ends = Number.POSITIVE_INFINITY;
  while (performance.now() < ends && !stop?.aborted) {
    const { value: frame } = await frames.read();
    if (!frame) break;
    seen.push({ at: performance.timeOrigin + performance.now(), code: clock.code(frame) });
    frame.close();
    ends = Math.min(ends, performance.now() + seconds * 1000);
  }
  await frames.cancel();
  return seen;
}

/** In Chromium, and not in the DOM types yet. */
declare class MediaStreamTrackProcessor {
  constructor(init: { readonly track: MediaStreamTrack; readonly maxBufferSize: number });
  readonly readable: ReadableStream<VideoFrame>;
}

function firstFrame(video: HTMLVideoElement): Promise<{ received: number; shown: number }> {
  return new Promise((resolve) => {
    video.requestVideoFrameCallback((now, { receiveTime }) => {
      resolve({ received: receiveTime ?? now, shown: performance.now() });
    });
  });
}

async function inboundVideo(connection: RTCPeerConnection): Promise<Readonly<Record<string, unknown>>> {
  let inbound: Readonly<Record<string, unknown>> = {};
  const report = await connection.getStats();
  report.forEach((entry: Readonly<Record<string, unknown>>) => {
    if (entry['type'] === 'inbound-rtp' && entry['kind'] === 'video') inbound = entry;
  });
  return inbound;
}
