/** How a `<video>` is being played. `blocked`: the browser wants a gesture first, even for silence. */
export type Playback = 'idle' | 'playing' | 'playing-muted' | 'blocked';

/** Whether to begin with sound. `sound` falls back to muted where the browser forbids it. */
export type Autoplay = 'sound' | 'muted' | false;

/** Shows one stream in one `<video>`: with sound if allowed, else muted, else when asked to. */
export class Player {
  readonly video: HTMLVideoElement;
  readonly #changed: (playback: Playback) => void;
  #playback: Playback = 'idle';

  constructor(video: HTMLVideoElement, changed: (playback: Playback) => void) {
    this.video = video;
    this.#changed = changed;
    video.playsInline = true;
  }

  get playback(): Playback {
    return this.#playback;
  }

  /** Shows a stream; the last picture of the one before stays until the first new one. */
  async show(stream: MediaStream, autoplay: Autoplay): Promise<void> {
    this.video.srcObject = stream;
    if (autoplay === 'muted') this.video.muted = true;
    if (autoplay !== false) await this.play();
  }

  /** Plays, muted if sound is forbidden. Call it from a click to get sound. */
  async play(): Promise<void> {
    if (await this.#try()) return;
    this.video.muted = true;
    if (!(await this.#try())) this.#enter('blocked');
  }

  /** Turns the sound on or off. Call it from a click. */
  async setMuted(muted: boolean): Promise<void> {
    this.video.muted = muted;
    await this.play();
  }

  async #try(): Promise<boolean> {
    try {
      await this.video.play();
    } catch (error) {
      // Another `play` or a new stream overtook this one; whoever did that reports.
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return true;
      return false;
    }
    this.#enter(this.video.muted ? 'playing-muted' : 'playing');
    return true;
  }

  #enter(playback: Playback): void {
    if (playback === this.#playback) return;
    this.#playback = playback;
    this.#changed(playback);
  }
}
