import type { PathTrace } from '../pages/path-trace.ts';

/**
 * Figures out of what a viewer saw over a path. A picture that died counts against each of them. Times in milliseconds
 * of the wall clock.
 */

/** What the W3C calls a freeze at 30 frames/s. */
const freezeMs = 150 + 1000 / 30;
/** A page that is busy misses frames that were on the screen, but not for so long. */
const missedMs = 500;
/** About a freeze: a slice without a frame is one that a viewer sees. */
const sliceMs = 200;

/**
 * How long the picture stood still, as the browser says. The browser counts a freeze when it ends, and for one connection
 * only: what has not ended is added, and it is at least the time that the page went without frames.
 */
export function frozen(trace: PathTrace): number {
  const unended = trace.to - (trace.frames.at(-1)?.at ?? trace.from);
  const without = gaps(trace, trace.from, trace.to).filter((gap) => gap > missedMs);
  return Math.max(
    trace.frozenMs + (unended > freezeMs ? unended : 0),
    without.reduce((sum, gap) => sum + gap, 0),
  );
}

/** The share of the time in which frames of that height were shown, and no others. */
export function shareAt({ frames, from, to }: PathTrace, height: number): number {
  const slices = Array.from({ length: Math.floor((to - from) / sliceMs) }, () => new Set<number>());
  for (const frame of frames) slices[Math.floor((frame.at - from) / sliceMs)]?.add(frame.height);
  return slices.filter((heights) => heights.size === 1 && heights.has(height)).length / slices.length;
}

/** From `from` to the last frame that was higher than `height`, up to `to`; says nothing of what came then. */
export function lastAbove({ frames }: PathTrace, height: number, from: number, to: number): number {
  const late = frames.filter((frame) => frame.at > from && frame.at < to && frame.height > height);
  return Math.max(0, (late.at(-1)?.at ?? from) - from);
}

/** From `from` to the first frame of that height. */
export function firstAt({ frames }: PathTrace, height: number, from: number): number {
  const found = frames.find((frame) => frame.at > from && frame.height === height);
  return found ? found.at - from : Number.POSITIVE_INFINITY;
}

/** Frames of that height a second. */
export function rateAt({ frames }: PathTrace, height: number, from: number, to: number): number {
  const inside = frames.filter((frame) => frame.at >= from && frame.at < to && frame.height === height);
  return inside.length / ((to - from) / 1000);
}

/** The longest time without a frame, the edges included. */
export function longestGap(trace: PathTrace, from: number, to: number): number {
  return Math.max(...gaps(trace, from, to));
}

function gaps({ frames }: PathTrace, from: number, to: number): number[] {
  const inside = frames.map(({ at }) => at).filter((at) => at >= from && at <= to);
  const edges = [from, ...inside, to];
  return edges.slice(1).map((at, index) => at - (edges[index] ?? at));
}
