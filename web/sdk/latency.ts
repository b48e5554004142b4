import type { WatchStats } from './stats.ts';

/**
 * The latency of the picture: capture at the publisher to display here.
 *
 * Two methods, and every reading says which one it is. `capture-time`: the browser tells for each frame shown when it
 * was captured, from the server's sender reports, which the server keeps on one clock over all layers. `estimate`:
 * where the browser tells nothing, half the round trip, the jitter buffer and the decoder; it leaves out the
 * publisher's side and is a lower bound.
 */
export type LatencyMethod = 'capture-time' | 'estimate';

/** One reading, the median over about a second. */
export interface Latency {
  readonly ms: number;
  readonly method: LatencyMethod;
  /** The reading may be off by this much either way. */
  readonly accuracyMs: number;
}

/** What the browser says of a frame; `captureTime` and `rtpTimestamp` are missing from the DOM library's older texts. */
interface FrameTimes {
  readonly expectedDisplayTime: DOMHighResTimeStamp;
  readonly captureTime?: DOMHighResTimeStamp;
}

const samplesMax = 240;
/** A capture time beyond this is a broken clock, not a latency. */
const plausibleMs = 60_000;

/** Collects readings from one `<video>`. */
export class LatencyMeter {
  readonly #video: HTMLVideoElement;
  #samples: number[] = [];
  #callback = 0;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
    this.#next();
  }

  /** The median of what was shown since the last call; an estimate when no frame had a capture time. */
  read(stats: WatchStats): Latency | null {
    const samples = this.#samples.sort((a, b) => a - b);
    this.#samples = [];
    const median = samples[Math.floor(samples.length / 2)];
    const halfRtt = (stats.rttMs ?? 0) / 2;
    if (median !== undefined) {
      return { ms: Math.max(0, median), method: 'capture-time', accuracyMs: Math.max(10, halfRtt) };
    }
    if (stats.fps === 0) return null;
    const ms = halfRtt + stats.bufferMs + stats.decodeMs;
    return { ms, method: 'estimate', accuracyMs: Math.max(100, ms / 2) };
  }

  close(): void {
    this.#video.cancelVideoFrameCallback?.(this.#callback);
  }

  #next(): void {
    if (!('requestVideoFrameCallback' in this.#video)) return;
    this.#callback = this.#video.requestVideoFrameCallback((_now, metadata) => {
      this.#add(metadata);
      this.#next();
    });
  }

  #add({ expectedDisplayTime, captureTime }: FrameTimes): void {
    if (captureTime === undefined) return;
    const ms = expectedDisplayTime - captureTime;
    if (Math.abs(ms) < plausibleMs && this.#samples.length < samplesMax) this.#samples.push(ms);
  }
}
