import type { LayerWish } from './room-channel.ts';

/** The rid of an encoding, empty without simulcast, and the bit/s that it may take. */
export type Bitrates = ReadonlyMap<string, number>;

/** What of an `RTCRtpSender` is needed here. */
export type EncodingSender = Pick<RTCRtpSender, 'getParameters' | 'setParameters'>;

const triesMax = 3;

/**
 * Rests the encodings that nobody watches, wakes them again, and bounds what each may take. The newest word counts: what
 * comes while one change is being made is done in one go after it.
 */
export class LayerSwitch {
  readonly #sender: EncodingSender;
  #wishes: readonly LayerWish[] = [];
  #bitrates: Bitrates = new Map();
  #stale = false;
  #running: Promise<void> | null = null;

  constructor(sender: EncodingSender) {
    this.#sender = sender;
  }

  /** Switches to what is wanted; settles when the newest word has been done. Never rejects. */
  set(wishes: readonly LayerWish[]): Promise<void> {
    this.#wishes = wishes;
    return this.#change();
  }

  /** Bounds the encodings that are named; settles and fails as {@link set} does. */
  bound(bitrates: Bitrates): Promise<void> {
    this.#bitrates = bitrates;
    return this.#change();
  }

  #change(): Promise<void> {
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
      const rid = encoding.rid ?? '';
      const { active = true, maxBitrate } = encoding;
      const wanted = this.#wishes.find(({ id }) => id === rid)?.wanted ?? active;
      const bound = this.#bitrates.get(rid) ?? maxBitrate;
      if (wanted === active && bound === maxBitrate) return false;
      encoding.active = wanted;
      if (bound !== undefined) encoding.maxBitrate = bound;
      return true;
    });
    if (changed.length > 0) await this.#sender.setParameters(parameters);
  }
}
