import { Emitter } from './emitter.ts';
import { type ErrorCode, LiveError } from './error.ts';
import { isRecord } from './http.ts';

/** Whether somebody wants one layer of what is being published. */
export interface LayerWish {
  /** The rid, empty without simulcast. */
  readonly id: string;
  readonly wanted: boolean;
}

/** The server says which layers somebody wants; always all of them. */
export class LayersEvent extends Event {
  override readonly type = 'layers';
  readonly layers: readonly LayerWish[];

  constructor(layers: readonly LayerWish[]) {
    super('layers');
    this.layers = layers;
  }
}

interface RoomChannelEvents {
  layers: LayersEvent;
}

interface Pending {
  readonly resolve: (answer: Record<string, unknown>) => void;
  readonly reject: (error: LiveError) => void;
}

const label = 'nearcast.room.v1';
const answerTimeoutMs = 3000;

const nackCodes: Readonly<Record<string, ErrorCode>> = {
  'rate-limited': 'rate-limited',
  denied: 'auth/denied',
  unavailable: 'server/overloaded',
  draining: 'server/draining',
};

/**
 * The room protocol on a session's data channel, as far as this version speaks it: requests with acks, and the news of
 * layers. Make it before the offer, so that one `m=application` section is in it; a server without data channels
 * leaves it closed.
 */
export class RoomChannel extends Emitter<RoomChannelEvents> {
  readonly #channel: RTCDataChannel;
  readonly #pending = new Map<string, Pending>();
  #layers: readonly LayerWish[] = [];
  #next = 1;

  constructor(connection: RTCPeerConnection) {
    super();
    this.#channel = connection.createDataChannel(label);
    this.#channel.addEventListener('message', ({ data }) => this.#handle(data));
    this.#channel.addEventListener('close', () => this.#abandon());
  }

  /** Whether the server can be asked. */
  get isOpen(): boolean {
    return this.#channel.readyState === 'open';
  }

  /** What the server said last of the layers; empty while all are wanted. */
  get layers(): readonly LayerWish[] {
    return this.#layers;
  }

  /** Sends a request; resolves with its ack, rejects with a {@link LiveError} on a nack, silence and a closed channel. */
  request(type: string, signal?: AbortSignal): Promise<Record<string, unknown>> {
    const cid = String(this.#next);
    this.#next += 1;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const over = new AbortController();
      const settle = (): void => {
        this.#pending.delete(cid);
        clearTimeout(timer);
        over.abort();
      };
      const fail = (error: unknown): void => {
        settle();
        reject(error);
      };
      const silence = (): void => fail(new LiveError('net/timeout', `no answer to ${type} within 3 s`));
      const timer = setTimeout(silence, answerTimeoutMs);
      signal?.addEventListener('abort', () => fail(signal.reason), { signal: over.signal });
      const resolved = (answer: Record<string, unknown>): void => {
        settle();
        resolve(answer);
      };
      this.#pending.set(cid, { resolve: resolved, reject: fail });
      try {
        this.#channel.send(JSON.stringify({ v: 1, t: type, cid }));
      } catch (cause) {
        fail(new LiveError('net/unreachable', 'the data channel is not open', { cause }));
      }
    });
  }

  #handle(data: unknown): void {
    const message = parse(data);
    if (!message) return;
    const pending = typeof message['cid'] === 'string' ? this.#pending.get(message['cid']) : undefined;
    if (message['t'] === 'ack') pending?.resolve(message);
    else if (message['t'] === 'nack') pending?.reject(refusal(message));
    else if (message['t'] === 'layers') this.#learn(message['layers']);
  }

  #learn(layers: unknown): void {
    if (!Array.isArray(layers)) return;
    this.#layers = layers.filter(isRecord).map((layer) => ({
      id: typeof layer['rid'] === 'string' ? layer['rid'] : '',
      wanted: layer['wanted'] !== false,
    }));
    this.emit(new LayersEvent(this.#layers));
  }

  #abandon(): void {
    const closed = new LiveError('net/unreachable', 'the data channel was closed');
    for (const pending of [...this.#pending.values()]) pending.reject(closed);
  }
}

function parse(data: unknown): Record<string, unknown> | null {
  if (typeof data !== 'string') return null;
  try {
    const message: unknown = JSON.parse(data);
    return isRecord(message) ? message : null;
  } catch {
    return null;
  }
}

function refusal(message: Record<string, unknown>): LiveError {
  const word = String(message['code'] ?? 'unknown');
  const wait = message['retryAfterMs'];
  return new LiveError(
    nackCodes[word] ?? 'protocol/bad-response',
    `the server refused the request: ${word}`,
    {
      ...(typeof wait === 'number' ? { retryAfterMs: wait } : {}),
    },
  );
}
