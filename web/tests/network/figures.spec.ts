import { expect, test } from '@playwright/test';
import type { PathTrace } from '../pages/path-trace.ts';
import { frozen, longestGap, rateAt, shareAt } from './path-figures.ts';
import { type Frame, older } from './picture-age.ts';

/** A picture that died must not read as a good one. */

const from = 1_000_000;
const to = from + 60_000;
const minute = { from, to };

/** A minute at 30 frames/s, of those frames that are chosen by their second. */
function watched(chosen: (second: number) => boolean, height = 720): PathTrace {
  const every = Array.from({ length: 1800 }, (_, index) => ({ at: from + (index * 1000) / 30, height }));
  return { from, to, frames: every.filter(({ at }) => chosen((at - from) / 1000)), frozenMs: 0 };
}

/** The same as frames that took 40 ms each to come, and so many more from the tenth second on. */
function aged({ frames }: PathTrace, laterMs: number): Frame[] {
  return frames.map(({ at }) => {
    const late = at - from < 10_000 ? 40 : 40 + laterMs;
    return { captured: at, received: at + late, shown: at + late + 20 };
  });
}

test('a picture that never returns is frozen until the end, although the browser has counted nothing', () => {
  const dies = watched((second) => second < 40);

  expect(frozen(dies)).toBeCloseTo(20_000, -2);
  expect(frozen({ ...dies, frozenMs: 1000 })).toBeCloseTo(21_000, -2);
});

test('a picture that never came is frozen all the time', () => {
  expect(frozen(watched(() => false))).toBe(60_000);
});

test('gaps that no browser counted, because its connection was another, are frozen time', () => {
  const returns = watched((second) => second < 20 || second >= 50);
  const flickers = watched((second) => second < 20 || second >= 50 || Math.abs(second - 30) < 0.02);

  expect(frozen(returns)).toBeCloseTo(30_000, -2);
  expect(frozen(flickers)).toBeCloseTo(30_000, -2);
});

test('a steady picture is not frozen, and what the browser counted is kept', () => {
  expect(frozen(watched(() => true))).toBe(0);
  expect(frozen({ ...watched(() => true), frozenMs: 700 })).toBe(700);
});

test('time without a picture is not time in the best layer', () => {
  expect(
    shareAt(
      watched(() => true),
      720,
    ),
  ).toBe(1);
  expect(
    shareAt(
      watched((second) => second < 45),
      720,
    ),
  ).toBeCloseTo(0.75, 2);
  expect(
    shareAt(
      watched(() => false),
      720,
    ),
  ).toBe(0);
});

test('a slice with frames of two heights is not time in the best layer', () => {
  const [high, low] = [watched(() => true), watched((second) => second < 15, 360)];

  expect(shareAt({ ...high, frames: [...high.frames, ...low.frames] }, 720)).toBeCloseTo(0.75, 2);
});

test('a layer that is not shown has no frames', () => {
  expect(
    rateAt(
      watched(() => true),
      720,
      from,
      to,
    ),
  ).toBeCloseTo(30, 1);
  expect(
    rateAt(
      watched(() => true),
      180,
      from,
      to,
    ),
  ).toBe(0);
});

test('the longest gap reaches to the edges', () => {
  expect(
    longestGap(
      watched((second) => second >= 20),
      from,
      to,
    ),
  ).toBeCloseTo(20_000, -2);
  expect(
    longestGap(
      watched((second) => second < 20),
      from,
      to,
    ),
  ).toBeCloseTo(40_000, -2);
});

for (const step of ['received', 'shown'] as const) {
  test(`a picture that is ${step} later is older by that`, () => {
    const added = (laterMs: number): number =>
      older(
        aged(
          watched(() => true),
          laterMs,
        ),
        step,
        { from: from + 20_000, to },
        [minute],
      ).p50;

    expect(Math.abs(added(0))).toBeLessThanOrEqual(20);
    expect(added(300)).toBeGreaterThanOrEqual(280);
    expect(added(300)).toBeLessThanOrEqual(320);
  });

  test(`a picture that stands still grows older, by when it was ${step}`, () => {
    const dies = aged(
      watched((second) => second < 50),
      0,
    );

    expect(older(dies, step, minute, [minute]).p95).toBeGreaterThan(5000);
  });

  test(`a picture that never was ${step} has no age that could pass`, () => {
    expect(older([], step, minute, [minute]).p95).not.toBeLessThanOrEqual(150);
  });
}
