import { describe, expect, test, vi } from 'vitest';
import { type ErrorCode, LiveError } from '../../sdk/error.ts';
import { parseRetryAfter, pause, reconnectDefault } from '../../sdk/retry.ts';

const error = (code: ErrorCode, retryAfterMs?: number): LiveError =>
  new LiveError(code, 'x', retryAfterMs === undefined ? {} : { retryAfterMs });

describe('the default policy', () => {
  test('tries again at once, then ever later, then evenly', () => {
    const policy = reconnectDefault(() => 0);
    const waits = [0, 1, 2, 3, 4, 5, 6, 50].map((attempt) =>
      policy.next({ attempt, elapsedMs: 0, error: error('net/unreachable') }),
    );

    expect(waits).toEqual([0, 300, 1200, 2700, 4800, 7000, 7000, 7000]);
  });

  test('spreads the attempts of many by up to a second, but not the first', () => {
    const policy = reconnectDefault(() => 0.999);

    expect(policy.next({ attempt: 0, elapsedMs: 0, error: error('net/unreachable') })).toBe(0);
    expect(policy.next({ attempt: 1, elapsedMs: 0, error: error('net/unreachable') })).toBeCloseTo(1299);
  });

  test('obeys the server when it asks for more', () => {
    const policy = reconnectDefault(() => 0);

    expect(policy.next({ attempt: 0, elapsedMs: 0, error: error('server/overloaded', 15_000) })).toBe(15_000);
    expect(policy.next({ attempt: 5, elapsedMs: 0, error: error('server/overloaded', 1000) })).toBe(7000);
  });

  test('asks for a room evenly, not ever later, and more patiently after a while', () => {
    const policy = reconnectDefault(() => 0);
    const wait = (attempt: number, elapsedMs: number, asked?: number): number | null =>
      policy.next({ attempt, elapsedMs, error: error('stream/offline', asked) });

    expect(wait(0, 0)).toBe(1000);
    expect(wait(40, 60_000)).toBe(2000);
    expect(wait(400, 3_600_000)).toBe(3000);
    expect(wait(0, 0, 2000)).toBe(2000);
  });

  test('gives up on what no repetition can mend', () => {
    const policy = reconnectDefault();

    for (const code of ['auth/denied', 'media/permission-denied', 'offer/unsupported'] as const) {
      expect(policy.next({ attempt: 0, elapsedMs: 0, error: error(code) })).toBeNull();
    }
  });
});

test('Retry-After is read in seconds and as a date, and nonsense is nothing', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');

  expect(parseRetryAfter('2', now)).toBe(2000);
  expect(parseRetryAfter('Sat, 21 Nov 2026 12:00:05 GMT', now)).toBe(5000);
  expect(parseRetryAfter('Sat, 21 Nov 2026 11:00:00 GMT', now)).toBe(0);
  expect(parseRetryAfter('soon', now)).toBeUndefined();
  expect(parseRetryAfter(null, now)).toBeUndefined();
});

test('a pause ends with its time, and at once when it is aborted', async () => {
  vi.useFakeTimers();
  const controller = new AbortController();
  const short = pause(100, controller.signal);
  const long = pause(10_000, controller.signal);
  const refused = expect(long).rejects.toThrow('enough');

  await vi.advanceTimersByTimeAsync(100);
  await short;
  controller.abort(new Error('enough'));
  await refused;
  await expect(pause(1, controller.signal)).rejects.toThrow('enough');

  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
