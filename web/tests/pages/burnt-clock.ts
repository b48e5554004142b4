/**
 * The burnt-in clock: the time at which a frame was drawn, written into its pixels, so that a viewer on the same machine
 * can tell how old the picture is that it sees.
 *
 * Along the top edge stand 34 square blocks, black or white: 1, 0 as a mark, then 32 bits, most significant first, of the
 * milliseconds since the epoch modulo 2^32. A white line below closes them off from the moving background.
 */

const bits = 32;
const blocks = bits + 2;
const modulus = 2 ** bits;

/** Side of one block in a picture of this width. Wide enough that a quarter of the size can still be read. */
function blockSide(width: number): number {
  return Math.floor(width / (blocks + 2) / 4) * 4;
}

/** Milliseconds since the epoch, with fractions, the same clock in every process of one machine. */
export function wallClock(): number {
  return performance.timeOrigin + performance.now();
}

/** Draws one frame: a background that keeps the encoder busy, and the time. */
export function drawFrame(context: CanvasRenderingContext2D, frame: number): void {
  const { width, height } = context.canvas;
  context.fillStyle = `hsl(${frame % 360} 45% 35%)`;
  context.fillRect(0, 0, width, height);
  for (let stripe = 0; stripe < 12; stripe += 1) {
    const x = ((frame * (3 + stripe)) % (width + 160)) - 160;
    context.fillStyle = `hsl(${(stripe * 30 + frame) % 360} 70% ${40 + stripe * 2}%)`;
    context.fillRect(x, (height / 14) * (stripe + 1.5), 160, height / 16);
  }
  drawClock(context, Math.floor(wallClock()) % modulus);
}

function drawClock(context: CanvasRenderingContext2D, value: number): void {
  const side = blockSide(context.canvas.width);
  const code = [true, false];
  for (let bit = bits - 1; bit >= 0; bit -= 1) code.push(Math.floor(value / 2 ** bit) % 2 === 1);
  for (const [index, lit] of code.entries()) {
    context.fillStyle = lit ? '#fff' : '#000';
    context.fillRect(index * side, 0, side, side);
  }
  context.fillStyle = '#fff';
  context.fillRect(0, side, blocks * side, Math.max(2, side / 8));
}

/** Reads the time out of shown frames. */
export class ClockReader {
  readonly #context: CanvasRenderingContext2D;
  readonly #sourceWidth: number;

  /** `sourceWidth`: the width at which the publisher draws. */
  constructor(sourceWidth: number) {
    const canvas = document.createElement('canvas');
    canvas.width = blocks * blockSide(sourceWidth);
    canvas.height = blockSide(sourceWidth);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    if (!context) throw new Error('no 2d context');
    this.#context = context;
    this.#sourceWidth = sourceWidth;
  }

  /** The age of the picture in milliseconds at `atMs` of the wall clock, or null when the code cannot be read. */
  age(video: HTMLVideoElement, atMs: number): number | null {
    const value = this.#read(video, video.videoWidth);
    if (value === null) return null;
    const age = (((Math.floor(atMs) % modulus) - value + modulus + modulus / 2) % modulus) - modulus / 2;
    // A wrong bit gives nonsense: nothing on one machine is older than ten seconds or from the future.
    return age > -100 && age < 10_000 ? age : null;
  }

  /** The code of a decoded frame, or null when it cannot be read. */
  code(frame: VideoFrame): number | null {
    return this.#read(frame, frame.displayWidth);
  }

  #read(picture: CanvasImageSource, pictureWidth: number): number | null {
    const { width, height } = this.#context.canvas;
    const scale = pictureWidth / this.#sourceWidth;
    this.#context.drawImage(picture, 0, 0, width * scale, height * scale, 0, 0, width, height);
    const { data } = this.#context.getImageData(0, 0, width, height);
    const side = height;
    const lit = (index: number): boolean => {
      const x = index * side + side / 2;
      return (data[4 * ((side / 2) * width + x) + 1] ?? 0) > 128;
    };
    if (!lit(0) || lit(1)) return null;
    let value = 0;
    for (let bit = 0; bit < bits; bit += 1) value = value * 2 + Number(lit(bit + 2));
    return value;
  }
}
