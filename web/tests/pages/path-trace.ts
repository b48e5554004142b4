/** What a viewer saw over some seconds of a path that changes. Times in milliseconds of the wall clock. */
export interface PathTrace {
  readonly from: number;
  readonly to: number;
  /** Every frame that reached the screen. */
  readonly frames: readonly { readonly at: number; readonly height: number }[];
  /** How long the browser itself says that the picture was frozen (W3C `totalFreezesDuration`). */
  readonly frozenMs: number;
}

/** Notes every frame of a `<video>` for some seconds. */
export async function tracePath(
  video: HTMLVideoElement,
  connection: RTCPeerConnection,
  seconds: number,
): Promise<PathTrace> {
  const frames: { at: number; height: number }[] = [];
  const frozenBefore = await frozen(connection);
  const from = performance.now();
  let handle = 0;
  const note = (_now: number, frame: VideoFrameCallbackMetadata): void => {
    handle = video.requestVideoFrameCallback(note);
    if (frame.presentationTime < from) return;
    frames.push({ at: performance.timeOrigin + frame.presentationTime, height: frame.height });
  };
  handle = video.requestVideoFrameCallback(note);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  video.cancelVideoFrameCallback(handle);
  const frozenMs = ((await frozen(connection)) - frozenBefore) * 1000;
  const wall = (at: number): number => performance.timeOrigin + at;
  return { from: wall(from), to: wall(performance.now()), frames, frozenMs };
}

async function frozen(connection: RTCPeerConnection): Promise<number> {
  let seconds = 0;
  const report = await connection.getStats();
  report.forEach((entry: Readonly<Record<string, unknown>>) => {
    if (entry['type'] === 'inbound-rtp' && entry['kind'] === 'video')
      seconds += Number(entry['totalFreezesDuration'] ?? 0);
  });
  return seconds;
}
