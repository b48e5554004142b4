import type { Page } from '@playwright/test';
import { type BadNetwork, startBehind } from '../e2e/harness/bad-network.ts';
import { expect, type OpenPage, type Room, roomOf, test } from '../e2e/harness/fixtures.ts';
import { hear } from '../e2e/harness/hearing.ts';
import { publishLoad } from '../e2e/harness/load.ts';
import { small, two } from '../e2e/harness/plans.ts';
import { goLive, view } from '../e2e/harness/roles.ts';
import { untilActive, untilPlaying } from '../e2e/harness/room-state.ts';
import type { JoinTrace } from '../pages/join-trace.ts';
import type { PathTrace } from '../pages/path-trace.ts';
import { percentiles } from '../pages/reading.ts';
import { startSlowHttp } from './slow-http.ts';
import { row } from './table.ts';

/**
 * What a real browser sees over bad paths, against what is promised. The publisher is the load test's: real pictures,
 * cheap to make, so that the machine's cores belong to the server, the emulator and the viewer.
 */

const gopMs = 4000;
/** 720p, 360p and 180p; a quarter of the rate each. */
const layers = ['--codec', 'vp8', '--simulcast', '3', '--bitrate', '2M', '--gop', '4s'];

test('join on a LAN, a keyframe every 4 s and none on request', async ({ open, room }) => {
  const publisher = publishLoad(room.whip, [
    '--codec',
    'h264',
    '--bitrate',
    '1.5M',
    '--gop',
    '4s',
    '--ignore-pli',
  ]);
  await untilActive(room.page, ['']);
  const viewer = await open();
  const traces = await joins(viewer, room.whep, 20);
  await publisher.stop();

  const shown = percentiles(traces.map(({ firstFrameShown }) => firstFrameShown));
  row('join, LAN, GOP 4 s without PLI', 'p50', shown.p50, { unit: 'ms', atMost: 150 });
  row('join, LAN, GOP 4 s without PLI', 'p95', shown.p95, { unit: 'ms', atMost: 300 });
});

test('join over 50 ms of round trip, HTTP connection open', async ({ open }) => {
  await behind('delay=25ms', open, ['--codec', 'h264', '--bitrate', '1.5M', '--gop', '4s', '--ignore-pli'], {
    active: [''],
    use: async ({ viewer, room, url }) => {
      const slow = await startSlowHttp(url, 25);
      const whep = `${slow.url}${new URL(room.whep).pathname}`;
      // The first opens the connection and learns what the browser may ask of another origin.
      const [, ...traces] = await joins(viewer, whep, 13);
      await slow.stop();

      const shown = percentiles(traces.map(({ firstFrameShown }) => firstFrameShown));
      const step = (pick: (trace: JoinTrace) => number): number => percentiles(traces.map(pick)).p50;
      row('join, 50 ms round trip', 'p50', shown.p50, { unit: 'ms', atMost: 350 });
      row('join, 50 ms round trip', 'p95', shown.p95, { unit: 'ms', atMost: 600 });
      row(
        'join, 50 ms round trip',
        'p50 to the answer',
        step((it) => it.answered),
        { unit: 'ms' },
      );
      row(
        'join, 50 ms round trip',
        'p50 to DTLS connected',
        step((it) => it.dtlsConnected),
        { unit: 'ms' },
      );
      row('join, 50 ms round trip', 'round trips to the first frame', Math.round(shown.p50 / 50), {
        unit: '',
      });
    },
  });
});

for (const [loss, most] of [
  [5, 1],
  [10, 5],
] as const) {
  test(`${loss} % random loss, 50 ms round trip, 2 Mbit/s`, async ({ open }) => {
    await behind(`delay=25ms,loss=${loss}%,rate=2M,queue=200ms`, open, layers, {
      active: ['q', 'h', 'f'],
      use: async ({ viewer }) => {
        await viewer.waitForTimeout(5000);
        const { frozenMs } = await tracePath(viewer, 60);
        row(`${loss} % loss, 50 ms, 2 Mbit/s`, 'frozen', (frozenMs / 60_000) * 100, {
          unit: '%',
          atMost: most,
        });
      },
    });
  });
}

test('sound, 10 % random loss, 50 ms round trip', async ({ open }) => {
  const { server, network } = await startBehind('delay=25ms,loss=10%', 'delay=25ms');
  try {
    const room = roomOf(server, 'far');
    const publisher = await open();
    // The load test's sound is sent once only.
    await goLive(publisher, room, { ...small, layers: two, audio: true, through: server.udp });
    await untilActive(room.page, ['h', 'f']);
    const viewer = await open();
    await viewer.evaluate((url) => window.lab.listen(url, true), room.whep);
    await viewer.waitForTimeout(5000);
    const { lost, concealed } = await hear(viewer, 60);
    row('10 % loss, 50 ms, sound', 'packets lost', lost * 100, { unit: '%' });
    row('10 % loss, 50 ms, sound', 'made up', concealed * 100, { unit: '%', atMost: 3 });
  } finally {
    await network.stop();
    await server.stop();
  }
});

