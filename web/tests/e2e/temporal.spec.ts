import type { Page } from '@playwright/test';
import type { Layer } from '../../sdk/index.ts';
import type { Link } from '../pages/lab.ts';
import { type BadNetwork, startBehind } from './harness/bad-network.ts';
import { expect, figure, type OpenPage, roomOf, test } from './harness/fixtures.ts';
import { small } from './harness/plans.ts';
import { goLive, view } from './harness/roles.ts';
import { untilActive, untilPlaying } from './harness/room-state.ts';

/** What a viewer saw over some seconds. */
interface Span {
  readonly fps: number;
  readonly longestGap: number;
  readonly before: Link;
  readonly after: Link;
}

/** What may lie between two frames that are shown, where every fourth of 30 a second is sent and the queue is full. */
const longestGapMs = 500;

async function watchFor(viewer: Page, seconds: number): Promise<Span> {
  const before = await viewer.evaluate(() => window.lab.link());
  const { frames } = await viewer.evaluate((long) => window.lab.tracePath(long), seconds);
  const after = await viewer.evaluate(() => window.lab.link());
  const gaps = frames.slice(1).map(({ at }, index) => at - (frames[index]?.at ?? at));
  return { fps: frames.length / seconds, longestGap: Math.max(...gaps), before, after };
}

/** Narrows the path, waits until the frame rate is as it should be and even, and looks at it for a while. */
async function at(
  rate: string,
  fps: readonly [number, number],
  { viewer, network }: { viewer: Page; network: BadNetwork },
): Promise<Span> {
  await network.say(`down rate=${rate}`);
  // Long enough to tell a rate that stays from one that passes by. On the way down there may be a second of all frames
  // and two without any: as many as half of them, but not evenly.
  const within = async (): Promise<boolean> => {
    const span = await watchFor(viewer, 3);
    return span.fps >= fps[0] && span.fps <= fps[1] && span.longestGap < longestGapMs && freezes(span) === 0;
  };
  await expect.poll(within, { timeout: 40_000, intervals: [0], message: `frames/s at ${rate}` }).toBe(true);
  return watchFor(viewer, 6);
}

function freezes({ before, after }: Span): number {
  return after.freezeCount - before.freezeCount;
}

function words(rate: string, span: Span): string {
  const { fps, longestGap, before, after } = span;
  const more = (pick: (link: Link) => number): number => pick(after) - pick(before);
  return [
    `${rate}: ${fps.toFixed(1)}/s, longest gap ${Math.round(longestGap)} ms`,
    `${freezes(span)} freezes, ${more((it) => it.plis)} PLI`,
    `${more((it) => it.framesDropped)} dropped, ${more((it) => it.keyFramesDecoded)} keyframes`,
  ].join(', ');
}

interface Ask {
  readonly codec: 'vp8' | 'vp9';
  readonly layers: readonly Layer[];
}

/**
 * A publisher beside a viewer whose path becomes narrow in steps: each of them with the frames a second that should be
 * seen. The queue of a second lets a step down pass without losses.
 */
async function steps(
  open: OpenPage,
  ask: Ask,
  paths: readonly (readonly [rate: string, fps: readonly [number, number], reason: string])[],
): Promise<void> {
  const { server, network } = await startBehind('delay=20ms,rate=3M,queue=1s', 'delay=20ms');
  try {
    const room = roomOf(server, 'far');
    const publisher = await open();
    await goLive(publisher, room, { ...small, ...ask, through: server.udp });
    await untilActive(room.page, ask.layers.length > 1 ? ask.layers.map(({ rid }) => rid) : ['']);
    // A browser says how it encodes a layer only once it does.
    const scalability = async (): Promise<string[]> => {
      const { sent } = await publisher.evaluate(() => window.lab.link());
      return sent.map((it) => it.scalability);
    };
    const asked = ask.layers.map((it) => it.scalabilityMode ?? '');
    await expect.poll(scalability).toEqual(asked);
    const viewer = await open();
    await view(viewer, room);
    await untilPlaying(viewer);
    for (const [rate, fps, reason] of paths) {
      const span = await at(rate, fps, { viewer, network });
      const why = async (): Promise<string> => (await viewer.evaluate(() => window.lab.explain())).reason;
      figure(`${ask.codec} ${asked[0]}`, `${words(rate, span)}, ${await why()}`);
      const more = (pick: (link: Link) => number): number => pick(span.after) - pick(span.before);
      expect(span.fps, rate).toBeGreaterThanOrEqual(fps[0]);
      expect(span.fps, rate).toBeLessThanOrEqual(fps[1]);
      expect(freezes(span), `freezes at ${rate}`).toBe(0);
      expect(
        more((it) => it.plis),
        `what could not be decoded at ${rate}`,
      ).toBe(0);
      expect(
        more((it) => it.framesDropped),
        `dropped at ${rate}`,
      ).toBeLessThan(5);
      expect(span.longestGap, rate).toBeLessThan(longestGapMs);
      // Now and then the server tries whether the path carries more by now, and says so.
      await expect.poll(why, { timeout: 10_000, message: `the reason at ${rate}` }).toBe(reason);
    }
  } finally {
    await network.stop();
    await server.stop();
  }
}

const all = [25, 35] as const;
const half = [11, 20] as const;
const quarter = [4, 11] as const;

/** VP9 gives its lowest temporal layer more than half of the rate, VP8 two fifths. */
for (const [codec, forHalf, forQuarter] of [
  ['vp8', '450k', '300k'],
  ['vp9', '530k', '370k'],
] as const) {
  test(`${codec}, one layer: half and a quarter of its frames where the path carries no more, and all again`, async ({
    open,
  }) => {
    const layers = [{ rid: 'f', scale: 1, maxBitrate: 500_000, scalabilityMode: 'L1T3' }];
    await steps(open, { codec, layers }, [
      ['3M', all, 'best'],
      [forHalf, half, 'reduced-frame-rate'],
      [forQuarter, quarter, 'reduced-frame-rate'],
      ['3M', all, 'best'],
    ]);
  });
}

for (const scalabilityMode of ['L1T2', 'L1T3']) {
  test(`vp8, two layers ${scalabilityMode}: fewer frames of the lowest where not even that fits`, async ({
    open,
  }) => {
    const layers = [
      { rid: 'q', scale: 2, maxBitrate: 200_000, scalabilityMode },
      { rid: 'f', scale: 1, maxBitrate: 600_000, scalabilityMode },
    ];
    await steps(open, { codec: 'vp8', layers }, [
      ['3M', all, 'best'],
      ['180k', half, 'reduced-frame-rate'],
      ['3M', all, 'best'],
    ]);
  });
}
