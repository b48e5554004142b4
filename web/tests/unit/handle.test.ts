import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ErrorCode, LiveError } from '../../sdk/error.ts';
import { Handle, type HandleEvents, type Progress, type State } from '../../sdk/handle.ts';
import { reconnectDefault } from '../../sdk/retry.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a refusal that passes is waited out, and then it is live', async () => {
  const handle = new Scripted([refuse('stream/conflict', 1000), refuse('stream/conflict', 1000), stayLive]);

  await vi.advanceTimersByTimeAsync(3000);

  expect(handle.states).toEqual(['connecting', 'waiting', 'live']);
  expect(handle.attempts).toBe(3);
  expect(handle.error).toBeNull();
  await handle.ready();
});

test('a loss while live is repaired at once, and told', async () => {
  const handle = new Scripted([liveThen('net/ice-failed'), stayLive]);

  await vi.advanceTimersByTimeAsync(10);

  expect(handle.states).toEqual(['connecting', 'live', 'reconnecting', 'live']);
});

test('what cannot be mended fails once, and ready says why', async () => {
  const handle = new Scripted([refuse('media/codec')]);
  const ready = expect(handle.ready()).rejects.toMatchObject({ code: 'media/codec' });

  await vi.advanceTimersByTimeAsync(60_000);
  await ready;

  expect(handle.states).toEqual(['connecting', 'failed']);
  expect(handle.error?.code).toBe('media/codec');
  expect(handle.attempts).toBe(1);
});

test('a session that falls silent is waiting, and live again when media comes back', async () => {
  let progress: Progress | undefined;
  const handle = new Scripted([
    (given, signal) => {
      progress = given;
      given.live();
      return stayLive(given, signal);
    },
  ]);
  await vi.advanceTimersByTimeAsync(1);

  progress?.waiting();
  progress?.live();

  expect(handle.states).toEqual(['connecting', 'live', 'waiting', 'live']);
});

test('closing ends the attempt and the waiting, and may be repeated', async () => {
  const playing = new Scripted([stayLive]);
  const waiting = new Scripted([refuse('stream/offline', 60_000)]);
  await vi.advanceTimersByTimeAsync(1);
  const ready = expect(waiting.ready()).rejects.toMatchObject({ name: 'AbortError' });

  await playing.close();
  await playing.close();
  await waiting.close();
  await ready;

  expect(playing.states.at(-1)).toBe('closed');
  expect(waiting.states.at(-1)).toBe('closed');
  expect(vi.getTimerCount()).toBe(0);
});

test('the signal of the caller closes it', async () => {
  const controller = new AbortController();
  const handle = new Scripted([stayLive], controller.signal);
  await vi.advanceTimersByTimeAsync(1);

  controller.abort();
  await vi.advanceTimersByTimeAsync(1);

  expect(handle.state).toBe('closed');
});

test('a signal that has fired already closes it before it tries anything', async () => {
  const handle = new Scripted([stayLive], AbortSignal.abort());
  const ready = expect(handle.ready()).rejects.toMatchObject({ name: 'AbortError' });

  await vi.advanceTimersByTimeAsync(1000);
  await ready;

  expect(handle.states).toEqual(['closed']);
  expect(handle.attempts).toBe(0);
});

type Step = (progress: Progress, signal: AbortSignal) => Promise<never>;

class Scripted extends Handle<HandleEvents> {
  readonly states: State[] = [];
  attempts = 0;
  readonly #steps: readonly Step[];

  constructor(steps: readonly Step[], signal?: AbortSignal) {
    super({ reconnect: reconnectDefault(() => 0), ...(signal ? { signal } : {}) });
    this.#steps = steps;
    this.on('state', ({ state }) => this.states.push(state));
    this.start();
  }

  protected override attempt(progress: Progress, signal: AbortSignal): Promise<never> {
    const step = this.#steps[this.attempts];
    this.attempts += 1;
    if (!step) throw new Error('the script has no such attempt');
    return step(progress, signal);
  }
}

function refuse(code: ErrorCode, retryAfterMs?: number): Step {
  return async () => {
    throw new LiveError(code, 'refused', retryAfterMs === undefined ? {} : { retryAfterMs });
  };
}

function liveThen(code: ErrorCode): Step {
  return async (progress) => {
    progress.live();
    throw new LiveError(code, 'lost');
  };
}

function stayLive(progress: Progress, signal: AbortSignal): Promise<never> {
  progress.live();
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}
