import { expect, figure, test } from './harness/fixtures.ts';
import { publishLoad } from './harness/load.ts';
import { view } from './harness/roles.ts';
import { untilActive, untilPlaying } from './harness/room-state.ts';

for (const codec of ['h264', 'vp8'] as const) {
  test(`the load test's ${codec} plays in a browser, filler and all`, async ({ open, room }) => {
    const publisher = publishLoad(room.whip, ['--codec', codec, '--bitrate', '2.5M']);
    const viewer = await open();
    await untilActive(room.page, ['']);

    await view(viewer, room);
    await untilPlaying(viewer);
    const reading = await viewer.evaluate(() => window.lab.take(6, 1280));
    const link = await viewer.evaluate(() => window.lab.link());
    const report = await publisher.stop();

    figure(
      codec,
      `${reading.fps.toFixed(1)} frames/s, ${JSON.stringify(reading.sizes)}, ${JSON.stringify(report)}`,
    );
    expect(reading.fps).toBeGreaterThanOrEqual(15);
    expect(Object.keys(reading.sizes)).toEqual(['1280x720']);
    expect(link.framesDecoded).toBeGreaterThan(100);
    // One to begin with; a decoder that chokes on the pictures asks again and again.
    expect(report.plis_received).toBeLessThanOrEqual(3);
    expect(report.send_errors).toBe(0);
  });
}

test("the load test's three layers are seen as three", async ({ room }) => {
  const publisher = publishLoad(room.whip, ['--simulcast', '3', '--no-audio']);

  const seen = await untilActive(room.page, ['q', 'h', 'f']);

  const heights = Object.fromEntries(seen.map(({ id, height }) => [id, height]));
  expect(heights).toEqual({ q: 180, h: 360, f: 720 });
  expect((await publisher.stop()).connected).toBe(true);
});
