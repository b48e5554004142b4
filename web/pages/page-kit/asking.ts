const intervalMs = 2000;

/** Asks the server again and again while somebody looks. What is answered to an earlier question is not shown. */
export class Asking<Answer> {
  readonly #show: (answer: Answer | null) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #turn = 0;

  /** `show` takes each answer; null when there was none. */
  constructor(show: (answer: Answer | null) => void) {
    this.#show = show;
  }

  /** Asks this now and every two seconds, and nothing else any more. */
  begin(ask: () => Promise<Answer>): void {
    this.end();
    void this.#ask(ask, this.#turn);
  }

  /** Asks nothing any more. */
  end(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
  }

  async #ask(ask: () => Promise<Answer>, turn: number): Promise<void> {
    const answer = await ask().catch(() => null);
    if (turn !== this.#turn) return;
    this.#show(answer);
    this.#timer = setTimeout(() => void this.#ask(ask, turn), intervalMs);
  }
}
