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
import { firstAt, frozen, lastAbove, longestGap, rateAt, shareAt } from './path-figures.ts';
import { older, traceAges } from './picture-age.ts';
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
    use: async ({ viewer, network, room, url }) => {
      const joinsOver = async (roundTripMs: number, count: number): Promise<JoinTrace[]> => {
        await network.say(`both delay=${roundTripMs / 2}ms`);
        const slow = await startSlowHttp(url, roundTripMs / 2);
        const whep = `${slow.url}${new URL(room.whep).pathname}`;
        // The first opens the connection.
        const [, ...traces] = await joins(viewer, whep, 1 + count);
        await slow.stop();
        return traces;
      };
      const near = await joinsOver(50, 12);
      const far = await joinsOver(150, 8);

      const path = 'join, 50 ms round trip';
      const p50 = (traces: readonly JoinTrace[], step: Step): number =>
        percentiles(traces.map((trace) => trace[step])).p50;
      const shown = percentiles(near.map(({ firstFrameShown }) => firstFrameShown));
      row(path, 'p50', shown.p50, { unit: 'ms', atMost: 350 });
      row(path, 'p95', shown.p95, { unit: 'ms', atMost: 600 });
      row(path, 'p50 to the answer', p50(near, 'answered'), { unit: 'ms' });
      row(path, 'p50 to DTLS connected', p50(near, 'dtlsConnected'), { unit: 'ms' });
      // What the machines take is in both; what a longer way adds has waited for so many ways there and back.
      const roundTrips = (step: Step): number => (p50(far, step) - p50(near, step)) / 100;
      row(path, 'round trips to the answer', roundTrips('answered'), { unit: '', atMost: 1.5 });
      row(path, 'round trips to DTLS connected', roundTrips('dtlsConnected'), { unit: '' });
      row(path, 'round trips to the first frame', roundTrips('firstFrameShown'), { unit: '' });
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
        const trace = await tracePath(viewer, 60);
        const path = `${loss} % loss, 50 ms, 2 Mbit/s`;
        row(path, 'frozen', (frozen(trace) / 60_000) * 100, { unit: '%', atMost: most });
        // The slower the frames come, the longer may one be away before it counts as a freeze.
        row(path, 'shown', trace.frames.length / 60, { unit: 'frames/s', atLeast: 15 });
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
      row('rate 4 Mbit/s', '720p', rateAt(trace, 720, trace.from, one), { unit: 'frames/s', atLeast: 15 });
      row('rate 4 → 1 Mbit/s', 'down after', lastAbove(trace, 360, one, third), { unit: 'ms', atMost: 2000 });
      row('rate 1 → 0.3 Mbit/s', 'down after', lastAbove(trace, 180, third, four), {
        unit: 'ms',
        atMost: 2000,
      });
      // Sound and 180p take less than that: there is no reason for sound alone, nor for fewer frames.
      row('rate 0.3 Mbit/s', '180p from 2 s on', rateAt(trace, 180, third + 2000, four), {
        unit: 'frames/s',
        atLeast: 15,
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
      const traced = traceAges(viewer, 45);
      await viewer.waitForTimeout(5000);
      const queues: number[] = [];
      const narrow = { from: Date.now(), to: Date.now() + 30_000 };
      while (Date.now() < narrow.to) {
        queues.push((await network.stats()).down.queue_ms);
        await viewer.waitForTimeout(200);
      }
      // Without a queue, for as long as the trace goes on.
      await network.say('down rate=100M');
      const wide = { from: Date.now(), to: Date.now() + 8000 };
      const frames = await traced;

      const path = '1.5 Mbit/s, queue of 1 s';
      const queue = percentiles(queues);
      row(path, 'queue, p50 from 5 s on', queue.p50, { unit: 'ms' });
      row(path, 'queue, p95 from 5 s on', queue.p95, { unit: 'ms', atMost: 150 });
      const received = older(frames, 'received', narrow, [narrow, wide]);
      row(path, 'picture comes later by, p95', received.p95, { unit: 'ms', atMost: 150 });
      // On any path a browser shows the picture ever later until it goes with the sound, whose buffer is deeper: only
      // what comes after is a measure, when that is over.
      const shown = older(frames, 'shown', narrow, [wide]);
      row(path, 'picture is seen later by, p95', shown.p95, { unit: 'ms', atMost: 150 });
    },
  });
});

test('2.5 Mbit/s fixed, three layers', async ({ open }) => {
  await behind('delay=20ms,rate=2.5M,queue=200ms', open, layers, {
    active: ['q', 'h', 'f'],
    use: async ({ viewer }) => {
      await viewer.waitForTimeout(12_000);
      const trace = await tracePath(viewer, 60);
      row('2.5 Mbit/s, three layers', 'time in the best that fits', shareAt(trace, 720) * 100, {
        unit: '%',
        atLeast: 90,
      });
    },
  });
});

type Step = 'answered' | 'dtlsConnected' | 'firstFrameShown';

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
    if (scene.active.length > 1) {
      // A player that gives up and asks anew has other figures than the path's.
      const { connections, protocol } = await viewer.evaluate(() => window.lab.link());
      expect
        .soft({ connections, protocol }, 'the viewer is where it was')
        .toEqual({ connections: 1, protocol: 'udp' });
    }
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
