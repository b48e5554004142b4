import { expect, figure, test } from './harness/fixtures.ts';
import { hd, small, three, two } from './harness/plans.ts';
import { goLive, view } from './harness/roles.ts';
import { untilActive, untilPlaying, words } from './harness/room-state.ts';

const plans = [
  { codec: 'h264', picture: hd, layers: three },
  { codec: 'vp8', picture: hd, layers: three },
  { codec: 'vp9', picture: small, layers: two },
  { codec: 'av1', picture: small, layers: two },
] as const;

for (const { codec, picture, layers } of plans) {
  test(`${codec} with ${layers.length} layers is seen for ten seconds with its clock readable`, async ({
    open,
    room,
  }) => {
    const publisher = await open();
    await goLive(publisher, room, { ...picture, codec, layers });
    const seen = await untilActive(
      room.page,
      layers.map(({ rid }) => rid),
    );
    expect(seen.map((quality) => quality.codec?.toLowerCase())).toEqual(layers.map(() => codec));

    const viewer = await open();
    await view(viewer, room);
    await untilPlaying(viewer);
    const reading = await viewer.evaluate((width) => window.lab.take(10, width), picture.width);

    figure(codec, words(reading));
    expect(reading.frames).toBeGreaterThan(100);
    expect(reading.bad / reading.read).toBeLessThanOrEqual(0.05);
  });
}
