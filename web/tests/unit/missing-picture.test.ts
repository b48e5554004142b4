import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MissingPicture } from '../../pages/viewer/missing-picture.ts';
import type { ExplainReason, WatchExplanation } from '../../sdk/index.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A page that looks once a second, and a server that answers with the reason of the moment. */
class Bench {
  reason: ExplainReason | null = 'audio-only';
  asked = 0;
  shown: (string | undefined)[] = [];
  readonly missing = new MissingPicture(() => this.shown.push(this.missing.why?.reason));
  #frames = 0;
  #nowMs = 0;

  async seconds(count: number, fps: number): Promise<void> {
    for (let second = 0; second < count; second += 1) {
      this.#frames += fps;
      this.#nowMs += 1000;
      this.missing.look({ framesDecoded: this.#frames }, this.#nowMs, async () => this.#answer());
      await vi.advanceTimersByTimeAsync(1000);
    }
  }

  #answer(): WatchExplanation {
    this.asked += 1;
    if (this.reason === null) throw new Error('no answer');
    const answer = { reason: this.reason, text: 'a sentence', hint: '' };
    return answer as unknown as WatchExplanation;
  }
}

test('nobody is asked while the picture moves, and the server once it stands still', async () => {
  const bench = new Bench();
  await bench.seconds(10, 30);
  await bench.seconds(2, 0);
  expect(bench.asked).toBe(0);

  await bench.seconds(1, 0);
  expect(bench.asked).toBe(1);
  expect(bench.missing.why?.text).toBe('a sentence');
});

test('the reason is shown once, and gone with the first frame', async () => {
  const bench = new Bench();
  await bench.seconds(10, 0);
  expect(bench.asked).toBeGreaterThan(2);

  await bench.seconds(1, 1);
  expect(bench.missing.why).toBeNull();
  expect(bench.shown).toEqual(['audio-only', undefined]);
  const { asked } = bench;
  await bench.seconds(5, 30);
  expect(bench.asked, 'nothing is asked any more').toBe(asked);
});

test('a question without an answer takes no reason back', async () => {
  const bench = new Bench();
  await bench.seconds(4, 0);
  bench.reason = null;
  await bench.seconds(6, 0);

  expect(bench.shown).toEqual(['audio-only']);
});

test('a picture that is only late is left alone, whatever the reason why it is not better', async () => {
  const bench = new Bench();
  bench.reason = 'path';
  await bench.seconds(6, 0);
  expect(bench.missing.why).toBeNull();

  bench.reason = 'no-layer';
  await bench.seconds(4, 0);
  expect(bench.missing.why?.reason).toBe('no-layer');
});

test('who looks no more asks no more, and an answer that comes then is not shown', async () => {
  const bench = new Bench();
  await bench.seconds(4, 0);
  bench.missing.rest();
  const { asked } = bench;
  await vi.advanceTimersByTimeAsync(10_000);

  expect(bench.asked).toBe(asked);
  expect(bench.shown).toEqual(['audio-only', undefined]);
});
