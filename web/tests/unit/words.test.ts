import { expect, test } from 'vitest';
import { isRoomName, roomOf } from '../../pages/page-kit/dom.ts';
import { bitrate, duration, seconds, viewers } from '../../pages/page-kit/words.ts';
import { faceWords } from '../../pages/viewer/face.ts';
import { latencyLevel, latencyWords } from '../../pages/viewer/figures.ts';
import { menuOptions, pickOf } from '../../pages/viewer/quality-menu.ts';
import { LiveError } from '../../sdk/error.ts';

test('figures are written as people read them', () => {
  expect(bitrate(512_300)).toBe('512 kbit/s');
  expect(bitrate(1_540_000)).toBe('1.5 Mbit/s');
  expect(duration(59_999)).toBe('0:59');
  expect(duration(3_671_000)).toBe('1:01:11');
  expect(seconds(84)).toBe('0.08 s');
  expect(seconds(2840)).toBe('2.8 s');
  expect(viewers(1)).toBe('1 viewer');
  expect(viewers(1284)).toBe('1,284 viewers');
});

test('the room is read from the path, and only a name that the server takes', () => {
  expect(roomOf('/studio/demo', '/studio/')).toBe('demo');
  expect(roomOf('/r/my_room-1/', '/r/')).toBe('my_room-1');
  expect(roomOf('/r/a/b', '/r/')).toBeNull();
  expect(roomOf('/r/%20', '/r/')).toBeNull();
  expect(isRoomName('x'.repeat(64))).toBe(true);
  expect(isRoomName('x'.repeat(65))).toBe(false);
});

test('an estimate is marked as one', () => {
  expect(latencyWords({ ms: 184, method: 'capture-time', accuracyMs: 10 })).toBe('0.18 s behind');
  expect(latencyWords({ ms: 90, method: 'estimate', accuracyMs: 100 })).toBe('≈ 0.09 s behind');
  expect(latencyLevel({ ms: 1001, method: 'estimate', accuracyMs: 0 })).toBe('fair');
});

test('the menu names layers by height, tells twins by rate, and hides what is silent', () => {
  const layer = (id: string, height: number, rate: number, active = true) => ({
    id,
    label: `${height}p`,
    height,
    bitrate: rate,
    active,
  });

  expect(menuOptions([layer('f', 720, 1), layer('q', 180, 1)], 720).map(({ text }) => text)).toEqual([
    'Auto · 720p',
    '720p',
    '180p',
    'Sound only',
    'Paused',
  ]);
  expect(
    menuOptions([layer('0', 720, 2_000_000), layer('1', 720, 900_000)], 0).map(({ text }) => text),
  ).toEqual(['Auto', '720p · 2.0 Mbit/s', '720p · 900 kbit/s', 'Sound only', 'Paused']);
  expect(menuOptions([layer('f', 720, 1), layer('q', 180, 1, false)], 0).map(({ text }) => text)).toEqual([
    'Auto',
    'Sound only',
    'Paused',
  ]);
});

test('a line of the menu asks for what it says, whatever the layers are called', () => {
  const layer = (id: string, height: number) => ({
    id,
    label: `${height}p`,
    height,
    bitrate: 1,
    active: true,
  });
  const lines = menuOptions([layer('paused', 720), layer('', 180)], 0);

  expect(lines.map(({ value }) => pickOf(value))).toEqual([
    'auto',
    { id: 'paused' },
    { id: '' },
    'audio-only',
    'paused',
  ]);
});

test('who asked for no picture is told so where it would be', () => {
  expect(faceWords('live', null, true, 'audio-only')[0]).toBe('Sound only');
  expect(faceWords('live', null, true, 'paused')[0]).toBe('Paused');
  expect(faceWords('live', null, true, { id: 'h' })[0]).toBe('');
  expect(faceWords('waiting', null, true, 'paused')[0]).toBe('The host is away');
});

test('who gets no picture is told why where it would be, unless no picture was asked for', () => {
  const why = {
    reason: 'audio-only',
    text: 'Your connection carries sound only.',
    hint: 'It comes back.',
  } as const;

  expect(faceWords('live', null, true, 'auto', why)).toEqual([why.text, why.hint]);
  expect(faceWords('live', null, true, 'audio-only', why)[1]).toContain('You asked');
  expect(faceWords('reconnecting', null, true, 'auto', why)[0]).toBe('Reconnecting');
});

test('every state without a picture has words, and a failure says what to do', () => {
  expect(faceWords('live', null, true, 'auto')).toEqual(['', '']);
  expect(faceWords('waiting', null, false, 'auto')[0]).toBe('Nobody is live yet');
  expect(faceWords('waiting', null, true, 'auto')[0]).toBe('The host is away');
  const [words, hint] = faceWords(
    'failed',
    new LiveError('net/ice-failed', 'no media path works'),
    false,
    'auto',
  );
  expect(words).toBe('No media path works.');
  expect(hint).toContain('UDP port');
});
