import { fileURLToPath } from 'node:url';
import type { Locator, Page } from '@playwright/test';
import { cameraFile } from './harness/camera.ts';
import { expect, figure, roomOf, test } from './harness/fixtures.ts';
import { untilActive } from './harness/room-state.ts';

/** Keeps a picture for the README when it is asked for, and always for whoever looks at a failure. */
async function picture(page: Page, name: string): Promise<void> {
  const kept = process.env['UPDATE_IMAGES'] === '1';
  const path = kept
    ? fileURLToPath(new URL(`../../../docs/images/${name}.png`, import.meta.url))
    : test.info().outputPath(`${name}.png`);
  // A button under the pointer looks pressed.
  await page.mouse.move(2, 2);
  await page.screenshot({ path });
}

/** How many rows these elements of one height stand in. */
function rows(elements: Locator): Promise<number> {
  return elements.evaluateAll(
    (all) => new Set(all.map((element) => Math.round(element.getBoundingClientRect().top))).size,
  );
}

test('a host goes live in the studio, and a viewer who came early sees it by itself', async ({
  open,
  server,
}) => {
  const room = roomOf(server, 'demo');
  const camera = await cameraFile();
  const refusals: string[] = [];
  const watchPolicy = (page: Page): void => {
    page.on('console', (message) => {
      if (/Content Security Policy/.test(message.text())) refusals.push(message.text());
    });
  };
  const viewer = await open({ url: room.page });
  watchPolicy(viewer);
  await viewer.reload();
  await expect(viewer.locator('#words')).toHaveText('Nobody is live yet');
  await expect(viewer.locator('#state')).toHaveText('Waiting');

  const studio = await open({ url: room.studio, extra: [camera.flag] });
  watchPolicy(studio);
  await studio.reload();
  await expect(studio.getByRole('button', { name: 'Go live' })).toBeDisabled();
  await studio.getByRole('button', { name: 'Camera' }).click();
  await expect(studio.locator('#camera option')).not.toHaveCount(0);
  await studio.getByRole('button', { name: 'Go live' }).click();
  await expect(studio.locator('#state')).toContainText('Live');

  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
  await expect(viewer.locator('#face')).toBeHidden();
  await untilActive(room.page, ['q', 'h', 'f']);
  await expect(studio.locator('#layers tr')).toHaveCount(3);
  await expect(studio.locator('#layers')).toContainText('kbit/s');
  await expect(studio.locator('#viewers')).toHaveText('1 viewer');
  await expect(viewer.locator('#latency')).toHaveText(/^(≈ )?\d+\.\d+ s behind$/);
  await expect(viewer.locator('#quality option')).toHaveCount(6, { timeout: 10_000 });
  await viewer.waitForTimeout(4000);
  await picture(studio, 'studio');
  await viewer.locator('#details summary').click();
  await expect(viewer.locator('#figures')).toContainText('Jitter buffer');
  await expect(viewer.locator('#figures')).toContainText('capture time');
  figure('viewer page', ((await viewer.locator('#figures').textContent()) ?? '').replace(/\s+/g, ' '));
  await picture(viewer, 'viewer');
  await camera.remove();
  expect(refusals, 'the pages keep to their content security policy').toEqual([]);
});

test('the viewer chooses a quality by its height', async ({ open, room }) => {
  const studio = await open({ url: room.studio });
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  const qualities = await untilActive(room.page, ['q', 'h', 'f']);
  const lowest = qualities.at(-1);
  const viewer = await open({ url: room.page });
  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
  await expect(viewer.locator('#quality option')).toHaveCount(6, { timeout: 10_000 });

  await viewer.locator('#quality').selectOption({ label: `${lowest?.height}p` });

  const height = (): Promise<number> =>
    viewer
      .locator('#video')
      .evaluate((element) => (element instanceof HTMLVideoElement ? element.videoHeight : 0));
  await expect.poll(height, { timeout: 5000 }).toBe(lowest?.height);
});

