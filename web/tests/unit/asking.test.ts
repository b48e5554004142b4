import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Asking } from '../../pages/page-kit/asking.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a question is asked at once and every two seconds, until it is ended', async () => {
  const shown: (number | null)[] = [];
  const asking = new Asking<number>((answer) => shown.push(answer));
  let asked = 0;

  asking.begin(async () => ++asked);
  await vi.advanceTimersByTimeAsync(4000);
  expect(shown).toEqual([1, 2, 3]);

  asking.end();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toBe(3);
});

test('no answer is shown as none, and the question is asked again', async () => {
  const shown: (string | null)[] = [];
  const asking = new Asking<string>((answer) => shown.push(answer));
  const answers = [Promise.reject(new Error('not now')), Promise.resolve('now')];

  asking.begin(() => answers.shift() ?? Promise.resolve('later'));
  await vi.advanceTimersByTimeAsync(2000);

  expect(shown).toEqual([null, 'now']);
});

test('what is answered to an earlier question is not shown, and does not go on', async () => {
  const shown: string[] = [];
  const asking = new Asking<string>((answer) => shown.push(answer ?? 'none'));
  let answerLate = (_: string): void => undefined;
  let asked = 0;

  asking.begin(() => {
    asked += 1;
    return new Promise((resolve) => {
      answerLate = resolve;
    });
  });
  asking.begin(async () => 'second');
  await vi.advanceTimersByTimeAsync(0);
  answerLate('first');
  await vi.advanceTimersByTimeAsync(4000);

  expect(shown).toEqual(['second', 'second', 'second']);
  expect(asked).toBe(1);
});
