import type { Page } from '@playwright/test';
import { expect, type OpenPage, roomOf, test } from './harness/fixtures.ts';
import { untilActive } from './harness/room-state.ts';
import { startServer } from './harness/server.ts';

test('a second studio is refused while the first is live, and takes over by itself', async ({
  open,
  room,
}) => {
  const first = await open({ url: room.studio });
  const second = await open({ url: room.studio });
  for (const page of [first, second]) {
    await page.getByRole('button', { name: 'Camera' }).click();
    await expect(page.getByRole('button', { name: 'Go live' })).toBeEnabled();
  }
  await first.getByRole('button', { name: 'Go live' }).click();
  await expect(first.locator('#state')).toContainText('Live');
  await untilActive(room.page, ['q', 'h', 'f']);

  await second.getByRole('button', { name: 'Go live' }).click();
  await expect(second.locator('#state')).toHaveText('Waiting');
  await expect(second.locator('#notice-hint')).toContainText('Somebody else is live');
  await second.waitForTimeout(3000);
  await expect(second.locator('#state'), 'it goes on waiting while the first is live').toHaveText('Waiting');

  await first.getByRole('button', { name: 'Stop' }).click();
  await expect(first.locator('#state')).toHaveText('Offline');
  await expect(second.locator('#state')).toContainText('Live', { timeout: 5000 });
  await expect(second.locator('#notice')).toBeHidden();
});

test('leaving the studio frees the room at once', async ({ open, room }) => {
  const first = await open({ url: room.studio });
  await first.getByRole('button', { name: 'Camera' }).click();
  await first.getByRole('button', { name: 'Go live' }).click();
  await expect(first.locator('#state')).toContainText('Live');

  first.on('dialog', (dialog) => void dialog.accept());
  await first.goto('about:blank');

  const second = await open({ url: room.studio });
  await second.getByRole('button', { name: 'Camera' }).click();
  await second.getByRole('button', { name: 'Go live' }).click();
  await expect(second.locator('#state')).toContainText('Live', { timeout: 1500 });
});

test('a refused camera is explained, with what to do', async ({ open, room }) => {
  const page = await open({ url: room.studio, without: ['--use-fake-ui-for-media-stream'] });

  await page.getByRole('button', { name: 'Camera' }).click();

  await expect(page.locator('#notice-text')).toContainText('was not allowed');
  await expect(page.locator('#notice-hint')).toContainText("browser's address bar");
  await expect(page.getByRole('button', { name: 'Go live' })).toBeDisabled();
});

test('an address that is not secure is explained, with what to do', async ({ open, room }) => {
  const { port } = new URL(room.studio);
  const page = await open({
    url: `http://studio.example:${port}/studio/${room.name}`,
    extra: ['--host-resolver-rules=MAP studio.example 127.0.0.1'],
  });

  await expect(page.locator('#notice-hint')).toContainText('http://localhost');
  await expect(page.getByRole('button', { name: 'Camera' })).toBeDisabled();
});

test('a screen is sent as well as a camera', async ({ open, room }) => {
  const page = await open({ url: room.studio });
  await page.getByRole('button', { name: 'Camera' }).click();
  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#state')).toContainText('Live');

  await page.getByRole('button', { name: 'Screen' }).click();

  await expect(page.getByRole('button', { name: 'Screen' })).toHaveAttribute('aria-pressed', 'true');
  await expect(page.locator('#state')).toContainText('Live');
  await untilActive(room.page, ['q', 'h', 'f']);
});

test('another microphone leaves a shared screen on air, and the camera off', async ({ open, room }) => {
  const page = await openRecorded(open, room.studio);
  await page.getByRole('button', { name: 'Screen' }).click();
  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#state')).toContainText('Live');
  const picture = await sent(page, 'video');
  const voice = await sent(page, 'audio');

  await page.locator('#microphone').selectOption({ label: 'Fake Audio Input 1' });

  await expect.poll(() => sent(page, 'audio')).not.toBe(voice);
  await expect(page.locator('#microphone option:checked')).toHaveText('Fake Audio Input 1');
  await expect(page.getByRole('button', { name: 'Screen' })).toHaveAttribute('aria-pressed', 'true');
  expect(await sent(page, 'video'), 'the picture is the same').toBe(picture);
});