test('a viewer asks for sound only, then pauses, keeps the session through both, and plays on', async ({
  open,
  room,
}) => {
  const studio = await open({ url: room.studio });
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await open({ url: room.page });
  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
  const shown = (): Promise<number> =>
    viewer
      .locator('#video')
      .evaluate((element) =>
        element instanceof HTMLVideoElement ? element.getVideoPlaybackQuality().totalVideoFrames : 0,
      );
  const offers: string[] = [];
  viewer.on('request', (request) => {
    if (request.method() === 'POST') offers.push(request.url());
  });
  const quality = viewer.locator('#quality');
  const words = viewer.locator('#words');

  for (const [choice, said] of [
    ['audio-only', 'Sound only'],
    ['paused', 'Paused'],
  ] as const) {
    await quality.selectOption({ value: choice });
    await expect(words).toHaveText(said);
    await viewer.waitForTimeout(1000);
    const before = await shown();
    // Longer than a missing picture is borne with.
    await viewer.waitForTimeout(11_000);
    expect(await shown(), 'no picture is sent').toBe(before);
    await expect(viewer.locator('#state')).toHaveText('Live');
    await expect(viewer.locator('#spinner')).toBeHidden();
    await picture(viewer, `viewer-${choice}`);
    await viewer.setViewportSize({ width: 360, height: 740 });
    const overflow = await viewer.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(overflow, 'nothing is wider than a small phone').toBeLessThanOrEqual(0);
    expect(await rows(viewer.locator('.player__control')), 'the controls stand in one row').toBe(1);
    await picture(viewer, `viewer-${choice}-narrow`);
    await viewer.setViewportSize({ width: 1280, height: 800 });
  }
  const still = await shown();
  await viewer.getByRole('button', { name: 'Play' }).click();

  await expect(quality).toHaveValue('auto');
  await expect(viewer.locator('#face')).toBeHidden();
  await expect.poll(shown, { timeout: 15_000 }).toBeGreaterThan(still + 30);
  expect(offers, 'all of it in one session').toEqual([]);
});

test('the host stops and comes back, and the viewer is told and plays on', async ({ open, room }) => {
  const studio = await open({ url: room.studio });
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  const viewer = await open({ url: room.page });
  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });

  await studio.getByRole('button', { name: 'Stop' }).click();
  await expect(viewer.locator('#words')).toHaveText('The host is away', { timeout: 10_000 });
  await studio.getByRole('button', { name: 'Go live' }).click();

  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 10_000 });
  await expect(viewer.locator('#face')).toBeHidden();
});

test('the front page leads to the studio and to the viewer', async ({ open, server }) => {
  const page = await open({ url: `${server.url}/` });

  await page.getByLabel('Room').fill('lecture-7');
  await page.getByRole('button', { name: 'Watch' }).click();
  await expect(page).toHaveURL(`${server.url}/r/lecture-7`);
  await page.goto(`${server.url}/`);
  await page.getByLabel('Room').fill('lecture-7');
  await page.getByRole('button', { name: 'Open studio' }).click();
  await expect(page).toHaveURL(`${server.url}/studio/lecture-7`);
});

test('sound that the browser forbids is offered by a tap', async ({ open, room }) => {
  const studio = await open({ url: room.studio });
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  await expect(studio.locator('#state')).toContainText('Live');
  const viewer = await open({
    url: 'about:blank',
    without: ['--autoplay-policy=no-user-gesture-required'],
  });
  // Every look at a page by Playwright counts as a gesture of its user, so the page itself says when it is refused.
  await viewer.addInitScript(() => {
    document.addEventListener('volumechange', () => console.log('silenced'), true);
  });
  const silenced = viewer.waitForEvent('console', (message) => message.text() === 'silenced');
  await viewer.goto(room.page);
  await silenced;

  const muted = (): Promise<boolean> =>
    viewer.locator('#video').evaluate((element) => element instanceof HTMLVideoElement && element.muted);
  expect(await muted()).toBe(true);
  await viewer.getByRole('button', { name: 'Tap for sound' }).click();

  expect(await muted()).toBe(false);
  await expect(viewer.getByRole('button', { name: 'Tap for sound' })).toBeHidden();
});
