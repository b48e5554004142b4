import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A picture for Chromium's fake camera, in a file that it plays round and round. */
export interface CameraFile {
  /** The flag that makes a browser use it. */
  readonly flag: string;
  remove(): Promise<void>;
}

const [width, height, frames] = [1280, 720, 48] as const;

/** Writes an evening sky with a light that moves across it, as YUV4MPEG2. */
export async function cameraFile(): Promise<CameraFile> {
  const folder = await mkdtemp(join(tmpdir(), 'nearcast-'));
  const path = join(folder, 'sky.y4m');
  const parts: Uint8Array[] = [Buffer.from(`YUV4MPEG2 W${width} H${height} F24:1 Ip A1:1 C420jpeg\n`)];
  for (let frame = 0; frame < frames; frame += 1) parts.push(Buffer.from('FRAME\n'), sky(frame / frames));
  await writeFile(path, Buffer.concat(parts));
  return { flag: `--use-file-for-fake-video-capture=${path}`, remove: () => rm(folder, { recursive: true }) };
}

/** One frame, at a point of the round from 0 to 1: planes Y, U and V. */
function sky(turn: number): Uint8Array {
  const angle = turn * 2 * Math.PI;
  const [lightX, lightY] = [0.5 + 0.25 * Math.cos(angle), 0.45 + 0.12 * Math.sin(2 * angle)];
  const glow = (x: number, y: number): number =>
    Math.exp(-14 * ((x - lightX) ** 2 + 0.5 * (y - lightY) ** 2));
  const luma = plane(width, height, (x, y) => 40 + 70 * y + 120 * glow(x, y));
  const blue = plane(width / 2, height / 2, (x, y) => 158 - 40 * y - 46 * glow(x, y));
  const red = plane(width / 2, height / 2, (x, y) => 112 + 50 * y + 28 * glow(x, y));
  return Buffer.concat([luma, blue, red]);
}

function plane(columns: number, rows: number, value: (x: number, y: number) => number): Uint8Array {
  return Uint8Array.from({ length: columns * rows }, (_, index) =>
    Math.round(value((index % columns) / columns, Math.floor(index / columns) / rows)),
  );
}
