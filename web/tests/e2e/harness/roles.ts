import type { Page } from '@playwright/test';
import type { PublishAsk, WatchAsk } from '../../pages/lab.ts';
import type { Room } from './fixtures.ts';
import { hd, three } from './plans.ts';

/** Makes a test page the publisher of a room: by default three VP8 layers of 1280×720. Resolves once connected. */
export async function goLive(page: Page, room: Room, changes: Partial<PublishAsk> = {}): Promise<void> {
  const ask: PublishAsk = { ...hd, url: room.whip, codec: 'vp8', layers: three, ...changes };
  await page.evaluate((what) => window.lab.publish(what), ask);
}

/** Makes a test page a viewer; resolves with the milliseconds from the POST to the first frame. */
export async function view(page: Page, room: Room, changes: Partial<WatchAsk> = {}): Promise<number> {
  const ask: WatchAsk = { url: room.page, ...changes };
  return page.evaluate((what) => window.lab.watch(what), ask);
}
