import type { Page } from '@playwright/test';
import { type BadNetwork, startBehind } from './harness/bad-network.ts';
import { expect, figure, type OpenPage, roomOf, test } from './harness/fixtures.ts';
import { goLive, view } from './harness/roles.ts';
import { roomInfo, untilActive, untilPlaying, words } from './harness/room-state.ts';

/** A viewer behind a bad network, of a publisher that reaches the server directly. */
async function viewerBehind(
  spec: string,
  open: OpenPage,
  use: (viewer: Page, network: BadNetwork) => Promise<void>,
): Promise<void> {
  const { server, network } = await startBehind(spec);
  try {
    const room = roomOf(server, 'far');
    const publisher = await open();
    await goLive(publisher, room, { through: server.udp });
    await untilActive(room.page, ['q', 'h', 'f']);
    expect((await network.stats()).up.received, 'the publisher goes around the bad network').toBe(0);
    const viewer = await open();
    const joined = await view(viewer, room);
    await untilPlaying(viewer);
    figure(`${spec}, first frame`, `${Math.round(joined)} ms after the POST`);
    await use(viewer, network);
  } finally {
    await network.stop();
    await server.stop();
  }
}

async function framesOf(viewer: Page): Promise<number> {
  return viewer
    .locator('video')
    .evaluate((video: HTMLVideoElement) => video.getVideoPlaybackQuality().totalVideoFrames);
}

test('a host whose own path is bad at first sends every layer once it is good', async ({ open }) => {
  test.setTimeout(180_000);
  const { server, network } = await startBehind('delay=10ms', 'delay=10ms,rate=200k,queue=200ms');
  try {
    const room = roomOf(server, 'slow-start');
    const studio = await open({ url: room.studio });
    await studio.getByRole('button', { name: 'Camera' }).click();
    await studio.getByRole('button', { name: 'Go live' }).click();
    await untilActive(room.page, ['q']);
    const viewer = await open({ url: room.page });
    await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
    // Longer than the server waits before it rests what nobody watches.
    await viewer.waitForTimeout(14_000);
    const shown = (await roomInfo(room.page)).qualities.filter(({ height }) => height !== undefined);
    expect(shown, 'no more than one layer had room').toHaveLength(1);

    await network.say('up delay=10ms,rate=none');
    await untilActive(room.page, ['q', 'h', 'f'], 90_000);
  } finally {
    await network.stop();
    await server.stop();
  }
});

test('a viewer whose path carries sound only keeps its session', async ({ open }) => {
  const { server, network } = await startBehind('delay=10ms', 'delay=10ms');
  try {
    const room = roomOf(server, 'sound-only');
    const studio = await open({ url: room.studio });
    await studio.getByRole('button', { name: 'Camera' }).click();
    await studio.getByRole('button', { name: 'Go live' }).click();
    await untilActive(room.page, ['q', 'h', 'f']);
    const viewer = await open({ url: room.page });
    await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
    let joins = 0;
    viewer.on('request', (request) => {
      if (request.method() === 'POST') joins += 1;
    });

    await network.say('down rate=70k,queue=300ms');
    await viewer.waitForTimeout(5000);
    const before = await framesOf(viewer);
    // A picture that is missing without a reason costs the session in less than half of this.
    await viewer.waitForTimeout(25_000);

    expect((await framesOf(viewer)) - before, 'the path carries no picture').toBeLessThan(15);
    expect(joins).toBe(0);
    await expect(viewer.locator('#state')).toHaveText('Live');
  } finally {
    await network.stop();
    await server.stop();
  }
});

