import type { Page } from '@playwright/test';
import type { Layer } from '../../sdk/index.ts';
import type { Link } from '../pages/lab.ts';
import { type BadNetwork, startBehind } from './harness/bad-network.ts';
import { expect, figure, type OpenPage, type Room, roomOf, test } from './harness/fixtures.ts';
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

async function watchFor(viewer: Page, seconds: number): Promise<Span> {
  const before = await viewer.evaluate(() => window.lab.link());
  const { frames } = await viewer.evaluate((long) => window.lab.tracePath(long), seconds);
  const after = await viewer.evaluate(() => window.lab.link());
  const gaps = frames.slice(1).map(({ at }, index) => at - (frames[index]?.at ?? at));
  return { fps: frames.length / seconds, longestGap: Math.max(...gaps), before, after };
}

/** Narrows the path, waits until the frame rate is as it should be, and looks at it for a while. */
async function at(
  rate: string,
  fps: readonly [number, number],
  { viewer, network }: { viewer: Page; network: BadNetwork },
): Promise<Span> {
  await network.say(`down rate=${rate}`);
  const now = async (): Promise<number> => (await watchFor(viewer, 2)).fps;
  const within = async (): Promise<boolean> => {
    const found = await now();
    return found >= fps[0] && found <= fps[1];
  };
  await expect.poll(within, { timeout: 40_000, intervals: [0], message: `frames/s at ${rate}` }).toBe(true);
  return watchFor(viewer, 6);
}

function words(rate: string, { fps, longestGap, before, after }: Span): string {
  const more = (pick: (link: Link) => number): number => pick(after) - pick(before);
  return [
    `${rate}: ${fps.toFixed(1)}/s, longest gap ${Math.round(longestGap)} ms`,
    `${more((it) => it.freezeCount)} freezes, ${more((it) => it.plis)} PLI`,
    `${more((it) => it.framesDropped)} dropped, ${more((it) => it.keyFramesDecoded)} keyframes`,
  ].join(', ');
}

interface Stage {
  readonly publisher: Page;
  readonly viewer: Page;
  readonly network: BadNetwork;
  readonly room: Room;
}

async function stage(
  open: OpenPage,
  ask: { codec: 'vp8' | 'vp9'; layers: readonly Layer[]; width: number; height: number },
  use: (stage: Stage) => Promise<void>,
): Promise<void> {
  const { server, network } = await startBehind('delay=20ms,rate=3M,queue=300ms', 'delay=20ms');
  try {
    const room = roomOf(server, 'far');
    const publisher = await open();
    await goLive(publisher, room, { ...small, ...ask, through: server.udp });
    await untilActive(room.page, ask.layers.length > 1 ? ask.layers.map(({ rid }) => rid) : ['']);
    const viewer = await open();
    await view(viewer, room);
    await untilPlaying(viewer);
    await use({ publisher, viewer, network, room });
  } finally {
    await network.stop();
    await server.stop();
  }
}

for (const codec of ['vp8', 'vp9'] as const) {
  test(`${codec} with three temporal layers: half and a quarter of the frames where the path carries no more`, async ({
    open,
  }) => {
    const layers = [{ rid: 'f', scale: 1, maxBitrate: 500_000, scalabilityMode: 'L1T3' }];
    await stage(open, { codec, layers, width: 640, height: 360 }, async (on) => {
      const { sent } = await on.publisher.evaluate(() => window.lab.link());
      expect(sent.map(({ scalability }) => scalability)).toEqual(['L1T3']);

      const whole = await at('3M', [25, 35], on);
      const half = await at('400k', [11, 19], on);
      const quarter = await at('270k', [5, 10], on);
      const again = await at('3M', [25, 35], on);

      for (const [rate, span] of [
        ['3M', whole],
        ['400k', half],
        ['270k', quarter],
        ['3M again', again],
      ] as const) {
        figure(codec, words(rate, span));
        expect(span.after.freezeCount - span.before.freezeCount, rate).toBe(0);
        expect(span.after.plis - span.before.plis, rate).toBe(0);
        expect(span.longestGap, rate).toBeLessThan(500);
      }
    });
  });
}
