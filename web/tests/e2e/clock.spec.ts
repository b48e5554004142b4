import { expect, figure, test } from './harness/fixtures.ts';

test('the burnt-in clock is read from a picture that went through an encoder, without a server', async ({
  open,
}) => {
  const page = await open();
  const picture = { width: 1280, height: 720, fps: 30, audio: false };

  await page.evaluate((ask) => window.lab.loop(ask), picture);
  await page.waitForTimeout(2000);
  const reading = await page.evaluate(() => window.lab.take(5, 1280));

  figure(
    'glass-to-glass floor, no server',
    `p50 ${reading.age.p50} ms, p95 ${reading.age.p95} ms, n ${reading.age.n}`,
  );
  expect(reading.frames).toBeGreaterThan(60);
  expect(reading.bad / reading.read).toBeLessThan(0.02);
  expect(reading.age.p50).toBeGreaterThan(5);
  expect(reading.age.p50).toBeLessThan(400);
});

test('the reader refuses a picture without the clock', async ({ open }) => {
  const page = await open();

  const reading = await page.evaluate(async () => {
    const canvas = document.createElement('canvas');
    canvas.width = 1280;
    canvas.height = 720;
    const context = canvas.getContext('2d');
    const video = document.querySelector('video');
    if (!context || !video) throw new Error('the page is not as expected');
    let frame = 0;
    setInterval(() => {
      context.fillStyle = frame % 2 === 0 ? '#888' : '#444';
      context.fillRect(0, 0, 1280, 720);
      frame += 1;
    }, 33);
    video.srcObject = canvas.captureStream(30);
    await video.play();
    return window.lab.take(2, 1280);
  });

  expect(reading.read).toBeGreaterThan(10);
  expect(reading.bad).toBe(reading.read);
});
