import { ClockReader } from './burnt-clock.ts';

/** What a viewer saw over some seconds. Times in milliseconds. */
export interface Reading {
  readonly seconds: number;
  /** Frames that reached the screen. */
  readonly frames: number;
  /** Frames whose pixels were looked at; a busy page may miss some. */
  readonly read: number;
  /** Looked at, and the clock could not be read. */
  readonly bad: number;
  readonly fps: number;
  /** `1280x720` → frames of this size, in order of appearance. */
  readonly sizes: Readonly<Record<string, number>>;
  /** The longest time between two frames on the screen. */
  readonly longestGap: number;
  /** Capture to display, of frames that could be read. */
  readonly age: Percentiles;
}

/** Order statistics of a sample. */
export interface Percentiles {
  readonly n: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Sorts and picks. NaN when there is nothing. */
export function percentiles(sample: readonly number[]): Percentiles {
  const sorted = [...sample].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** Watches a `<video>` for some seconds and reads the clock out of every frame it gets to see. */
export function take(video: HTMLVideoElement, seconds: number, sourceWidth: number): Promise<Reading> {
  const clock = new ClockReader(sourceWidth);
  const ages: number[] = [];
  const sizes: Record<string, number> = {};
  const started = performance.now();
  let [read, bad, longestGap] = [0, 0, 0];
  let [firstPresented, lastPresented] = [-1, -1];
  let lastAt = started;
  return new Promise((resolve) => {
    const finish = (): void => {
      const now = performance.now();
      const elapsed = (now - started) / 1000;
      const frames = lastPresented - firstPresented + (firstPresented < 0 ? 0 : 1);
      const gap = Math.max(longestGap, now - lastAt);
      const age = percentiles(ages);
      resolve({ seconds: elapsed, frames, read, bad, fps: frames / elapsed, sizes, longestGap: gap, age });
    };
    let handle = 0;
    const onFrame = (_now: number, frame: VideoFrameCallbackMetadata): void => {
      handle = video.requestVideoFrameCallback(onFrame);
      // A frame that was on the screen before we began is not ours.
      if (frame.presentationTime < started) return;
      if (firstPresented < 0) firstPresented = frame.presentedFrames;
      lastPresented = frame.presentedFrames;
      longestGap = Math.max(longestGap, frame.presentationTime - lastAt);
      lastAt = frame.presentationTime;
      const size = `${frame.width}x${frame.height}`;
      sizes[size] = (sizes[size] ?? 0) + 1;
      read += 1;
      const age = clock.age(video, performance.timeOrigin + frame.expectedDisplayTime);
      if (age === null) bad += 1;
      else ages.push(age);
    };
    handle = video.requestVideoFrameCallback(onFrame);
    setTimeout(() => {
      video.cancelVideoFrameCallback(handle);
      finish();
    }, seconds * 1000);
  });
}
