/** Options of {@link Emitter.on}. */
export interface ListenOptions {
  readonly signal?: AbortSignal;
  readonly once?: boolean;
}

/** An `EventTarget` whose events are known by name. `E` maps each name to its `Event` subclass. */
export abstract class Emitter<E extends { [K in keyof E]: Event }> extends EventTarget {
  /** Calls `listener` for every event of this name; the returned function ends that. */
  on<K extends keyof E & string>(
    type: K,
    listener: (event: E[K]) => void,
    options: ListenOptions = {},
  ): () => void {
    const handler = (event: Event): void => listener(event as E[K]);
    this.addEventListener(type, handler, options);
    return () => this.removeEventListener(type, handler);
  }

  /** Dispatches an event whose `type` is one of the known names. */
  protected emit<K extends keyof E & string>(event: E[K] & { readonly type: K }): void {
    this.dispatchEvent(event);
  }
}
