import type { WatchStats } from './stats.ts';

/** `starting`: nothing came yet. `slow`: nothing for a moment. `frozen`: nothing for so long that somebody must ask why. */
export type Flow = 'starting' | 'flowing' | 'slow' | 'frozen';

/** What should come. `either`: there may be no picture to come, so sound that is heard is enough. */
export type Expected = 'picture' | 'sound' | 'either' | 'nothing';

const frozenMs = 2000;
/** A live room that stays frozen this long has lost this session. */
const lostMs = 8000;

/**
 * Tells from growing counters whether media flows. A room without video flows when its audio does, and so does one whose
 * picture nobody asked for; where nothing is expected, nothing is missing. Nobody says whether a room has sound: one that
 * showed its picture for a while and was not heard has none.
 */
export class StallWatch {
  #frames = 0;
  #packets = 0;
  #picturedAt: number | null = null;
  #isSoundless: boolean;
  #grewAt: number | null = null;
  #started = false;

  /** `isSoundless`: a session before this one has found it out. */
  constructor(isSoundless = false) {
    this.#isSoundless = isSoundless;
  }

  /** Whether the room is known to have no sound. */
  get isSoundless(): boolean {
    return this.#isSoundless;
  }

  /** Looks at one reading. */
  look(
    stats: Pick<WatchStats, 'framesDecoded' | 'audioPackets'>,
    nowMs: number,
    expected: Expected = 'picture',
  ): Flow {
    this.#grewAt ??= nowMs;
    const isHeard = stats.audioPackets > this.#packets;
    const isSeen = stats.framesDecoded > this.#frames;
    if (isSeen) this.#picturedAt ??= nowMs;
    if (stats.audioPackets > 0) this.#isSoundless = false;
    else if (isSeen && nowMs - (this.#picturedAt ?? nowMs) >= frozenMs) this.#isSoundless = true;
    const isSoundEnough = expected === 'either' || expected === 'sound' || stats.framesDecoded === 0;
    const isContent = expected === 'nothing' || (expected === 'sound' && this.#isSoundless);
    const grew = isSeen || (isHeard && isSoundEnough) || isContent;
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
