import { startBehind } from './harness/bad-network.ts';
import { expect, figure, roomOf, test } from './harness/fixtures.ts';
import { hear, heardWords } from './harness/hearing.ts';
import { goLive } from './harness/roles.ts';
import { untilActive } from './harness/room-state.ts';

const seconds = 20;

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
    const [repeated, plain] = await Promise.all([hear(withRed, seconds), hear(without, seconds)]);

    figure('with RED', heardWords(repeated));
    figure('without', heardWords(plain));
    expect(repeated.heard.answer).toMatch(/^a=rtpmap:63 red\/48000\/2\r$/m);
    expect(repeated.heard.answer).toMatch(/^a=fmtp:63 111\/111\r$/m);
    expect(plain.heard.answer).not.toContain('red/48000');
    // Each packet has the one before in it, for those alone who can read that.
    expect(repeated.bytesPerPacket).toBeGreaterThan(1.5 * plain.bytesPerPacket);
    expect(Math.min(repeated.lost, plain.lost)).toBeGreaterThan(0.05);
    // Two in a row are lost of a hundred packets.
    expect(repeated.concealed).toBeLessThan(0.05);
    expect(plain.concealed, 'what the bound would be without RED').toBeGreaterThan(0.05);
  } finally {
    await network.stop();
    await server.stop();
  }
});

test('in-band FEC of Opus passes through, and makes good what was lost before the server', async ({
  open,
}) => {
  // An encoder adds it to a voice when it is told of losses, so they are on the publisher's way.
  const { server, network } = await startBehind('delay=10ms');
  try {
    const room = roomOf(server, 'far');
    const publisher = await open();
    await goLive(publisher, room, { audio: true });
    await untilActive(room.page, ['q', 'h', 'f']);
    await network.say('up loss=20%');
    const viewer = await open();
    await viewer.evaluate((url) => window.lab.listen(url, false), room.whep);
    await viewer.waitForTimeout(8000);
    const hearing = await hear(viewer, seconds);

    figure('20 % lost on the way up, no RED', heardWords(hearing));
    expect(hearing.heard.answer).toMatch(/^a=fmtp:111 .*useinbandfec=1/m);
    expect(hearing.lost).toBeGreaterThan(0.1);
    expect(hearing.repaired).toBeGreaterThan(100);
    // Without it, or with a sound in which the encoder puts none, four fifths of the lost were made up.
    expect(hearing.concealed).toBeLessThan(0.6 * hearing.lost);
  } finally {
    await network.stop();
    await server.stop();
  }
});
