import type { Page } from '@playwright/test';
import { expect, figure, type OpenPage, type Room, test } from './harness/fixtures.ts';
import { goLive, view } from './harness/roles.ts';
import { roomInfo, untilActive, untilPlaying } from './harness/room-state.ts';

/** The explanation as it stands in a list of a page, by its terms. */
async function list(page: Page): Promise<Record<string, string>> {
  return page.locator('#server-figures').evaluate((element) => {
    const terms = [...element.querySelectorAll('dt')].map((term) => term.textContent ?? '');
    const values = [...element.querySelectorAll('dd')].map((value) => value.textContent ?? '');
    return Object.fromEntries(terms.map((term, index) => [term, values[index] ?? '']));
  });
}

/** Waits until the viewer page says that it has the best, and that is the highest layer that the server receives. */
async function untilBest(viewer: Page, room: Room): Promise<void> {
  const said = async (): Promise<string> => {
    const reason = await viewer.locator('#why').getAttribute('data-reason');
    const layer = (await list(viewer))['Layer']?.split(' ')[0];
    return `${reason} ${layer} ${await shownHeight(viewer)}`;
  };
  const sent = async (): Promise<string> => {
    // An encoder on a busy machine rests its highest layer now and then.
    const height = (await roomInfo(room.page)).qualities.find(({ active }) => active)?.height;
    return `best ${height}p ${height}`;
  };
  await expect
    .poll(async () => [await said(), await sent()].join(' | '), { timeout: 60_000 })
    .toMatch(/^(best \d+p \d+) \| \1$/);
}

async function shownHeight(viewer: Page): Promise<number> {
  return viewer
    .locator('#video')
    .evaluate((element) => (element instanceof HTMLVideoElement ? element.videoHeight : 0));
}

/** Keeps a picture for whoever looks at the pages. */
async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: test.info().outputPath(`${name}.png`) });
}

test('studio and viewer page say why the picture is as it is, and the figures are true', async ({
  open,
  room,
  server,
}) => {
  const studio = await openRecorded(open, room.studio);
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  await expect(studio.locator('#state')).toContainText('Live');
  const layers = await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await openRecorded(open, room.page);
  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
  await expect(viewer.locator('#quality option')).toHaveCount(6, { timeout: 10_000 });
  await viewer.locator('#details summary').click();

  // What is seen is what is said.
  const why = viewer.locator('#why');
  await untilBest(viewer, room);
  await expect(why).toContainText('the best picture');
  await expect.poll(async () => (await list(viewer))['Round trip'], { timeout: 10_000 }).toMatch(/^\d+ ms$/);
  const said = await list(viewer);
  figure('viewer', JSON.stringify(said));
  expect(Number.parseInt(said['Round trip'] ?? '', 10), 'on one machine').toBeLessThan(50);
  expect(said['Path']).toBe(`UDP ${await localAddress(viewer)} → ${server.udp}`);
  expect(said['Keyframe']).toMatch(/^sent \d+(\.\d)? s ago/);
  await expect(viewer.locator('.join__legend li')).toHaveCount(5);
  await expect(viewer.locator('.join__title')).toHaveText(/^First picture after \d+ ms$/);
  await picture(viewer, 'viewer-best');

  // Another wish makes another reason, without waiting for the next turn.
  await viewer.locator('#quality').selectOption({ label: `${layers.at(-1)?.height}p` });
  await expect(why).toHaveAttribute('data-reason', 'wish', { timeout: 10_000 });
  await expect(why).toContainText('Choose automatic');
  await expect(viewer.locator('#server-figures')).toContainText(`${layers.at(-1)?.height}p`);
  await viewer.locator('#quality').selectOption({ value: 'auto' });
  await untilBest(viewer, room);

  // The host sees what arrives.
  const arriving = studio.locator('#arriving');
  await expect(studio.locator('#why')).toHaveAttribute('data-reason', 'arrives', { timeout: 60_000 });
  for (const { id, height } of layers) {
    const row = arriving.locator(`tr[data-rid="${id}"][data-reason="arrives"]`);
    await expect(row).toHaveText(new RegExp(`^${height}p.*bit/s.*%.*ago$`), { timeout: 30_000 });
  }
  await studio.locator('.arrivals__more summary').click();
  const arrived = await list(studio);
  figure('studio', JSON.stringify(arrived));
  expect(arrived['Path']).toBe(`UDP ${await localAddress(studio)} → ${server.udp}`);
  await picture(studio, 'studio');

  // The host leaves: the viewer is told so.
  await studio.getByRole('button', { name: 'Stop' }).click();
  await expect(why).toHaveAttribute('data-reason', 'no-publisher', { timeout: 10_000 });
  await expect(studio.locator('#arrivals')).toBeHidden();
});

