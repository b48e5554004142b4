import { drawFrame } from './burnt-clock.ts';

/** What to draw and send. */
export interface CanvasAsk {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** A tone beside the picture. */
  readonly audio: boolean;
}

/** A stream whose picture carries the burnt-in clock. */
export function canvasStream({ width, height, fps, audio }: CanvasAsk): MediaStream {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (!context) throw new Error('no 2d context');
  const stream = canvas.captureStream(0);
  const track = stream.getVideoTracks()[0];
  if (!(track instanceof CanvasCaptureMediaStreamTrack)) throw new Error('no canvas track');
  let frame = 0;
  const draw = (): void => {
    drawFrame(context, frame);
    track.requestFrame();
    frame += 1;
  };
  draw();
  setInterval(draw, 1000 / fps);
  if (audio) stream.addTrack(tone());
  return stream;
}

function tone(): MediaStreamTrack {
  const context = new AudioContext();
  const oscillator = context.createOscillator();
  const volume = context.createGain();
  const destination = context.createMediaStreamDestination();
  volume.gain.value = 0.2;
  oscillator.connect(volume).connect(destination);
  oscillator.start();
  const track = destination.stream.getAudioTracks()[0];
  if (!track) throw new Error('no audio track');
  return track;
}
