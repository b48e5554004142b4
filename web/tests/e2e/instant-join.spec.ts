import type { JoinTrace, Seen } from '../pages/join-trace.ts';
import { percentiles } from '../pages/reading.ts';
import { expect, figure, test } from './harness/fixtures.ts';
import { small } from './harness/plans.ts';
import { view } from './harness/roles.ts';
import { untilPlaying } from './harness/room-state.ts';

/** As OBS is advised to send it for low delay, at its longest. */
const gopMs = 4000;
const watchedSeconds = 3;
const frameMs = 1000 / 30;
/** What the W3C calls a freeze at 30 frames/s. */
const freezeMs = 150 + frameMs;
/** An encoder that saves leaves a block of the code as it was before, in up to one frame of forty; not for long. */
const misreadShareMost = 0.05;
const misreadRunMost = 3;
/** No picture is as old; a wrong bit gives such nonsense. */
const ageMostMs = 10_000;
/** From the first frame on, as the promise is. */
const settledMs = 1000;

const plans = [
  { codec: 'h264', joins: 12, picture: small },
  { codec: 'vp8', joins: 8, picture: small },
  { codec: 'vp9', joins: 8, picture: small },
  { codec: 'av1', joins: 8, picture: small },
] as const;

for (const { codec, joins, picture } of plans) {
  test(`${codec}: who joins a group of pictures of 4 s, without any answer to PLI, is at the live edge at once`, async ({
    open,
    room,
  }) => {
    test.setTimeout(240_000);
    const publisher = await open();
    const ask = { ...picture, url: room.whip, codec };
    await publisher.evaluate(([what, gop]) => window.lab.publishGops(what, gop), [ask, gopMs] as const);
    const present = await open();
    await view(present, room);
    await untilPlaying(present);
    await present.evaluate((wide) => window.lab.startTrace(wide), picture.width);
    // Three keyframes, so that their distance is known.
    await present.waitForTimeout(2 * gopMs);
    const viewer = await open();
    const traces: JoinTrace[] = [];
    for (let join = 0; join < joins; join += 1) {
      // Evenly over the group of pictures, in an order that no rhythm follows.
      await viewer.waitForTimeout(((join * 7 + 3) % joins) * (gopMs / joins));
      const watch = [room.whep, watchedSeconds, picture.width] as const;
      traces.push(
        await viewer.evaluate(([url, seconds, wide]) => window.lab.join(url, seconds, wide), watch),
      );
    }
    await present.waitForTimeout(1000);
    const reference = await present.evaluate(() => window.lab.stopTrace());

    for (const [join, trace] of traces.entries()) {
      figure(`${codec} join ${join}`, describe(trace, reference));
      expect.soft(unlike(trace.frames, reference), 'frames unlike those of a viewer who was there').toBe(0);
      expect.soft(falls(trace.frames, reference), 'codes that do not rise').toEqual([]);
      const misread = misreads(trace.frames);
      const share = misread.length / trace.frames.length;
      expect.soft(share, 'codes that cannot be read or do not rise').toBeLessThanOrEqual(misreadShareMost);
      expect.soft(longestRun(misread), 'of them in a row').toBeLessThanOrEqual(misreadRunMost);
      const behind = lag(trace.frames, reference);
      expect.soft(Math.abs(behind), 'behind a viewer who was there').toBeLessThanOrEqual(2 * frameMs);
      expect.soft(trace.plis, 'keyframe requests of the viewer').toBe(0);
      expect.soft(ownFreezes(trace.frames, reference), 'gaps that only this viewer had').toEqual([]);
    }

    const shown = percentiles(traces.map(({ firstFrameShown }) => firstFrameShown));
    const phase = (pick: (trace: JoinTrace) => number): string =>
      `${Math.round(percentiles(traces.map(pick)).p50)}`;
    figure(`${codec} join`, `p50 ${Math.round(shown.p50)} ms, p95 ${Math.round(shown.p95)} ms, n ${shown.n}`);
    figure(
      `${codec} join, p50 of each step`,
      `answer ${phase((it) => it.answered)}, ICE ${phase((it) => it.iceConnected)}, DTLS ${phase((it) => it.dtlsConnected)}, first frame received ${phase((it) => it.firstFrameReceived)}, shown ${phase((it) => it.firstFrameShown)} ms`,
    );
  });
}