test('rate 4, 1, 0.3, 4 Mbit/s', async ({ open }) => {
  await behind('delay=20ms,rate=4M,queue=300ms', open, layers, {
    active: ['q', 'h', 'f'],
    use: async ({ viewer, network }) => {
      await viewer.waitForTimeout(12_000);
      const traced = tracePath(viewer, 62);
      const said: number[] = [];
      for (const [rate, seconds] of [
        ['4M', 5],
        ['1M', 15],
        ['300k', 15],
        ['4M', 25],
      ] as const) {
        await network.say(`down rate=${rate}`);
        said.push(Date.now());
        await viewer.waitForTimeout(seconds * 1000);
      }
      const trace = await traced;
      const [, one = 0, third = 0, four = 0] = said;
      row('rate 4 → 1 Mbit/s', 'down after', lastAbove(trace, 360, one, third), { unit: 'ms', atMost: 2000 });
      row('rate 1 → 0.3 Mbit/s', 'down after', lastAbove(trace, 180, third, four), {
        unit: 'ms',
        atMost: 2000,
      });
      row('rate 0.3 → 4 Mbit/s', 'up to 720p after', firstAt(trace, 720, four), { unit: 'ms', atMost: 8000 });
      const gaps = [longestGap(trace, one - 5000, third), longestGap(trace, four + 1000, trace.to)];
      row('rate steps, but for 0.3 Mbit/s', 'longest gap', Math.max(...gaps), { unit: 'ms', atMost: 1000 });
    },
  });
});

test('bufferbloat: 1.5 Mbit/s with a queue of 1 s', async ({ open }) => {
  await behind('delay=20ms,rate=1.5M,queue=1s', open, layers, {
    active: ['q', 'h', 'f'],
    use: async ({ viewer, network }) => {
      await viewer.waitForTimeout(5000);
      const delays: number[] = [];
      for (let sample = 0; sample < 150; sample += 1) {
        delays.push((await network.stats()).down.queue_ms);
        await viewer.waitForTimeout(200);
      }
      const added = percentiles(delays);
      row('1.5 Mbit/s, queue of 1 s', 'added delay, p50 from 5 s on', added.p50, { unit: 'ms' });
      row('1.5 Mbit/s, queue of 1 s', 'added delay, p95 from 5 s on', added.p95, { unit: 'ms', atMost: 150 });
    },
  });
});

test('2.5 Mbit/s fixed, three layers', async ({ open }) => {
  await behind('delay=20ms,rate=2.5M,queue=200ms', open, layers, {
    active: ['q', 'h', 'f'],
    use: async ({ viewer }) => {
      await viewer.waitForTimeout(12_000);
      const { frames } = await tracePath(viewer, 60);
      const best = frames.filter(({ height }) => height === 720).length;
      row('2.5 Mbit/s, three layers', 'in the best that fits', (best / frames.length) * 100, {
        unit: '%',
        atLeast: 90,
      });
    },
  });
});

interface Scene {
  readonly viewer: Page;
  readonly network: BadNetwork;
  readonly room: Room;
  readonly url: string;
}

/** A publisher that reaches the server directly, and a viewer that has only a bad path to it. */
async function behind(
  spec: string,
  open: OpenPage,
  options: readonly string[],
  scene: { readonly active: readonly string[]; readonly use: (scene: Scene) => Promise<void> },
): Promise<void> {
  // Only the way down is narrow or loses: a viewer sends little.
  const delay = spec.split(',').find((part) => part.startsWith('delay=')) ?? 'clear';
  const { server, network } = await startBehind(spec, delay);
  try {
    const room = roomOf(server, 'far');
    const publisher = publishLoad(room.whip, [...options, '--through', server.udp]);
    await untilActive(room.page, [...scene.active]);
    expect((await network.stats()).up.received, 'the publisher goes around the bad network').toBe(0);
    const viewer = await open();
    if (scene.active.length > 1) {
      await view(viewer, room);
      await untilPlaying(viewer);
    }
    await scene.use({ viewer, network, room, url: server.url });
    await publisher.stop();
  } finally {
    await network.stop();
    await server.stop();
  }
}

async function joins(viewer: Page, whep: string, count: number): Promise<JoinTrace[]> {
  const traces: JoinTrace[] = [];
  for (let join = 0; join < count; join += 1) {
    // Evenly over the group of pictures, in an order that no rhythm follows.
    await viewer.waitForTimeout(((join * 7 + 3) % count) * (gopMs / count));
    traces.push(await viewer.evaluate((url) => window.lab.join(url, 1, 1280), whep));
  }
  return traces;
}

function tracePath(viewer: Page, seconds: number): Promise<PathTrace> {
  return viewer.evaluate((long) => window.lab.tracePath(long), seconds);
}

/** Milliseconds from `from` to the last frame that was higher than `height`, up to `to`. */
function lastAbove({ frames }: PathTrace, height: number, from: number, to: number): number {
  const late = frames.filter((frame) => frame.at > from && frame.at < to && frame.height > height);
  return Math.max(0, (late.at(-1)?.at ?? from) - from);
}

/** Milliseconds from `from` to the first frame of that height. */
function firstAt({ frames }: PathTrace, height: number, from: number): number {
  const found = frames.find((frame) => frame.at > from && frame.height === height);
  return found ? found.at - from : Number.POSITIVE_INFINITY;
}

function longestGap({ frames }: PathTrace, from: number, to: number): number {
  const inside = frames.map(({ at }) => at).filter((at) => at >= from && at <= to);
  const edges = [Math.max(from, frames[0]?.at ?? from), ...inside, to];
  return Math.max(...edges.slice(1).map((at, index) => at - (edges[index] ?? at)));
}
