import type { LayerWish } from './room-channel.ts';

/** What of an `RTCRtpSender` is needed here. */
export type EncodingSender = Pick<RTCRtpSender, 'getParameters' | 'setParameters'>;

const triesMax = 3;

/**
 * Rests the encodings that nobody watches, and wakes them again. The newest word counts: what comes while one change is
 * being made is done in one go after it.
 */
export class LayerSwitch {
  readonly #sender: EncodingSender;
  #wishes: readonly LayerWish[] = [];
  #stale = false;
  #running: Promise<void> | null = null;

  constructor(sender: EncodingSender) {
    this.#sender = sender;
  }

  /** Switches to what is wanted; settles when the newest word has been done. Never rejects. */
  set(wishes: readonly LayerWish[]): Promise<void> {
    this.#wishes = wishes;
    this.#stale = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (this.#stale && failures < triesMax) {
      this.#stale = false;
      try {
        await this.#apply();
        failures = 0;
      } catch {
        // Somebody else has changed the parameters meanwhile, or the sender is just being stopped.
        this.#stale = true;
        failures += 1;
      }
    }
  }

  async #apply(): Promise<void> {
    const parameters = this.#sender.getParameters();
    const changed = parameters.encodings.filter((encoding) => {
      const wish = this.#wishes.find(({ id }) => id === (encoding.rid ?? ''));
      if (!wish || wish.wanted === (encoding.active ?? true)) return false;
      encoding.active = wish.wanted;
      return true;
    });
    if (changed.length > 0) await this.#sender.setParameters(parameters);
  }
}
