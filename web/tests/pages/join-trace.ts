import { Session } from '../../sdk/session.ts';
import { ClockReader } from './burnt-clock.ts';

/** One frame that was shown. Times in milliseconds of the wall clock. */
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

/** Joins, notes every frame, and leaves. */
export async function joinAndTrace(
  video: HTMLVideoElement,
  endpoint: string,
  ask: TraceAsk,
): Promise<JoinTrace> {
  const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const { receiver } = connection.addTransceiver('video', { direction: 'recvonly' });
  connection.addTransceiver('audio', { direction: 'recvonly' });
  video.muted = true;
  video.srcObject = new MediaStream([receiver.track]);
  void video.play();
  const times = { posted: Number.NaN, answered: Number.NaN, ice: Number.NaN, dtls: Number.NaN };
  const since = (at: number): number => at - times.posted;
  connection.addEventListener('iceconnectionstatechange', () => {
    if (connection.iceConnectionState === 'connected') times.ice = performance.now();
  });
  connection.addEventListener('connectionstatechange', () => {
    if (connection.connectionState === 'connected') times.dtls = performance.now();
  });
  const first = firstFrame(video);
  const frames = trace(video, ask);
  const createOffer = connection.createOffer.bind(connection);
  connection.createOffer = async (): Promise<RTCSessionDescriptionInit> => {
    const offer = await createOffer();
    times.posted = performance.now();
    return offer;
  };
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

/** Notes every frame that is shown, from the first one on for some seconds. */
export function trace(video: HTMLVideoElement, { seconds, sourceWidth }: TraceAsk): Promise<readonly Seen[]> {
  const clock = new ClockReader(sourceWidth);
  const seen: Seen[] = [];
  let ends = Number.POSITIVE_INFINITY;
  return new Promise((resolve) => {
    const onFrame = (now: number, frame: VideoFrameCallbackMetadata): void => {
      if (ends === Number.POSITIVE_INFINITY) ends = now + seconds * 1000;
      seen.push({ at: performance.timeOrigin + frame.expectedDisplayTime, code: clock.code(video) });
      if (now >= ends) resolve(seen);
      else video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  });
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
