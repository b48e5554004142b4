import { expect, figure, roomOf, test } from './harness/fixtures.ts';
import { startServer } from './harness/server.ts';

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`the server ends by ${signal} and comes back, and both pages go on by themselves`, async ({
    open,
  }) => {
    const first = await startServer();
    const room = roomOf(first, 'demo');
    const studio = await open({ url: room.studio });
    await studio.getByRole('button', { name: 'Camera' }).click();
    await studio.getByRole('button', { name: 'Go live' }).click();
    await expect(studio.locator('#state')).toContainText('Live');
    const viewer = await open({ url: room.page });
    await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });

    await first.stop(signal);
    await expect(viewer.locator('#state')).not.toHaveText('Live', { timeout: 15_000 });
    const second = await startServer({ http: new URL(first.url).host });
    const back = Date.now();
    // A browser notices a server that vanished after some seconds, and then tries at growing intervals.
    await expect(studio.locator('#state')).toContainText('Live', { timeout: 30_000 });
    await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 30_000 });

    figure(`after ${signal}`, `both pages are live ${Date.now() - back} ms after the server is back`);
    await expect(viewer.locator('#face')).toBeHidden();
    await studio.close();
    await viewer.close();
    await second.stop();
  });
}
