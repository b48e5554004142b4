import type { WatchStats } from './stats.ts';

/** `starting`: nothing came yet. `slow`: nothing for a moment. `frozen`: nothing for so long that somebody must ask why. */
export type Flow = 'starting' | 'flowing' | 'slow' | 'frozen';

/** What should come. */
export type Expected = 'picture' | 'sound' | 'nothing';

const frozenMs = 2000;
/** A live room that stays frozen this long has lost this session. */
const lostMs = 8000;

/**
 * Tells from growing counters whether media flows. A room without video flows when its audio does, and so does one whose
 * picture nobody asked for; where nothing is expected, nothing is missing.
 */
export class StallWatch {
  #frames = 0;
  #packets = 0;
  #grewAt: number | null = null;
  #started = false;

  /** Looks at one reading. */
  look(
    stats: Pick<WatchStats, 'framesDecoded' | 'audioPackets'>,
    nowMs: number,
    expected: Expected = 'picture',
  ): Flow {
    this.#grewAt ??= nowMs;
    const isHeard = stats.audioPackets > this.#packets;
    // A room may have no sound at all.
    const isContent =
      expected === 'nothing' || (expected === 'sound' && (isHeard || stats.audioPackets === 0));
    const grew = stats.framesDecoded > this.#frames || (stats.framesDecoded === 0 && isHeard) || isContent;
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
