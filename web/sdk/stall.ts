import type { WatchStats } from './stats.ts';

/** `starting`: nothing came yet. `slow`: nothing for a moment. `frozen`: nothing for so long that somebody must ask why. */
export type Flow = 'starting' | 'flowing' | 'slow' | 'frozen';

const frozenMs = 2000;
/** A live room that stays frozen this long has lost this session. */
const lostMs = 8000;

/** Tells from growing counters whether media flows. A room without video flows when its audio does. */
export class StallWatch {
  #frames = 0;
  #packets = 0;
  #grewAt: number | null = null;
  #started = false;

  /** Looks at one reading. */
  look(stats: Pick<WatchStats, 'framesDecoded' | 'audioPackets'>, nowMs: number): Flow {
    this.#grewAt ??= nowMs;
    const heard = stats.framesDecoded === 0 && stats.audioPackets > this.#packets;
    const grew = stats.framesDecoded > this.#frames || heard;
    this.#frames = stats.framesDecoded;
    this.#packets = stats.audioPackets;
    if (grew) {
      this.#grewAt = nowMs;
      this.#started = true;
      return 'flowing';
    }
    if (nowMs - this.#grewAt >= frozenMs) return 'frozen';
    return this.#started ? 'slow' : 'starting';
  }

  /** Begins to count anew, because the silence has an innocent cause. */
  reset(nowMs: number): void {
    this.#grewAt = nowMs - frozenMs;
  }

  /** Whether the silence has lasted so long that the session should be given up. */
  lasted(nowMs: number): boolean {
    return this.#grewAt !== null && nowMs - this.#grewAt >= lostMs;
  }
}
