import type { ExplainReason, WatchExplanation, WatchStats, Why } from '../../sdk/index.ts';
import { Asking } from '../page-kit/asking.ts';

/** A picture that stands still for so long is asked about. */
const stillMs = 2500;

/** The reasons for which a picture is left out until something else changes: it is said where the picture would be. */
const leftOut: readonly ExplainReason[] = ['audio-only', 'no-layer'];

/** Finds out why there is no picture where one was wished for: the server is asked while none moves, and not before. */
export class MissingPicture {
  readonly #show: () => void;
  readonly #asking: Asking<WatchExplanation>;
  #frames = 0;
  #movedAt: number | null = null;
  #isAsking = false;
  #why: Why | null = null;

  /** `show` is told when there is something else to say. */
  constructor(show: () => void) {
    this.#show = show;
    // No answer is no news: a path that carries no picture is slow to bring one.
    this.#asking = new Asking((explanation) => explanation && this.#learn(explanation));
  }

  /** Why there is no picture, null while there is one or nobody knows. */
  get why(): Why | null {
    return this.#why;
  }

  /** Looks at one reading; `ask` asks the server. */
  look(
    { framesDecoded }: Pick<WatchStats, 'framesDecoded'>,
    nowMs: number,
    ask: () => Promise<WatchExplanation>,
  ): void {
    if (framesDecoded !== this.#frames) this.rest();
    this.#frames = framesDecoded;
    this.#movedAt ??= nowMs;
    if (this.#isAsking || nowMs - this.#movedAt < stillMs) return;
    this.#isAsking = true;
    this.#asking.begin(ask);
  }

  /** Nothing is missing, or nobody looks. */
  rest(): void {
    this.#movedAt = null;
    this.#isAsking = false;
    this.#asking.end();
    this.#learn(null);
  }

  #learn(explanation: WatchExplanation | null): void {
    const why = explanation && leftOut.includes(explanation.reason) ? explanation : null;
    const isNews = why?.reason !== this.#why?.reason;
    this.#why = why;
    if (isNews) this.#show();
  }
}