test('a host who only shared a screen is not seen when sharing ends, and is told what to do', async ({
  open,
  room,
}) => {
  const page = await openRecorded(open, room.studio);
  await page.getByRole('button', { name: 'Screen' }).click();
  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#state')).toContainText('Live');

  await endTrack(page, 'video');

  await expect(page.locator('#notice-text')).toContainText('Sharing has ended');
  await expect(page.locator('#notice-hint')).toContainText('Screen');
  for (const name of ['Camera', 'Screen'])
    await expect(page.getByRole('button', { name })).toHaveAttribute('aria-pressed', 'false');
  await expect(page.locator('#preview-empty')).toContainText('What you choose now is seen at once');
  await expect(page.locator('#level')).toBeHidden();
  await expect.poll(() => sent(page, 'video')).toBeNull();
  await expect.poll(() => sent(page, 'audio')).toBeNull();
  await picture(page, 'sharing-ended');

  await page.getByRole('button', { name: 'Camera' }).click();
  await expect(page.locator('#notice')).toBeHidden();
  await expect(page.getByRole('button', { name: 'Camera' })).toHaveAttribute('aria-pressed', 'true');
});

test('Stop pressed twice ends the show at once, however long the server takes', async ({ open, room }) => {
  const page = await openRecorded(open, room.studio);
  await page.getByRole('button', { name: 'Camera' }).click();
  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#state')).toContainText('Live');
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.method()));
  let answer = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    answer = resolve;
  });
  await page.route('**', async (route) => {
    if (route.request().method() === 'DELETE') await held;
    await route.continue();
  });

  await page.getByRole('button', { name: 'Stop' }).dblclick({ delay: 50 });

  await expect(page.locator('#state')).toHaveText('Offline', { timeout: 1000 });
  await expect(page.getByRole('button', { name: 'Go live' })).toBeEnabled({ timeout: 2000 });
  answer();
  await page.waitForTimeout(1500);
  await expect(page.locator('#state')).toHaveText('Offline');
  expect(
    requests.filter((method) => method === 'POST'),
    'no second session',
  ).toEqual([]);

  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#state'), 'a later press goes live again').toContainText('Live');
});

test('a camera that is unplugged is replaced, or missed until one is plugged in', async ({ open, room }) => {
  const page = await openRecorded(open, room.studio);
  const button = page.getByRole('button', { name: 'Camera' });
  await button.click();
  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#state')).toContainText('Live');
  const first = await sent(page, 'video');

  await endTrack(page, 'video');
  await expect(page.locator('#notice-text')).toContainText(
    'The camera had stopped, and “fake_device_0” is in use',
  );
  await expect(button).toHaveAttribute('aria-pressed', 'true');
  await expect.poll(() => sent(page, 'video')).not.toBeNull();
  expect(await sent(page, 'video')).not.toBe(first);

  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () =>
      Promise.reject(new DOMException('no camera', 'NotFoundError'));
  });
  await endTrack(page, 'video');
  await expect(page.locator('#notice-text')).toHaveText('The camera has stopped.');
  await expect(page.locator('#notice-hint')).toContainText('Plug it in again');
  await expect(button).toHaveAttribute('aria-pressed', 'false');
  await expect(page.getByRole('button', { name: 'Mute' }), 'the voice goes on').toBeEnabled();
  await expect.poll(() => sent(page, 'video')).toBeNull();

  await page.evaluate(() => {
    Reflect.deleteProperty(navigator.mediaDevices, 'getUserMedia');
    navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
  });
  await expect(button).toHaveAttribute('aria-pressed', 'true');
  await expect.poll(() => sent(page, 'video')).not.toBeNull();
});

