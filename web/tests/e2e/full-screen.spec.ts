import type { Page } from '@playwright/test';
import { expect, type OpenPage, type Room, test } from './harness/fixtures.ts';
import { goLive } from './harness/roles.ts';

test('the player fills the screen with its controls', async ({ open, room }) => {
  const viewer = await open({ url: room.page });

  await viewer.getByRole('button', { name: 'Full screen' }).click();

  await expect(viewer.getByRole('button', { name: 'Leave full screen' })).toBeVisible();
  expect(await viewer.evaluate(() => document.fullscreenElement?.id)).toBe('player');
});

test('an iPhone fills its screen with the video alone', async ({ open, room }) => {
  await goLive(await open(), room);
  const viewer = await openPhone(open, room, true);
  await expect(viewer.locator('#face')).toBeHidden({ timeout: 20_000 });

  await viewer.getByRole('button', { name: 'Full screen' }).click();

  expect(await viewer.evaluate(() => document.documentElement.dataset['entered'])).toBe('video');
});

test('a browser that fills no screen has no button for it', async ({ open, room }) => {
  const viewer = await openPhone(open, room, false);

  await expect(viewer.getByRole('button', { name: 'Mute' })).toBeVisible();
  await expect(viewer.locator('#fullscreen')).toBeHidden();
});

/** Opens the viewer page in a browser that makes no element fill the screen, but perhaps a video. */
async function openPhone(open: OpenPage, room: Room, fillsWithVideo: boolean): Promise<Page> {
  const page = await open({ url: 'about:blank' });
  await page.addInitScript((hasMethod) => {
    Reflect.deleteProperty(Element.prototype, 'requestFullscreen');
    Reflect.deleteProperty(HTMLVideoElement.prototype, 'webkitEnterFullscreen');
    if (!hasMethod) return;
    Object.assign(HTMLVideoElement.prototype, {
      webkitEnterFullscreen(this: HTMLVideoElement) {
        document.documentElement.dataset['entered'] = this.id;
      },
    });
  }, fillsWithVideo);
  await page.goto(room.page);
  return page;
}
