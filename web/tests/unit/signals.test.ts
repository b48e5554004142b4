import { setTimeout as pass } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { within } from '../../sdk/signals.ts';

afterEach(() => void vi.unstubAllGlobals());

/** Takes away what iOS has not had before 17.4. */
function age(): void {
  vi.stubGlobal('AbortSignal', { timeout: AbortSignal.timeout.bind(AbortSignal) });
}

describe.each(['new', 'old'])('on a %s phone', (kind) => {
  test('what is not over in time is aborted with a timeout', async () => {
    if (kind === 'old') age();
    const alone = within(20);
    const both = within(20, new AbortController().signal);
    expect([alone.aborted, both.aborted]).toEqual([false, false]);

    await pass(100);

    expect([alone.reason.name, both.reason.name]).toEqual(['TimeoutError', 'TimeoutError']);
  });

  test('who ends it says why, before or afterwards', () => {
    if (kind === 'old') age();
    const ended = new AbortController();
    const signal = within(60_000, ended.signal);
    ended.abort(new Error('left'));

    expect(signal.reason.message).toBe('left');
    expect(within(60_000, ended.signal).reason.message).toBe('left');
  });
});

test('on an old phone a signal that lives on keeps no listener of what is over', async () => {
  age();
  const session = new AbortController().signal;
  const added = vi.spyOn(session, 'addEventListener');
  const inTime = within(20, session);
  await pass(100);

  expect(inTime.aborted).toBe(true);
  const options = added.mock.calls[0]?.[2];
  expect(typeof options === 'object' && options.signal?.aborted).toBe(true);
});
