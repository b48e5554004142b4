import type { Layer } from '../../../sdk/index.ts';

/** What the test publishers send. */

export const hd = { width: 1280, height: 720, fps: 30, audio: false } as const;
export const small = { width: 640, height: 360, fps: 30, audio: false } as const;

/** Three layers of a 1280×720 picture, by rid. */
export const three: readonly Layer[] = [
  { rid: 'q', scale: 4, maxBitrate: 150_000 },
  { rid: 'h', scale: 2, maxBitrate: 500_000 },
  { rid: 'f', scale: 1, maxBitrate: 1_500_000 },
];

/** Two layers of a 640×360 picture, for the encoders that cost more. */
export const two: readonly Layer[] = [
  { rid: 'h', scale: 2, maxBitrate: 200_000 },
  { rid: 'f', scale: 1, maxBitrate: 700_000 },
];

/** The width at which each of the three layers is shown. */
export const widths: Readonly<Record<string, number>> = { q: 320, h: 640, f: 1280 };
