import { isRecord } from './http.ts';

/** Why a session, or one layer of it, is as it is. The server's sentences say the same in words. */
export type ExplainReason = (typeof reasons)[number] | 'unknown';

/** A reason with its sentence, and what to do about it where there is something to do. */
export interface Why {
  /** `unknown`: a word of a newer server. */
  readonly reason: ExplainReason;
  readonly text: string;
  readonly hint: string;
}

/** What is known of every session. */
export interface ExplanationHead extends Why {
  /** The short public id, as in the server's log. */
  readonly session: string;
  readonly room: string;
  readonly connected: boolean;
  readonly ageMs: number;
  /** Null until something has measured it. */
  readonly rttMs: number | null;
  /** Null before a path is selected. */
  readonly pair: CandidatePair | null;
  readonly join: JoinSteps;
}

/** The addresses between which media goes, as the server sees them. */
export interface CandidatePair {
  readonly protocol: 'udp' | 'tcp';
  /** The server's, empty when unknown. */
  readonly local: string;
  readonly remote: string;
}

/** How long each step of a join took, ms, each from the end of the one before; null before it has ended. */
export interface JoinSteps {
  readonly httpMs: number | null;
  readonly iceMs: number | null;
  readonly dtlsMs: number | null;
  readonly firstPacketMs: number | null;
  readonly firstKeyframeMs: number | null;
  /** All of them together. */
  readonly totalMs: number | null;
}

/** A layer of the room in short. */
export interface LayerBrief {
  /** The rid, empty without simulcast. */
  readonly id: string;
  readonly width: number | null;
  readonly height: number | null;
  /** bit/s */
  readonly bitrate: number;
}

/** Why a viewer's session is as it is. */
export interface WatchExplanation extends ExplanationHead {
  readonly role: 'viewer';
  /** The layer that the wish means. */
  readonly desired: LayerBrief | null;
  /** The layer that was granted. */
  readonly target: LayerBrief | null;
  /** The layer that is being forwarded. */
  readonly current: LayerBrief | null;
  /** What the path carries, bit/s, and what keeps it from being more; null while nothing estimates it. */
  readonly estimate: { readonly bitrate: number; readonly limiter: string; readonly text: string } | null;
  /** Share of packets lost on the way here, 0 to 1; null until this side has reported. */
  readonly lossRatio: number | null;
  /** How long ago this side asked for a keyframe; null if never. */
  readonly lastPliMs: number | null;
  /** How long ago a keyframe was sent here; null before the first. */
  readonly lastKeyframeMs: number | null;
}

/** One layer as the server receives it. */
export interface ArrivingLayer extends LayerBrief, Why {
  readonly codec: string;
  readonly fps: number;
  /** Whether media came in the last two seconds. */
  readonly active: boolean;
  /** Whether somebody wants it. */
  readonly wanted: boolean;
  readonly lossRatio: number;
  readonly jitterMs: number;
  /** How long ago the server asked for a keyframe; null if never. */
  readonly lastPliMs: number | null;
  readonly lastKeyframeMs: number | null;
}

/** Why a publisher's session is as it is. */
export interface PublishExplanation extends ExplanationHead {
  readonly role: 'publisher';
  /** In the order of the offer. */
  readonly layers: readonly ArrivingLayer[];
  readonly audio: { readonly bitrate: number; readonly active: boolean; readonly lossRatio: number } | null;
  /** What the server asked for since the start. */
  readonly feedback: {
    readonly packetsNacked: number;
    readonly recovered: number;
    readonly keyframeRequests: number;
    readonly transportFeedbacks: number;
  };
}

/** Why a session is as it is. */
export type Explanation = WatchExplanation | PublishExplanation;

const reasons = [
  'connecting',
  'no-publisher',
  'no-layer',
  'blocked',
  'catching-up',
  'awaiting-keyframe',
  'not-sent',
  'waking',
  'best',
  'wish',
  'wish-above-path',
  'paused',
  'only-layer',
  'path',
  'confirming',
  'backing-off',
  'reduced-frame-rate',
  'audio-only',
  'arrives',
  'no-media',
  'never-sent',
  'stopped',
  'not-wanted',
  'loss',
  'keyframes-rare',
] as const;