function describe(trace: JoinTrace, reference: readonly Seen[]): string {
  const behind = trace.frames[0]?.code ?? 0;
  const back = Math.round((trace.frames[0]?.at ?? 0) - epochOf(trace.frames[0]?.at ?? 0) - behind);
  const steps = [
    trace.answered,
    trace.iceConnected,
    trace.dtlsConnected,
    trace.firstFrameReceived,
    trace.firstFrameShown,
  ];
  return `steps ${steps.map(Math.round).join(' ')} ms, began ${back} ms back, ${trace.frames.length} read, ${trace.decoded} decoded at ${trace.decodeMs.toFixed(1)} ms, lag ${Math.round(lag(trace.frames, reference))} ms, unlike ${unlike(trace.frames, reference)}, skipped ${skipped(trace.frames, reference)}, falls ${falls(trace.frames, []).length}, misread ${misreads(trace.frames).length}, longest gap ${Math.round(longestGap(trace.frames))} ms, freezes ${trace.freezes}, PLI ${trace.plis}, NACK ${trace.nacks}, keyframes ${trace.keyframes}, buffer ${Math.round(trace.bufferMs)} ms`;
}

/** The codes count modulo 2^32. */
function epochOf(at: number): number {
  return Math.floor(at / 2 ** 32) * 2 ** 32;
}

/**
 * How many frames are not those that a viewer who was there decoded, in that order. Decoders agree to the pixel, so that
 * even a code which an encoder smeared must be the same. A browser that is late may leave frames out before a keyframe.
 */
function unlike(frames: readonly Seen[], reference: readonly Seen[]): number {
  const last = reference.at(-1)?.at ?? 0;
  let next = 0;
  let count = 0;
  for (const { at, code } of frames) {
    const found = reference.findIndex((there, index) => index >= next && there.code === code);
    if (found >= 0) next = found + 1;
    else if (at < last) count += 1;
  }
  return count;
}

/** How many frames of the viewer who was there, between this viewer's first and last, it left out. */
function skipped(frames: readonly Seen[], reference: readonly Seen[]): number {
  const place = (seen: Seen | undefined): number => reference.findIndex(({ code }) => code === seen?.code);
  return place(frames.at(-1)) - place(frames[0]) + 1 - frames.length;
}

/** Codes that are not above the one before, and that did rise for the viewer who was there. */
function falls(frames: readonly Seen[], reference: readonly Seen[]): string[] {
  const pairs = (seen: readonly Seen[]): string[] =>
    seen.flatMap(({ code }, index) => {
      const before = seen[index - 1]?.code ?? null;
      return before === null || code === null || code > before ? [] : [`${before} → ${code}`];
    });
  const known = new Set(pairs(reference));
  return pairs(frames).filter((pair) => !known.has(pair));
}

/**
 * Which frames have no code that can be true: none, a time that was not, or not above the frame's before. What the viewer
 * who was there could not read either is among them.
 */
function misreads(frames: readonly Seen[]): number[] {
  return frames.flatMap((seen, index) => {
    const before = frames[index - 1];
    const rises = !before || !possible(before) || (seen.code ?? 0) > (before.code ?? 0);
    return possible(seen) && rises ? [] : [index];
  });
}

function possible({ at, code }: Seen): boolean {
  const age = at - epochOf(at) - (code ?? Number.NaN);
  return age > -100 && age < ageMostMs;
}

function longestRun(places: readonly number[]): number {
  let run = 0;
  const runs = places.map((place, index) => {
    run = places[index - 1] === place - 1 ? run + 1 : 1;
    return run;
  });
  return Math.max(0, ...runs);
}

/** By how much the picture is older than a viewer's who was there, as the median of the second second. */
function lag(frames: readonly Seen[], reference: readonly Seen[]): number {
  const from = (frames[0]?.at ?? 0) + settledMs;
  const age = (seen: readonly Seen[]): number => {
    const inside = seen.filter(({ at, code }) => code !== null && at >= from && at < from + 1000);
    return percentiles(inside.map(({ at, code }) => at - epochOf(at) - (code ?? 0))).p50;
  };
  return age(frames) - age(reference);
}

/** Where no frame came for as long as the W3C calls a freeze, while the viewer who was there had frames: milliseconds. */
function ownFreezes(frames: readonly Seen[], reference: readonly Seen[]): number[] {
  return gaps(frames)
    .filter(({ from, to }) => to - from > freezeMs)
    .filter(({ from, to }) => {
      const there = gaps(reference).filter((gap) => gap.to > from && gap.from < to);
      return Math.max(0, ...there.map((gap) => gap.to - gap.from)) < (to - from) / 2;
    })
    .map(({ from, to }) => Math.round(to - from));
}

function longestGap(frames: readonly Seen[]): number {
  return Math.max(0, ...gaps(frames).map(({ from, to }) => to - from));
}

function gaps(frames: readonly Seen[]): { readonly from: number; readonly to: number }[] {
  return frames.slice(1).map(({ at }, index) => ({ from: frames[index]?.at ?? at, to: at }));
}