test('a room of one layer: sound alone where a fifth of it passes, the viewer is told so, and the picture comes back', async ({
  open,
}) => {
  const { server, network } = await startBehind('delay=10ms,rate=4M,queue=500ms', 'delay=10ms');
  try {
    const room = roomOf(server, 'one-layer');
    const publisher = await open();
    const layers = [{ rid: 'f', scale: 1, maxBitrate: 1_500_000 }];
    await goLive(publisher, room, { audio: true, layers, through: server.udp });
    await untilActive(room.page, ['']);
    const viewer = await open({ url: room.page });
    const words = viewer.locator('#words');
    await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
    await expect(words).toBeHidden();

    await network.say('down rate=300k');
    await expect(words).toHaveText('Your connection carries sound only.', { timeout: 30_000 });
    await expect(viewer.locator('#latency')).toHaveText('No picture');
    const before = await framesOf(viewer);
    await viewer.waitForTimeout(5000);
    expect((await framesOf(viewer)) - before, 'no picture').toBe(0);
    await expect(viewer.locator('#state')).toHaveText('Live');

    await network.say('down rate=4M');
    await expect(words).toBeHidden({ timeout: 20_000 });
    const back = await framesOf(viewer);
    await viewer.waitForTimeout(2000);
    expect((await framesOf(viewer)) - back, 'frames in two seconds').toBeGreaterThan(30);
  } finally {
    await network.stop();
    await server.stop();
  }
});

test('over 50 ms of round trip a viewer plays, and its media takes that way', async ({ open }) => {
  await viewerBehind('delay=25ms', open, async (viewer, network) => {
    const before = await network.stats();
    const reading = await viewer.evaluate(() => window.lab.take(5, 1280));
    const after = await network.stats();
    const { rttMs } = await viewer.evaluate(() => window.lab.link());

    const packets = after.down.delivered - before.down.delivered;
    const kbps = ((after.down.delivered_bytes - before.down.delivered_bytes) * 8) / 1000 / reading.seconds;
    figure('25 ms each way', `${words(reading)}; round trip ${rttMs.toFixed(1)} ms`);
    figure('through the emulator', `${packets} packets, ${Math.round(kbps)} kbit/s`);
    expect(reading.fps).toBeGreaterThanOrEqual(15);
    expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);
    expect(rttMs).toBeGreaterThanOrEqual(50);
    expect(rttMs).toBeLessThan(150);
    // A frame of the lowest layer is at least one packet.
    expect(packets).toBeGreaterThanOrEqual(reading.frames);
    expect(kbps).toBeGreaterThan(100);
    expect(after.up.delivered, 'its feedback takes that way too').toBeGreaterThan(before.up.delivered);
  });
});

test('with 2 % of the packets lost a viewer still plays', async ({ open }) => {
  await viewerBehind('delay=25ms,loss=2%', open, async (viewer, network) => {
    const before = await network.stats();
    const reading = await viewer.evaluate(() => window.lab.take(5, 1280));
    const after = await network.stats();

    const lost = after.down.lost - before.down.lost;
    const share = (100 * lost) / (after.down.received - before.down.received);
    figure('25 ms each way and 2 % lost', `${words(reading)}; really lost ${lost} (${share.toFixed(2)} %)`);
    expect(lost).toBeGreaterThan(0);
    expect(share).toBeLessThan(6);
    expect(reading.fps).toBeGreaterThanOrEqual(15);
    expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);
  });
});

test('in a blackout the picture stands still, because there is no way around, and then it goes on', async ({
  open,
}) => {
  await viewerBehind('delay=25ms', open, async (viewer, network) => {
    await network.say('both blackout');
    const dark = await viewer.evaluate(() => window.lab.take(2, 1280));
    await network.say('both blackout=off');
    const ended = Date.now();
    const fps = async (): Promise<number> => (await viewer.evaluate(() => window.lab.take(1, 1280))).fps;
    await expect.poll(fps, { timeout: 30_000, intervals: [0] }).toBeGreaterThanOrEqual(15);
    const smoothMs = Date.now() - ended;

    figure('blackout of 2 s', `${dark.frames} frames in it; a smooth second ended ${smoothMs} ms after it`);
    // What had arrived before is still shown.
    expect(dark.frames).toBeLessThanOrEqual(10);
    expect(dark.longestGap).toBeGreaterThan(1500);
  });
});
