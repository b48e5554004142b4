import { Emitter } from './emitter.ts';
import { isAbort, LiveError } from './error.ts';
import { isWaiting, pause, type ReconnectPolicy } from './retry.ts';

/**
 * Where a handle stands. `waiting`: the server is there, but nobody is on air (to watch) or somebody else is (to
 * publish). `failed`: gave up, see `error`.
 */
export type State = 'idle' | 'connecting' | 'waiting' | 'live' | 'reconnecting' | 'failed' | 'closed';

/** The state of a handle has changed. */
export class StateEvent extends Event {
  override readonly type = 'state';
  readonly state: State;
  readonly previous: State;

  constructor(state: State, previous: State) {
    super('state');
    this.state = state;
    this.previous = previous;
  }
}

/** Something failed: for good if the handle's state is `failed`, else it is being repaired. */
export class FailureEvent extends Event {
  override readonly type = 'error';
  readonly error: LiveError;

  constructor(error: LiveError) {
    super('error');
    this.error = error;
  }
}

/** The events of every handle. */
export interface HandleEvents {
  state: StateEvent;
  error: FailureEvent;
}

/** Options of every handle. */
export interface HandleOptions {
  readonly reconnect: ReconnectPolicy;
  readonly signal?: AbortSignal;
}

/** What a handle's session reports while it runs. */
export interface Progress {
  /** Media flows. */
  live(): void;
  /** The session stands, but the room is silent. */
  waiting(): void;
}

/** How often a page that was left looks whether it is shown again; `pageshow` wakes it at once. */
const awayMs = 1000;

/** What `watch` and `publish` have in common: one state, one error, and attempts until it is closed. */
export abstract class Handle<E extends HandleEvents & { [K in keyof E]: Event }> extends Emitter<E> {
  readonly #closing = new AbortController();
  readonly #policy: ReconnectPolicy;
  #state: State = 'idle';
  #error: LiveError | null = null;
  #wasLive = false;
  /** The page was left: its sessions are closed, and none may open until it is shown again. */
  #away = false;
  #done: Promise<void> = Promise.resolve();

  constructor(options: HandleOptions) {
    super();
    this.#policy = options.reconnect;
    const { signal } = options;
    signal?.addEventListener('abort', () => void this.close(), { once: true });
    if (signal?.aborted) void this.close();
  }

  get state(): State {
    return this.#state;
  }

  /** Why the state is `failed`, `waiting` or `reconnecting`; null once it is live. */
  get error(): LiveError | null {
    return this.#error;
  }

  /** Settles when the handle is live for the first time; rejects when it fails or is closed before. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = (): boolean => {
        if (this.#state === 'live') resolve();
        else if (this.#state === 'failed') reject(this.#error);
        else if (this.#state === 'closed') reject(new DOMException('the handle was closed', 'AbortError'));
        else return false;
        return true;
      };
      if (check()) return;
      const over = new AbortController();
      this.addEventListener('state', () => check() && over.abort(), { signal: over.signal });
    });
  }

  /** Ends it here and on the server. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new DOMException('the handle was closed', 'AbortError'));
    await this.#done;
    this.#enter('closed');
  }

  /** Runs one session until it is lost. Rejects with the reason. Must leave nothing open. */
  protected abstract attempt(progress: Progress, signal: AbortSignal): Promise<never>;

  /** Starts the attempts; a subclass calls it once, last in its constructor. */
  protected start(): void {
    const { signal } = this.#closing;
    const setAway = (away: boolean) => (): void => {
      this.#away = away;
    };
    globalThis.addEventListener?.('pagehide', setAway(true), { signal });
    globalThis.addEventListener?.('pageshow', setAway(false), { signal });
    this.#done = this.#run();
  }

  /** Announces a failure that is being repaired. */
  protected warn(error: LiveError): void {
    this.dispatchEvent(new FailureEvent(error));
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let attempt = 0;
    let since = performance.now();
    const progress: Progress = {
      live: () => {
        attempt = 0;
        since = performance.now();
        this.#wasLive = true;
        this.#error = null;
        this.#enter('live');
      },
      waiting: () => this.#enter('waiting'),
    };
    // A tick later, so that the caller can listen before the first event.
    await Promise.resolve();
    while (!signal.aborted) {
      if (this.#state !== 'waiting') this.#enter(this.#wasLive ? 'reconnecting' : 'connecting');
      const error = await this.attempt(progress, signal).catch(asLiveError);
      if (signal.aborted) return;
      if (this.#state === 'live') since = performance.now();
      const delay = this.#policy.next({ attempt, elapsedMs: performance.now() - since, error });
      this.#error = error;
      if (delay === null) {
        this.#enter('failed');
        this.warn(error);
        return;
      }
      this.#enter(isWaiting(error) ? 'waiting' : this.#wasLive ? 'reconnecting' : 'connecting');
      this.warn(error);
      await pause(delay, signal).catch(() => undefined);
      while (this.#away && !signal.aborted) await pause(awayMs, signal).catch(() => undefined);
      attempt += 1;
    }
  }

  #enter(state: State): void {
    const previous = this.#state;
    if (state === previous || previous === 'closed') return;
    this.#state = state;
    this.dispatchEvent(new StateEvent(state, previous));
  }
}

function asLiveError(cause: unknown): LiveError {
  if (cause instanceof LiveError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new LiveError(isAbort(cause) ? 'net/timeout' : 'protocol/bad-response', message, { cause });
}
