import { afterEach, expect, test, vi } from 'vitest';
import { decodeQualities, decodeRoom, discover, isSending } from '../../sdk/discovery.ts';

const base = new URL('https://live.example/r/demo');

afterEach(() => vi.unstubAllGlobals());

test('a discovery document gives absolute endpoints and layers, highest first', () => {
  const room = decodeRoom(
    {
      whep: '/whep/demo',
      whip: '/whip/demo',
      live: true,
      viewers: 3,
      layers: [
        { rid: 'q', codec: 'VP8', width: 320, height: 180, bitrate: 150_000, active: true },
        { rid: 'f', codec: 'VP8', width: 1280, height: 720, bitrate: 1_500_000, active: true },
      ],
    },
    base,
  );

  expect(room?.whep.href).toBe('https://live.example/whep/demo');
  expect(room?.viewers).toBe(3);
  expect(room?.qualities.map(({ id, label }) => [id, label])).toEqual([
    ['f', '720p'],
    ['q', '180p'],
  ]);
});

test.each([[null], [[]], ['text'], [{}], [{ whep: 7 }]])('%j is no discovery document', (body) => {
  expect(decodeRoom(body, base)).toBeNull();
});

test('a page is no discovery document, and a document that is cut off is the network’s failure', async () => {
  const cut = new ReadableStream({ start: (body) => body.error(new TypeError('terminated')) });
  const bodies: BodyInit[] = ['<!doctype html>', cut];
  vi.stubGlobal('fetch', async () => new Response(bodies.shift()));

  await expect(discover(base)).rejects.toMatchObject({ code: 'protocol/bad-response' });
  await expect(discover(base)).rejects.toMatchObject({ code: 'net/unreachable' });
});

test('a layer without name or size is still a layer, and what is none is left out', () => {
  const [quality, ...others] = decodeQualities([{ codec: 'H264', active: false }, null, 'q', 5]);

  expect(quality).toEqual({ id: '', label: 'Layer', codec: 'H264', active: false });
  expect(others).toEqual([]);
});

test('a layer that rests until somebody wants it can be chosen', () => {
  const [resting, silent] = decodeQualities([
    { rid: 'f', height: 720, active: false, resting: true },
    { rid: 'q', height: 180, active: false },
  ]);

  expect([resting?.active, silent?.active]).toEqual([true, false]);
});

test('a room sends when it is live and not all its layers are silent', () => {
  const room = (live: boolean, ...active: boolean[]): boolean => {
    const layers = active.map((each, index) => ({ rid: String(index), active: each }));
    const info = decodeRoom({ whep: '/w', live, layers }, base);
    return info !== null && isSending(info);
  };

  expect(room(true)).toBe(true);
  expect(room(true, false, true)).toBe(true);
  expect(room(true, false, false)).toBe(false);
  expect(room(false, true)).toBe(false);
});
