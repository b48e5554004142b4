import type { Page } from '@playwright/test';
import { type Percentiles, percentiles } from '../pages/reading.ts';

/**
 * How old the picture is that a viewer has. The publisher's timestamps tell when each frame was captured, on a line that
 * the server keeps over all layers. Where that line begins nobody knows: only differences mean something.
 */

/** One frame that reached the screen. Milliseconds, `captured` of an unknown clock, the others of the wall clock. */
export interface Frame {
  readonly captured: number;
  /** Its last packet had come. */
  readonly received: number;
  readonly shown: number;
}

/** From one moment to another, milliseconds of the wall clock. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const sampleMs = 50;
const secondMs = 1000;

/** Notes every frame of a page's video for some seconds. */
export function traceAges(viewer: Page, seconds: number): Promise<readonly Frame[]> {
  return viewer.evaluate(async (long) => {
    const video = document.querySelector('video');
    if (!video) throw new Error('the page has no video');
    const frames: Frame[] = [];
    let captured = 0;
    let before: number | null = null;
    let handle = 0;
    const note = (_now: number, frame: VideoFrameCallbackMetadata): void => {
      handle = video.requestVideoFrameCallback(note);
      const { presentationTime, receiveTime, rtpTimestamp } = frame;
      if (receiveTime === undefined || rtpTimestamp === undefined) return;
      // Modulo 2^32, at 90 kHz.
      captured += ((rtpTimestamp - (before ?? rtpTimestamp)) | 0) / 90;
      before = rtpTimestamp;
      const wall = (at: number): number => performance.timeOrigin + at;
      frames.push({ captured, received: wall(receiveTime), shown: wall(presentationTime) });
    };
    handle = video.requestVideoFrameCallback(note);
    await new Promise((resolve) => setTimeout(resolve, long * 1000));
    video.cancelVideoFrameCallback(handle);
    return frames;
  }, seconds);
}

/** How much older the newest frame was than in the best second of `than`. */
export function older(
  frames: readonly Frame[],
  step: 'received' | 'shown',
  time: Span,
  than: readonly Span[],
): Percentiles {
  const medians = than.flatMap(seconds).map((second) => percentiles(ages(frames, step, second)).p50);
  const best = Math.min(...medians);
  return percentiles(ages(frames, step, time).map((age) => age - best));
}

/** The age of the newest frame, evenly over time, so that a picture which stands still grows older. */
function ages(frames: readonly Frame[], step: 'received' | 'shown', { from, to }: Span): number[] {
  const sampled: number[] = [];
  let next = 0;
  let captured = Number.NEGATIVE_INFINITY;
  for (let at = from; at < to; at += sampleMs) {
    for (let frame = frames[next]; frame && frame[step] <= at; frame = frames[next]) {
      captured = frame.captured;
      next += 1;
    }
    sampled.push(at - captured);
  }
  return sampled;
}

function seconds({ from, to }: Span): Span[] {
  const count = Math.floor((to - from) / secondMs);
  return Array.from({ length: count }, (_, index) => ({
    from: from + index * secondMs,
    to: from + (index + 1) * secondMs,
  }));
}