/** Decodes an explanation; null when it is none. */
export function decodeExplanation(body: unknown): Explanation | null {
  if (!isRecord(body) || typeof body['session'] !== 'string') return null;
  if (body['role'] === 'viewer') return decodeViewer(body);
  if (body['role'] === 'publisher') return decodePublisher(body);
  return null;
}

function decodeViewer(body: Body): WatchExplanation {
  const video = record(body['video']);
  const estimate = isRecord(body['estimate']) ? body['estimate'] : null;
  return {
    ...decodeHead(body),
    role: 'viewer',
    desired: decodeBrief(video['desired']),
    target: decodeBrief(video['target']),
    current: decodeBrief(video['current']),
    estimate: estimate && {
      bitrate: count(estimate['bitrate']),
      limiter: text(estimate['limiter']),
      text: text(estimate['text']),
    },
    lossRatio: number(body['lossRatio']),
    lastPliMs: number(body['lastPliMs']),
    lastKeyframeMs: number(body['lastKeyframeMs']),
  };
}

function decodePublisher(body: Body): PublishExplanation {
  const layers = Array.isArray(body['layers']) ? body['layers'].filter(isRecord) : [];
  const audio = isRecord(body['audio']) ? body['audio'] : null;
  const feedback = record(body['feedback']);
  return {
    ...decodeHead(body),
    role: 'publisher',
    layers: layers.map(decodeArriving),
    audio: audio && {
      bitrate: count(audio['bitrate']),
      active: audio['active'] === true,
      lossRatio: count(audio['lossRatio']),
    },
    feedback: {
      packetsNacked: count(feedback['packetsNacked']),
      recovered: count(feedback['recovered']),
      keyframeRequests: count(feedback['keyframeRequests']),
      transportFeedbacks: count(feedback['transportFeedbacks']),
    },
  };
}

function decodeHead(body: Body): ExplanationHead {
  const join = record(body['join']);
  const pair = isRecord(body['pair']) ? body['pair'] : null;
  return {
    ...decodeWhy(body),
    session: text(body['session']),
    room: text(body['room']),
    connected: body['connected'] === true,
    ageMs: count(body['ageMs']),
    rttMs: number(body['rttMs']),
    pair: pair && {
      protocol: pair['protocol'] === 'tcp' ? 'tcp' : 'udp',
      local: text(pair['local']),
      remote: text(pair['remote']),
    },
    join: {
      httpMs: number(join['httpMs']),
      iceMs: number(join['iceMs']),
      dtlsMs: number(join['dtlsMs']),
      firstPacketMs: number(join['firstPacketMs']),
      firstKeyframeMs: number(join['firstKeyframeMs']),
      totalMs: number(join['totalMs']),
    },
  };
}

function decodeWhy(body: Body): Why {
  const reason = reasons.find((known) => known === body['reason']) ?? 'unknown';
  return { reason, text: text(body['text']), hint: text(body['hint']) };
}

function decodeBrief(layer: unknown): LayerBrief | null {
  if (!isRecord(layer)) return null;
  return {
    id: text(layer['rid']),
    width: number(layer['width']),
    height: number(layer['height']),
    bitrate: count(layer['bitrate']),
  };
}

function decodeArriving(layer: Body): ArrivingLayer {
  return {
    ...decodeWhy(layer),
    id: text(layer['rid']),
    width: number(layer['width']),
    height: number(layer['height']),
    bitrate: count(layer['bitrate']),
    codec: text(layer['codec']),
    fps: count(layer['fps']),
    active: layer['active'] === true,
    wanted: layer['wanted'] !== false,
    lossRatio: count(layer['lossRatio']),
    jitterMs: count(layer['jitterMs']),
    lastPliMs: number(layer['lastPliMs']),
    lastKeyframeMs: number(layer['lastKeyframeMs']),
  };
}

type Body = Record<string, unknown>;

function record(value: unknown): Body {
  return isRecord(value) ? value : {};
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function count(value: unknown): number {
  return number(value) ?? 0;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