test('no old figures stay on either page when the server is gone', async ({ open }) => {
  const server = await startServer();
  const room = roomOf(server, 'demo');
  const studio = await open({ url: room.studio });
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  const viewer = await open({ url: room.page });
  await viewer.locator('#details summary').click();
  await expect(viewer.locator('#latency')).toContainText('behind', { timeout: 20_000 });
  await expect(viewer.locator('#figures')).toContainText('Jitter buffer');
  await expect(studio.locator('#layers')).toContainText('kbit/s');
  await expect(studio.locator('#network')).toContainText('loss');
  await expect(studio.locator('#arrivals')).toBeVisible();

  await server.stop();

  await expect(studio.locator('#state')).toHaveText('Reconnecting', { timeout: 20_000 });
  await expect(studio.locator('#layers')).toHaveText('Nothing yet', { timeout: 1000 });
  await expect(studio.locator('#network')).toHaveText('', { timeout: 1000 });
  await expect(studio.locator('#arrivals')).toBeHidden({ timeout: 1000 });
  await expect(viewer.locator('#state')).toHaveText('Reconnecting', { timeout: 20_000 });
  await expect(viewer.locator('#latency')).toHaveText('No picture yet', { timeout: 1000 });
  await expect(viewer.locator('#details')).not.toHaveAttribute('data-level');
  await expect(viewer.locator('#figures dt')).toHaveCount(0);
});

test('what arrives is not shown while the server does not say it', async ({ open, room }) => {
  const page = await open({ url: 'about:blank' });
  // A browser without data channels asks by HTTP, which the test can answer.
  await page.addInitScript(() => {
    const original = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (label, options) {
      const channel = original.call(this, label, options);
      channel.close();
      return channel;
    };
  });
  await page.goto(room.studio);
  await page.getByRole('button', { name: 'Camera' }).click();
  await page.getByRole('button', { name: 'Go live' }).click();
  await expect(page.locator('#arrivals')).toBeVisible({ timeout: 10_000 });

  await page.route('**/explain', (route) => route.fulfill({ status: 500 }));

  await expect(page.locator('#arrivals')).toBeHidden({ timeout: 10_000 });
  await page.unroute('**/explain');
  await expect(page.locator('#arrivals'), 'it is asked again').toBeVisible({ timeout: 10_000 });
});

/** Keeps a picture for whoever looks at the page, on a desk and on a phone. */
async function picture(page: Page, name: string): Promise<void> {
  await page.mouse.move(2, 2);
  await page.screenshot({ path: test.info().outputPath(`${name}.png`) });
  await page.setViewportSize({ width: 360, height: 740 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow, 'nothing is wider than a small phone').toBeLessThanOrEqual(0);
  await page.screenshot({ path: test.info().outputPath(`${name}-narrow.png`), fullPage: true });
  await page.setViewportSize({ width: 1280, height: 800 });
}

/** Opens the studio so that its newest connection can be looked into. */
async function openRecorded(open: OpenPage, url: string): Promise<Page> {
  const page = await open({ url: 'about:blank' });
  await page.addInitScript(() => {
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(configuration?: RTCConfiguration) {
        super(configuration);
        Object.assign(window, { connection: this });
      }
    };
  });
  await page.goto(url);
  return page;
}

/** The id of the track of this kind that is really sent; null for none. */
async function sent(page: Page, kind: 'audio' | 'video'): Promise<string | null> {
  return page.evaluate((wanted) => {
    const { connection } = window as unknown as { connection: RTCPeerConnection };
    const tracks = connection.getSenders().map(({ track }) => track);
    return tracks.find((track) => track?.kind === wanted)?.id ?? null;
  }, kind);
}

/** Ends a track as a browser does when its device is unplugged or its share is stopped. */
async function endTrack(page: Page, kind: 'audio' | 'video'): Promise<void> {
  await page.evaluate((wanted) => {
    const { srcObject } = document.querySelector('#preview') as HTMLVideoElement;
    const tracks = srcObject instanceof MediaStream ? srcObject.getTracks() : [];
    const track = tracks.find(({ kind: its }) => its === wanted);
    track?.stop();
    track?.dispatchEvent(new Event('ended'));
  }, kind);
}
