import { expect, test } from 'vitest';
import { StallWatch } from '../../sdk/stall.ts';

test('a picture flows while frames grow, is slow for a moment, then frozen, and flows again', () => {
  const watch = new StallWatch();
  const look = (framesDecoded: number, nowMs: number) =>
    watch.look({ framesDecoded, audioPackets: 0 }, nowMs);

  expect(look(0, 0)).toBe('starting');
  expect(look(5, 500)).toBe('flowing');
  expect(look(5, 1000)).toBe('slow');
  expect(look(5, 2499)).toBe('slow');
  expect(look(5, 2500)).toBe('frozen');
  expect(look(6, 3000)).toBe('flowing');
});

test('a room without video flows when it is heard', () => {
  const watch = new StallWatch();

  expect(watch.look({ framesDecoded: 0, audioPackets: 50 }, 0)).toBe('flowing');
  expect(watch.look({ framesDecoded: 0, audioPackets: 50 }, 2000)).toBe('frozen');
});

test('a frozen picture is not excused by sound', () => {
  const watch = new StallWatch();
  watch.look({ framesDecoded: 9, audioPackets: 1 }, 0);

  expect(watch.look({ framesDecoded: 9, audioPackets: 100 }, 2000)).toBe('frozen');
});

test('where no picture may come, sound that is heard is enough, but not a room that has none', () => {
  const watch = new StallWatch(true);
  const look = (audioPackets: number, nowMs: number) =>
    watch.look({ framesDecoded: 9, audioPackets }, nowMs, 'either');
  look(0, 0);

  expect(look(0, 2000)).toBe('frozen');
  expect(look(25, 2500)).toBe('flowing');
  expect(look(25, 4500)).toBe('frozen');
});

test('who asked for sound alone misses no picture, but the sound', () => {
  const watch = new StallWatch();
  const look = (framesDecoded: number, audioPackets: number, nowMs: number) =>
    watch.look({ framesDecoded, audioPackets }, nowMs, 'sound');

  expect(look(9, 50, 0)).toBe('flowing');
  expect(look(9, 500, 9000)).toBe('flowing');
  expect(watch.lasted(9001)).toBe(false);
  expect(look(9, 500, 11_000)).toBe('frozen');
});

test('who asked for sound alone waits for it as for a picture', () => {
  const watch = new StallWatch();
  const look = (nowMs: number) => watch.look({ framesDecoded: 0, audioPackets: 0 }, nowMs, 'sound');

  expect(look(0)).toBe('starting');
  expect(look(1999)).toBe('starting');
  expect(look(2000)).toBe('frozen');
  expect(watch.lasted(8000)).toBe(true);
});

test('two seconds of a picture without sound say that there is none, and the first sound that there is', () => {
  const watch = new StallWatch();
  const look = (framesDecoded: number, audioPackets: number, nowMs: number) =>
    watch.look({ framesDecoded, audioPackets }, nowMs, 'sound');

  look(1, 0, 0);
  look(40, 0, 1999);
  expect(watch.isSoundless).toBe(false);
  look(41, 0, 2000);
  expect(look(41, 0, 60_000)).toBe('flowing');
  expect(new StallWatch(watch.isSoundless).look({ framesDecoded: 0, audioPackets: 0 }, 0, 'sound')).toBe(
    'flowing',
  );

  look(41, 1, 61_000);
  expect(look(41, 1, 63_000)).toBe('frozen');
});

test('who paused misses nothing, and has two seconds to see the picture come back', () => {
  const watch = new StallWatch();
  const stats = { framesDecoded: 9, audioPackets: 50 };

  watch.look(stats, 0);
  expect(watch.look(stats, 60_000, 'nothing')).toBe('flowing');
  expect(watch.look(stats, 61_999)).toBe('slow');
  expect(watch.look(stats, 62_000)).toBe('frozen');
});

test('a session is given up after eight silent seconds, unless the silence is the room’s own', () => {
  const watch = new StallWatch();
  watch.look({ framesDecoded: 1, audioPackets: 0 }, 0);

  expect(watch.lasted(7999)).toBe(false);
  expect(watch.lasted(8000)).toBe(true);
  watch.reset(8000);
  expect(watch.lasted(8001)).toBe(false);
  expect(watch.look({ framesDecoded: 1, audioPackets: 0 }, 8001)).toBe('frozen');
});
