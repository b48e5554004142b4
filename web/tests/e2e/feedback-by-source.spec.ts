import type { Page } from '@playwright/test';
import { startBehind } from './harness/bad-network.ts';
import { expect, figure, roomOf, test } from './harness/fixtures.ts';
import { goLive, view } from './harness/roles.ts';
import { untilActive, untilPlaying } from './harness/room-state.ts';

/** Chromium speaks RFC 8888, and offers it where it is told to. */
const offersIt = '--force-fieldtrials=WebRTC-RFC8888CongestionControlFeedback/Enabled,offer:true/';

/** Leaves feedback by source alone in a page's next offer; resolves with that offer and its answer. */
async function offeringNothingElse(page: Page): Promise<() => Promise<{ offer: string; answer: string }>> {
  let offer = '';
  await page.route('**/whep/*', async (route) => {
    const body = route.request().postData();
    if (body === null) return route.continue();
    offer = body.replaceAll(/a=rtcp-fb:\d+ (transport-cc|goog-remb)\r\n/g, '');
    return route.continue({ postData: offer });
  });
  const answered = page.waitForResponse((response) => response.request().postData() !== null);
  return async () => ({ offer, answer: await (await answered).text() });
}

test('a Chromium that reports by source alone is led by what it reports', async ({ open }) => {
  const { server, network } = await startBehind('delay=20ms,rate=6M,queue=200ms');
  try {
    const room = roomOf(server, 'by-source');
    const publisher = await open();
    await goLive(publisher, room, { through: server.udp });
    await untilActive(room.page, ['q', 'h', 'f']);
    const viewer = await open({ extra: [offersIt] });
    const exchanged = await offeringNothingElse(viewer);
    await view(viewer, room);
    await untilPlaying(viewer);

    const { offer, answer } = await exchanged();
    expect(offer, 'what this test is about').toMatch(/a=rtcp-fb:\d+ ack ccfb\r\n/);
    expect(answer.match(/a=rtcp-fb:.*ccfb/g), 'of sound and picture').toEqual(
      Array(2).fill('a=rtcp-fb:* ack ccfb'),
    );
    expect(answer).not.toMatch(/transport-cc|goog-remb/);

    // It begins low, and a better picture has to be proved: nothing but these reports can do that here.
    const explain = () => viewer.evaluate(() => window.lab.explain());
    const height = async () => (await explain()).current?.height ?? 0;
    await expect.poll(height, { timeout: 60_000 }).toBeGreaterThan(180);
    // The burst that it joined with may have filled the path for a moment, so that the estimate falls at first.
    const bitrate = async () => (await explain()).estimate?.bitrate ?? 0;
    await expect
      .poll(bitrate, { message: 'more than it began with', timeout: 20_000 })
      .toBeGreaterThan(600_000);
    const before = await explain();
    figure('on 6 Mbit/s', `${before.current?.height}p, ${JSON.stringify(before.estimate)}`);
    expect(before.rttMs).toBeGreaterThanOrEqual(40);

    await network.say('down rate=300k');
    await expect.poll(height, { timeout: 20_000 }).toBe(180);
    // While a publisher has just begun, its layers take so little that even this path has room for more.
    const limiter = async () => (await explain()).estimate?.limiter;
    await expect.poll(limiter, { timeout: 20_000 }).toMatch(/^(delay|loss|probe)$/);
    const after = await explain();
    figure('on 0.3 Mbit/s', JSON.stringify(after.estimate));
    expect(after.estimate?.bitrate).toBeLessThan(600_000);
  } finally {
    await network.stop();
    await server.stop();
  }
});
