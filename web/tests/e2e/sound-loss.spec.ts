import type { Page } from '@playwright/test';
import type { Heard } from '../pages/sound.ts';
import { startBehind } from './harness/bad-network.ts';
import { expect, figure, roomOf, test } from './harness/fixtures.ts';
import { goLive } from './harness/roles.ts';
import { untilActive } from './harness/room-state.ts';

const seconds = 20;

/** What a page hears from now on. */
async function hear(page: Page): Promise<{ share: number; lost: number; repaired: number; heard: Heard }> {
  const before = await page.evaluate(() => window.lab.heard());
  await page.waitForTimeout(seconds * 1000);
  const heard = await page.evaluate(() => window.lab.heard());
  const since = (pick: (it: Heard) => number): number => pick(heard) - pick(before);
  const lost = since((it) => it.lost) / (since((it) => it.lost) + since((it) => it.packets));
  const share = since((it) => it.concealed) / since((it) => it.samples);
  return { share, lost, repaired: since((it) => it.repaired), heard };
}

test('sound with RED survives 10 % loss, and the same sound without it does not', async ({ open }) => {
  const { server, network } = await startBehind('delay=25ms,loss=10%', 'delay=25ms');
  try {
    const room = roomOf(server, 'far');
    const publisher = await open();
    await goLive(publisher, room, { audio: true, through: server.udp });
    await untilActive(room.page, ['q', 'h', 'f']);
    const [withRed, without] = [await open(), await open()];
    await withRed.evaluate((url) => window.lab.listen(url, true), room.whep);
    await without.evaluate((url) => window.lab.listen(url, false), room.whep);
    await withRed.waitForTimeout(3000);
    const [repeated, plain] = await Promise.all([hear(withRed), hear(without)]);

    const words = ({ share, lost, repaired, heard }: typeof plain): string =>
      `${heard.codec}, ${(100 * lost).toFixed(1)} % lost, ${repaired} repaired, ${(100 * share).toFixed(2)} % concealed`;
    figure('with RED', words(repeated));
    figure('without', words(plain));
    expect(repeated.heard.codec).toBe('audio/red');
    expect(repeated.heard.answer).toMatch(/^a=rtpmap:\d+ red\/48000\/2\r$/m);
    expect(repeated.heard.answer).toMatch(/^a=fmtp:\d+ .*useinbandfec=1/m);
    expect(plain.heard.codec).toBe('audio/opus');
    expect(repeated.lost).toBeGreaterThan(0.05);
    expect(repeated.repaired).toBeGreaterThan(30);
    expect(repeated.share).toBeLessThan(0.05);
    expect(plain.share, 'the bound is one that RED makes').toBeGreaterThan(0.05);
  } finally {
    await network.stop();
    await server.stop();
  }
});