test('on a phone the explanation is a sheet below the picture', async ({ open, room }) => {
  const publisher = await open();
  await goLive(publisher, room);
  await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await open({ url: 'about:blank' });
  await viewer.setViewportSize({ width: 390, height: 844 });
  await viewer.goto(room.page);
  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });

  await viewer.locator('#details summary').click();
  await expect(viewer.locator('#why')).toHaveAttribute('data-reason', 'best', { timeout: 30_000 });

  const panel = await viewer.locator('.panel').boundingBox();
  const video = await viewer.locator('#video').boundingBox();
  expect(panel?.x).toBe(0);
  expect(panel?.width).toBe(390);
  expect(panel?.y ?? 0, 'the picture stays to be seen').toBeGreaterThanOrEqual(
    (video?.y ?? 0) + (video?.height ?? 0),
  );
  const overflow = await viewer.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow, 'nothing is wider than the phone').toBeLessThanOrEqual(0);
  await picture(viewer, 'viewer-phone');
  await viewer.getByRole('button', { name: 'Close' }).click();
  await expect(viewer.locator('.panel')).toBeHidden();
});

test('by data channel and by HTTP a session is told the same', async ({ open, room }) => {
  const publisher = await open();
  await goLive(publisher, room);
  await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await open();
  await view(viewer, room);
  await untilPlaying(viewer);

  const height = (): Promise<number | null | undefined> =>
    viewer.evaluate(async () => (await window.lab.explain()).current?.height);
  await expect.poll(height, { timeout: 30_000, message: 'the layer that is forwarded' }).toBe(720);
  const before = await viewer.evaluate(() => window.lab.exchanges.length);
  const byDataChannel = await viewer.evaluate(() => window.lab.explain());
  const requests = await viewer.evaluate((count) => window.lab.exchanges.slice(count), before);
  const byHttp = await viewer.evaluate(() => window.lab.explainByHttp());

  expect(
    requests.filter(({ url }) => url.endsWith('/explain')),
    'the data channel needs no request',
  ).toEqual([]);
  expect(byDataChannel).toMatchObject({
    role: 'viewer',
    connected: true,
    current: { height: expect.any(Number) },
  });
  const { session, room: name, join, pair } = byDataChannel;
  expect(byHttp).toMatchObject({ role: 'viewer', session, room: name, join, pair });
});

test('layers that nobody watches are rested by the studio, and woken for the viewer who asks for one', async ({
  open,
  room,
}) => {
  const studio = await openRecorded(open, room.studio);
  await studio.getByRole('button', { name: 'Camera' }).click();
  await studio.getByRole('button', { name: 'Go live' }).click();
  const layers = await untilActive(room.page, ['q', 'h', 'f']);
  const viewer = await open({ url: room.page });
  await expect(viewer.locator('#state')).toHaveText('Live', { timeout: 15_000 });
  await expect(viewer.locator('#quality option')).toHaveCount(6, { timeout: 10_000 });

  await viewer.locator('#quality').selectOption({ label: `${layers.at(-1)?.height}p` });
  await expect.poll(() => sending(studio), { timeout: 40_000 }).toEqual(['q']);
  for (const rid of ['h', 'f']) {
    const row = studio.locator(`#arriving tr[data-rid="${rid}"]`);
    await expect(row).toHaveAttribute('data-reason', 'not-wanted', { timeout: 10_000 });
  }
  await expect(studio.locator('#why'), 'which is no trouble').toHaveAttribute('data-reason', 'arrives');
  await expect(studio.locator('#arriving')).toContainText('Nobody watches this quality');
  await expect(viewer.locator('#quality option'), 'they can still be chosen').toHaveCount(6);
  await picture(studio, 'studio-resting');

  const began = Date.now();
  await viewer.locator('#quality').selectOption({ label: `${layers[0]?.height}p` });
  await expect.poll(() => sending(studio), { timeout: 10_000 }).toContain('f');
  await expect.poll(() => shownHeight(viewer), { timeout: 20_000 }).toBe(layers[0]?.height);
  figure('a rested layer', `shown ${Date.now() - began} ms after it was asked for`);
});

/** The rids that a studio's browser encodes, by the parameters of its sender. */
async function sending(studio: Page): Promise<string[]> {
  return studio.evaluate(() => {
    const { connections } = window as unknown as { connections: RTCPeerConnection[] };
    const encodings = connections
      .at(-1)
      ?.getSenders()
      .flatMap((sender) => sender.getParameters().encodings);
    return (encodings ?? []).filter(({ rid, active }) => rid && active).map(({ rid }) => rid ?? '');
  });
}

/** Opens a page of ours that keeps its connections at hand. */
async function openRecorded(open: OpenPage, url: string): Promise<Page> {
  const page = await open({ url: 'about:blank' });
  await page.addInitScript(() => {
    const connections: RTCPeerConnection[] = [];
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(configuration?: RTCConfiguration) {
        super(configuration);
        connections.push(this);
      }
    };
    Object.assign(window, { connections });
  });
  await page.goto(url);
  return page;
}

/** The address from which a page's newest connection really sends, as the browser says. */
async function localAddress(page: Page): Promise<string> {
  return page.evaluate(async () => {
    const { connections } = window as unknown as { connections: RTCPeerConnection[] };
    const entries: Record<string, unknown>[] = [];
    (await connections.at(-1)?.getStats())?.forEach((entry) => {
      entries.push(entry);
    });
    const find = (field: string, value: unknown): Record<string, unknown> =>
      entries.find((entry) => entry[field] === value) ?? {};
    const pair = find('id', find('type', 'transport')['selectedCandidatePairId']);
    const candidate = find('id', pair['localCandidateId']);
    return `${candidate['address']}:${candidate['port']}`;
  });
}
