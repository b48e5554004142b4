import { expect, figure, test } from './harness/fixtures.ts';
import { goLive, view } from './harness/roles.ts';
import { untilActive, untilPlaying, words } from './harness/room-state.ts';

test('over TCP alone both publisher and viewer play', async ({ open, room }) => {
  const publisher = await open();
  const viewer = await open();

  await goLive(publisher, room, { transport: 'tcp' });
  await untilActive(room.page, ['q', 'h', 'f']);
  await view(viewer, room, { transport: 'tcp' });
  await untilPlaying(viewer);
  const reading = await viewer.evaluate(() => window.lab.take(5, 1280));

  figure('TCP alone', words(reading));
  expect((await publisher.evaluate(() => window.lab.link())).protocol).toBe('tcp');
  expect((await viewer.evaluate(() => window.lab.link())).protocol).toBe('tcp');
  expect(reading.fps).toBeGreaterThanOrEqual(15);
  expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);
});

test('a viewer that lists a GCM profile gets one', async ({ open, room }) => {
  const publisher = await open();
  await goLive(publisher, room);
  const viewer = await open();
  await view(viewer, room);
  await untilPlaying(viewer);

  const seen = await viewer.evaluate(() => window.lab.link());
  const sent = await publisher.evaluate(() => window.lab.link());

  figure('SRTP', `viewer ${seen.srtpCipher}, publisher ${sent.srtpCipher}, DTLS ${seen.dtlsVersion}`);
  expect(seen.srtpCipher).toMatch(/AEAD_AES_(128|256)_GCM$/);
});

test('a data channel beside the media echoes text and bytes', async ({ open, room }) => {
  const publisher = await open();
  await goLive(publisher, room);
  const viewer = await open();
  const texts = ['hello', 'žluťoučký kůň 🐎', 'x'.repeat(4000)];

  const got = await viewer.evaluate(([url, what]) => window.lab.echo(url, what, 8000), [
    room.whep,
    texts,
  ] as const);

  expect(got.texts).toEqual(texts);
  expect(got.bytes).toBe(8000);
});

test('an ICE restart moves the session, and the picture goes on', async ({ open, room }) => {
  const publisher = await open();
  await goLive(publisher, room);
  const viewer = await open();

  const reading = await viewer.evaluate((url) => window.lab.restartIce(url, 1280), room.whep);
  const exchanges = await viewer.evaluate(() => window.lab.exchanges);

  figure('after an ICE restart', words(reading));
  const patches = exchanges.filter(({ method }) => method === 'PATCH');
  const restarted = patches.findIndex(({ headers }) => headers['if-match'] === '*');
  expect(patches[restarted]?.status).toBe(200);
  // One that is under way may be overtaken by the restart, and is then refused as one of before (RFC 9725 §4.3.1).
  for (const { status } of patches.slice(0, restarted)) expect([204, 412]).toContain(status);
  const trickles = patches.slice(restarted + 1);
  expect(trickles.length).toBeGreaterThan(0);
  expect(trickles.map(({ status }) => status)).toEqual(trickles.map(() => 204));
  expect(reading.fps).toBeGreaterThanOrEqual(15);
});
