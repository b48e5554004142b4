import { expect, figure, test } from './harness/fixtures.ts';
import { hd, three } from './harness/plans.ts';
import { untilActive, untilPlaying, words } from './harness/room-state.ts';

test('the npm package whip-whep publishes and views, unmodified', async ({ open, room }) => {
  const publisher = await open();
  await publisher.evaluate(([url, ask, layers]) => window.lab.whipPublish(url, ask, layers), [
    room.whip,
    { ...hd, audio: true },
    three,
  ] as const);
  await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await open();
  await viewer.evaluate((url) => window.lab.whepView(url), room.whep);
  await untilPlaying(viewer);
  const reading = await viewer.evaluate(() => window.lab.take(5, 1280));

  figure('whip-whep', words(reading));
  expect(reading.fps).toBeGreaterThanOrEqual(15);
  expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);

  await viewer.evaluate(() => window.lab.whipWhepStop());
  await publisher.evaluate(() => window.lab.whipWhepStop());
  const sent = await publisher.evaluate(() => window.lab.exchanges);
  const seen = await viewer.evaluate(() => window.lab.exchanges);
  const statuses = (list: typeof sent, method: string): number[] =>
    list.filter((exchange) => exchange.method === method).map(({ status }) => status);
  expect(statuses(sent, 'POST')).toEqual([201]);
  expect(statuses(sent, 'PATCH').length).toBeGreaterThan(0);
  expect(statuses(sent, 'PATCH').every((status) => status === 204)).toBe(true);
  expect(statuses(sent, 'DELETE')).toEqual([200]);
  expect(statuses(seen, 'DELETE')).toEqual([200]);
  // The package's WHEP half never keeps the ETag, so its trickle comes without If-Match, which is refused as RFC 9725
  // §4.3.1 wants; the picture comes all the same, because a lite agent learns addresses from checks.
  expect(statuses(seen, 'PATCH').length).toBeGreaterThan(0);
  expect(statuses(seen, 'PATCH').every((status) => status === 428)).toBe(true);
});
