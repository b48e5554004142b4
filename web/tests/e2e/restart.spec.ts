import { expect, figure, test } from './harness/fixtures.ts';
import { goLive, view } from './harness/roles.ts';
import { untilActive, untilPlaying, words } from './harness/room-state.ts';

test('the publisher reloads, and the viewer plays on in its same session', async ({ open, room }) => {
  const publisher = await open();
  await goLive(publisher, room, { audio: true });
  await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await open();
  await view(viewer, room);
  await untilPlaying(viewer);
  const before = await viewer.evaluate(() => window.lab.watchState());

  const away = Date.now();
  await publisher.reload();
  await goLive(publisher, room, { audio: true });
  await untilPlaying(viewer);
  figure('publisher reloaded', `picture moves again ${Date.now() - away} ms after the reload began`);
  const reading = await viewer.evaluate(() => window.lab.take(5, 1280));
  const after = await viewer.evaluate(() => window.lab.watchState());
  const link = await viewer.evaluate(() => window.lab.link());

  figure('after the reload', words(reading));
  expect(after.location).toBe(before.location);
  expect(link.connections, 'the viewer made one connection and kept it').toBe(1);
  expect(after.state).toBe('live');
  expect(reading.fps).toBeGreaterThanOrEqual(15);
  expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);
});

test('the next publisher sends another codec, and the viewer plays on in its same session', async ({
  open,
  room,
}) => {
  const first = await open();
  await goLive(first, room);
  const viewer = await open();
  await view(viewer, room);
  await untilPlaying(viewer);
  const before = await viewer.evaluate(() => window.lab.watchState());

  await first.evaluate(() => window.lab.close());
  const second = await open();
  await goLive(second, room, { codec: 'h264' });
  await untilPlaying(viewer);
  const reading = await viewer.evaluate(() => window.lab.take(5, 1280));
  const after = await viewer.evaluate(() => window.lab.watchState());

  figure('after a takeover by another codec', words(reading));
  expect(after.location).toBe(before.location);
  expect(reading.fps).toBeGreaterThanOrEqual(15);
  expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);
});
