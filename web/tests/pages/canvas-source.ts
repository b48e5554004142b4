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

/** A hum with a beat, which an encoder takes for a voice. */
function tone(): MediaStreamTrack {
  const context = new AudioContext();
  const voice = new OscillatorNode(context, { type: 'sawtooth', frequency: 130 });
  const throat = new BiquadFilterNode(context, { type: 'bandpass', frequency: 600, Q: 2 });
  const volume = new GainNode(context, { gain: 0.3 });
  const syllables = new OscillatorNode(context, { frequency: 4 });
  const depth = new GainNode(context, { gain: 0.25 });
  const vibrato = new OscillatorNode(context, { frequency: 0.7 });
  const reach = new GainNode(context, { gain: 30 });
  const destination = context.createMediaStreamDestination();
  syllables.connect(depth).connect(volume.gain);
  vibrato.connect(reach).connect(voice.frequency);
  voice.connect(throat).connect(volume).connect(destination);
  for (const source of [voice, syllables, vibrato]) source.start();
  const track = destination.stream.getAudioTracks()[0];
  if (!track) throw new Error('no audio track');
  return track;
}
