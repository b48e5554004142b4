import { WHEPClient } from 'whip-whep/whep.js';
import { WHIPClient } from 'whip-whep/whip.js';
import {
  type Layer,
  type Publish,
  publish,
  type QualityPick,
  type Watch,
  type WatchExplanation,
  watch,
} from '../../sdk/index.ts';
import { Session } from '../../sdk/session.ts';
import { onlyThrough, onlyTransport, startBitrate } from './answer.ts';
import { type CanvasAsk, canvasStream } from './canvas-source.ts';
import { publishGops } from './gop-source.ts';
import { type JoinTrace, joinAndTrace, type Seen, trace } from './join-trace.ts';
import { type PathTrace, tracePath } from './path-trace.ts';
import { type Reading, take } from './reading.ts';
import { type Exchange, recordConnections, recordExchanges } from './recorder.ts';
import { type Heard, heard, listen } from './sound.ts';

/**
 * The page on which the browser tests run: a publisher or a viewer, on another origin than the server, so that whatever
 * works here works through CORS.
 */

/** What a test page sends. */
export interface PublishAsk extends CanvasAsk {
  readonly url: string;
  readonly codec: 'h264' | 'vp8' | 'vp9' | 'av1';
  readonly layers: readonly Layer[];
  readonly transport?: 'udp' | 'tcp';
  /** `IP:PORT` of the server's media, where the answer names another. */
  readonly through?: string;
}

/** What a test page watches. */
export interface WatchAsk {
  readonly url: string;
  readonly transport?: 'udp' | 'tcp';
}

/** A summary of one connection's statistics. */
export interface Link {
  readonly protocol: string;
  readonly srtpCipher: string;
  readonly dtlsVersion: string;
  readonly connections: number;
  /** Of the last connectivity check. */
  readonly rttMs: number;
  readonly framesDecoded: number;
  /** Decoded and never shown. */
  readonly framesDropped: number;
  readonly keyFramesDecoded: number;
  readonly plis: number;
  readonly freezeCount: number;
  readonly bufferMs: number;
  /** rid, `WxH`, frames/s and bit/s of what is sent. */
  readonly sent: readonly {
    readonly rid: string;
    readonly size: string;
    readonly fps: number;
    readonly frames: number;
    readonly scalability: string;
  }[];
}

const startKbps = 2500;
const exchanges: Exchange[] = [];
const connections: RTCPeerConnection[] = [];
recordConnections(connections);
recordExchanges(exchanges);

const video = document.querySelector('video');
if (!video) throw new Error('the page has no video');
let publishing: Publish | null = null;
let watching: Watch | null = null;
let whip: WHIPClient | null = null;
let whep: WHEPClient | null = null;
let tracing: { readonly seen: Promise<readonly Seen[]>; readonly stop: AbortController } | null = null;

