import type { Page } from '@playwright/test';
import type { Layer } from '../../sdk/index.ts';
import type { Link } from '../pages/lab.ts';
import { startBehind } from './harness/bad-network.ts';
import { expect, figure, type OpenPage, roomOf, test } from './harness/fixtures.ts';
import { small } from './harness/plans.ts';
import { goLive, view } from './harness/roles.ts';
import { untilActive, untilPlaying } from './harness/room-state.ts';

/** A path, and what a viewer behind it should see. */
interface Step {
  readonly rate: string;
  readonly fps: readonly [least: number, most: number];
  /** The rid, empty without simulcast. */
  readonly layer: string;
  readonly reason: string;
}

/** What a viewer saw over some seconds, and what the server said of it at their end. */
interface Span {
  readonly fps: number;
  readonly longestGap: number;
  readonly before: Link;
  readonly after: Link;
  readonly layer: string | undefined;
  readonly reason: string;
}

/** What may lie between two frames that are shown, where every fourth of 30 a second is sent and the queue is full. */
const longestGapMs = 500;

async function watchFor(viewer: Page, seconds: number): Promise<Span> {
  const before = await viewer.evaluate(() => window.lab.link());
  const { frames } = await viewer.evaluate((long) => window.lab.tracePath(long), seconds);
  const after = await viewer.evaluate(() => window.lab.link());
  const { current, reason } = await viewer.evaluate(() => window.lab.explain());
  const gaps = frames.slice(1).map(({ at }, index) => at - (frames[index]?.at ?? at));
  return {
    fps: frames.length / seconds,
    longestGap: Math.max(...gaps),
    before,
    after,
    layer: current?.id,
    reason,
  };
}

/** How much a count of the viewer's grew meanwhile. */
function more({ before, after }: Span, pick: (link: Link) => number): number {
  return pick(after) - pick(before);
}

/** What is not as it should be. */
function faults(span: Span, { fps, layer, reason }: Step): string[] {
  const wrong = {
    'too few frames': span.fps < fps[0],
    'too many frames': span.fps > fps[1],
    'a gap': span.longestGap >= longestGapMs,
    'a freeze': more(span, (it) => it.freezeCount) > 0,
    'not decodable': more(span, (it) => it.plis) > 0,
    'frames dropped': more(span, (it) => it.framesDropped) >= 5,
    'another layer': span.layer !== layer,
    'another reason': span.reason !== reason,
  };
  return Object.entries(wrong).flatMap(([name, is]) => (is ? [name] : []));
}

function words(rate: string, span: Span): string {
  return [
    `${rate}: ${span.fps.toFixed(1)}/s, longest gap ${Math.round(span.longestGap)} ms`,
    `${more(span, (it) => it.freezeCount)} freezes, ${more(span, (it) => it.plis)} PLI`,
    `${more(span, (it) => it.framesDropped)} dropped, ${more(span, (it) => it.keyFramesDecoded)} keyframes`,
    `layer '${span.layer}', ${span.reason}`,
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
async function steps(open: OpenPage, ask: Ask, paths: readonly Step[]): Promise<void> {
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
    for (const step of paths) {
      await network.say(`down rate=${step.rate}`);
      let seen = '';
      // Until it is so for a whole span: on the way down there may be a second of all frames and two without any, and now
      // and then the server tries whether the path carries more by now, and says so.
      const wrong = async (): Promise<string[]> => {
        const span = await watchFor(viewer, 6);
        seen = words(step.rate, span);
        return faults(span, step);
      };
      await expect.poll(wrong, { timeout: 60_000, intervals: [0], message: `at ${step.rate}` }).toEqual([]);
      figure(`${ask.codec} ${asked[0]}`, seen);
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
      { rate: '3M', fps: all, layer: '', reason: 'best' },
      { rate: forHalf, fps: half, layer: '', reason: 'reduced-frame-rate' },
      { rate: forQuarter, fps: quarter, layer: '', reason: 'reduced-frame-rate' },
      { rate: '3M', fps: all, layer: '', reason: 'best' },
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
      { rate: '3M', fps: all, layer: 'f', reason: 'best' },
      { rate: '180k', fps: half, layer: 'q', reason: 'reduced-frame-rate' },
      { rate: '3M', fps: all, layer: 'f', reason: 'best' },
    ]);
  });
}
