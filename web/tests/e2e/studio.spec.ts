import { expect, test } from './harness/fixtures.ts';
import { untilActive } from './harness/room-state.ts';

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