const lab = {
  exchanges,

  /** Goes live with the SDK; resolves once connected. */
  async publish(ask: PublishAsk): Promise<string> {
    publishing = publish({
      url: ask.url,
      source: canvasStream(ask),
      codec: ask.codec,
      simulcast: ask.layers,
      prepareAnswer: (sdp) => {
        const warm = startBitrate(sdp, startKbps);
        if (ask.through) return onlyThrough(warm, ask.through);
        return ask.transport ? onlyTransport(warm, ask.transport) : warm;
      },
    });
    await publishing.ready();
    return publishing.sessionUrl?.href ?? '';
  },

  /** Goes live with one layer whose keyframes come every `gopMs` and never on request; resolves once connected. */
  async publishGops(ask: CanvasAsk & { url: string; codec: string }, gopMs: number): Promise<void> {
    await publishGops(ask, gopMs);
  },

  /** Joins with a bare connection and notes every frame of `seconds`; leaves again. */
  join(endpoint: string, seconds: number, sourceWidth: number): Promise<JoinTrace> {
    const postedAt = (): number =>
      exchanges.findLast(({ method }) => method === 'POST')?.startedAt ?? Number.NaN;
    return joinAndTrace(video, endpoint, { seconds, sourceWidth }, postedAt);
  },

  /** Begins to note every frame that is decoded. */
  startTrace(sourceWidth: number): void {
    const stream = video.srcObject;
    const track = stream instanceof MediaStream ? stream.getVideoTracks()[0] : undefined;
    if (!track) throw new Error('nothing is being watched');
    const stop = new AbortController();
    const seen = trace(track, { seconds: Number.POSITIVE_INFINITY, sourceWidth }, stop.signal);
    tracing = { seen, stop };
  },

  /** Returns what was noted. */
  async stopTrace(): Promise<readonly Seen[]> {
    tracing?.stop.abort();
    return (await tracing?.seen) ?? [];
  },

  /** Watches with the SDK; resolves with the milliseconds from the POST to the first frame. */
  async watch({ url, transport }: WatchAsk): Promise<number> {
    const first = firstFrame();
    watching = watch({
      url,
      video,
      autoplay: 'muted',
      ...(transport ? { prepareAnswer: (sdp) => onlyTransport(sdp, transport) } : {}),
    });
    const failed = watching.ready().then(() => first);
    const at = await Promise.race([first, failed]);
    const post = exchanges.findLast(({ method }) => method === 'POST');
    return at - (post?.startedAt ?? Number.NaN);
  },

  /** Adds the sound of the room, as a viewer with an open speaker has it. */
  async unmute(): Promise<string> {
    await watching?.setMuted(false);
    return watching?.playback ?? 'none';
  },

  async close(): Promise<void> {
    await publishing?.close();
    await watching?.close();
    publishing = null;
    watching = null;
  },

  /** What the page's own latency meter says. */
  latency(): { ms: number; method: string } | null {
    return watching?.latency ?? null;
  },

  watchState(): { state: string; location: string; error: string } {
    const { state = 'none', sessionUrl, error } = watching ?? {};
    return { state, location: sessionUrl?.href ?? '', error: error ? `${error.code}: ${error.message}` : '' };
  },

  /** Why the viewer has what it has, as the SDK asks for it. */
  async explain(): Promise<WatchExplanation> {
    if (!watching) throw new Error('nothing is being watched');
    return watching.explain();
  },

  /** The same by a plain request. */
  async explainByHttp(): Promise<unknown> {
    const session = watching?.sessionUrl;
    if (!session) throw new Error('nothing is being watched');
    const url = new URL(`/api/v1/sessions/${session.pathname.split('/').at(-1)}/explain`, session);
    return (await fetch(url)).json();
  },

  async setQuality(pick: QualityPick): Promise<void> {
    await watching?.setQuality(pick);
  },

  /** Resolves once the picture has this width; gives the milliseconds it took. */
  async untilWidth(width: number, withinMs: number): Promise<number> {
    const started = performance.now();
    while (video.videoWidth !== width) {
      if (performance.now() - started > withinMs) {
        throw new Error(
          `the picture is ${video.videoWidth}x${video.videoHeight}, not ${width} wide, after ${withinMs} ms`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return performance.now() - started;
  },

  take(seconds: number, sourceWidth: number): Promise<Reading> {
    return take(video, seconds, sourceWidth);
  },

  /** Notes every frame of what is being watched, over some seconds. */
  tracePath(seconds: number): Promise<PathTrace> {
    const connection = connections.at(-1);
    if (!connection) throw new Error('nothing is being watched');
    return tracePath(video, connection, seconds);
  },

  link(): Promise<Link> {
    return link();
  },

  /** Joins with a bare connection and plays the sound; without RED, if that is to be left out of the offer. */
  async listen(endpoint: string, red: boolean): Promise<void> {
    await listen(endpoint, { red });
  },

  /** What has been heard so far. */
  heard(): Promise<Heard> {
    const connection = connections.at(-1);
    if (!connection) throw new Error('nothing is being listened to');
    return heard(connection);
  },

  /** Publishes and views without a server, in this one page: the floor of every measurement, and a proof of the clock. */
  async loop(ask: CanvasAsk): Promise<void> {
    const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
    from.addEventListener('icecandidate', ({ candidate }) => void to.addIceCandidate(candidate ?? undefined));
    to.addEventListener('icecandidate', ({ candidate }) => void from.addIceCandidate(candidate ?? undefined));
    to.addEventListener('track', ({ track }) => {
      video.srcObject = new MediaStream([track]);
      void video.play();
    });
    for (const track of canvasStream(ask).getTracks()) from.addTrack(track);
    await from.setLocalDescription();
    await to.setRemoteDescription(from.localDescription as RTCSessionDescription);
    await to.setLocalDescription();
    await from.setRemoteDescription({
      type: 'answer',
      sdp: startBitrate(to.localDescription?.sdp ?? '', startKbps),
    });
    await firstFrame();
  },

  /** Opens a data channel beside a viewer's media and sends; resolves with what comes back. */
  async echo(
    endpoint: string,
    texts: readonly string[],
    bytes: number,
  ): Promise<{ texts: string[]; bytes: number }> {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    connection.addTransceiver('video', { direction: 'recvonly' });
    const channel = connection.createDataChannel('room');
    channel.binaryType = 'arraybuffer';
    const got: { texts: string[]; bytes: number } = { texts: [], bytes: 0 };
    const done = new Promise<void>((resolve, reject) => {
      channel.addEventListener('open', () => {
        for (const text of texts) channel.send(text);
        channel.send(new Uint8Array(bytes).map((_, index) => index % 251));
      });
      channel.addEventListener('error', () => reject(new Error('the data channel failed')));
      channel.addEventListener('message', ({ data }) => {
        if (typeof data === 'string') got.texts.push(data);
        if (data instanceof ArrayBuffer) {
          const intact = new Uint8Array(data).every((byte, index) => byte === index % 251);
          got.bytes = intact ? data.byteLength : -1;
        }
        if (got.texts.length === texts.length && got.bytes !== 0) resolve();
      });
    });
    const signal = AbortSignal.timeout(20_000);
    const session = await Session.open({ endpoint: new URL(endpoint), connection, signal });
    await done;
    await session.close();
    return got;
  },

  /** Views with a bare session and moves it to a new ICE generation; resolves with a reading from after that. */
  async restartIce(endpoint: string, sourceWidth: number): Promise<Reading> {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const { receiver } = connection.addTransceiver('video', { direction: 'recvonly' });
    video.muted = true;
    video.srcObject = new MediaStream([receiver.track]);
    void video.play();
    const shown = firstFrame();
    const signal = AbortSignal.timeout(60_000);
    const session = await Session.open({ endpoint: new URL(endpoint), connection, signal });
    await shown;
    await session.restart();
    // The old path is used until the new one is chosen; a second is plenty for that on one machine.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const reading = await take(video, 5, sourceWidth);
    await session.close();
    return reading;
  },

  /** Publishes with the npm package, unmodified. */
  async whipPublish(url: string, ask: CanvasAsk, layers: readonly Layer[]): Promise<void> {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const stream = canvasStream(ask);
    for (const track of stream.getTracks()) {
      const encodings = layers.map(({ rid, scale: scaleResolutionDownBy, maxBitrate }) => ({
        rid,
        scaleResolutionDownBy,
        maxBitrate,
      }));
      const extra = track.kind === 'video' ? { sendEncodings: encodings } : {};
      connection.addTransceiver(track, { direction: 'sendonly', streams: [stream], ...extra });
    }
    whip = new WHIPClient();
    await whip.publish(connection, url, 'a-bearer');
  },

  /** Views with the npm package, unmodified. */
  async whepView(url: string): Promise<void> {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    connection.addTransceiver('audio', { direction: 'recvonly' });
    connection.addTransceiver('video', { direction: 'recvonly' });
    connection.addEventListener('track', ({ track }) => {
      if (track.kind !== 'video') return;
      video.muted = true;
      video.srcObject = new MediaStream([track]);
      void video.play();
    });
    const shown = firstFrame();
    whep = new WHEPClient();
    await whep.view(connection, url, 'another-bearer');
    await shown;
  },

  /** Ends both with the package's own DELETE. */
  async whipWhepStop(): Promise<void> {
    await whip?.stop();
    await whep?.stop();
  },
};

/** The functions that a test may call in the page. */
export type Lab = typeof lab;

declare global {
  interface Window {
    lab: Lab;
  }
}

window.lab = lab;

function firstFrame(): Promise<number> {
  return new Promise((resolve) => {
    video?.requestVideoFrameCallback(() => resolve(performance.now()));
  });
}

type Entry = Readonly<Record<string, unknown>>;

async function link(): Promise<Link> {
  const report = await connections.at(-1)?.getStats();
  const entries: Entry[] = [];
  report?.forEach((entry: Entry) => {
    entries.push(entry);
  });
  const find = (field: string, value: unknown): Entry =>
    entries.find((entry) => entry[field] === value) ?? {};
  const text = (value: unknown): string => String(value ?? '');
  const transport = find('type', 'transport');
  const pair = find('id', transport['selectedCandidatePairId']);
  const inbound = entries.find((entry) => entry['type'] === 'inbound-rtp' && entry['kind'] === 'video') ?? {};
  const delay = Number(inbound['jitterBufferDelay'] ?? 0) / Number(inbound['jitterBufferEmittedCount'] ?? 1);
  return {
    protocol: text(find('id', pair['localCandidateId'])['protocol']),
    srtpCipher: text(transport['srtpCipher']),
    dtlsVersion: text(transport['tlsVersion']),
    connections: connections.length,
    rttMs: Number(pair['currentRoundTripTime'] ?? Number.NaN) * 1000,
    framesDecoded: Number(inbound['framesDecoded'] ?? 0),
    framesDropped: Number(inbound['framesDropped'] ?? 0),
    keyFramesDecoded: Number(inbound['keyFramesDecoded'] ?? 0),
    plis: Number(inbound['pliCount'] ?? 0),
    freezeCount: Number(inbound['freezeCount'] ?? 0),
    bufferMs: delay * 1000,
    sent: entries
      .filter((entry) => entry['type'] === 'outbound-rtp' && entry['kind'] === 'video')
      .map((entry) => ({
        rid: text(entry['rid']),
        size: `${text(entry['frameWidth'])}x${text(entry['frameHeight'])}`,
        fps: Number(entry['framesPerSecond'] ?? 0),
        frames: Number(entry['framesSent'] ?? 0),
        scalability: text(entry['scalabilityMode']),
      })),
  };
}
