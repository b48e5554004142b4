/** Shows how loud a track is, a few times a second. */
export class LevelMeter {
  readonly #meter: HTMLMeterElement;
  #context: AudioContext | null = null;
  #node: MediaStreamAudioSourceNode | null = null;
  #track: MediaStreamTrack | null = null;

  constructor(meter: HTMLMeterElement) {
    this.#meter = meter;
  }

  /** Listens to another track, or to none. Call it after a click, or the browser keeps the meter asleep. */
  listen(track: MediaStreamTrack | null): void {
    if (track === this.#track) return;
    this.#track = track;
    this.#node?.disconnect();
    this.#node = null;
    this.#meter.value = 0;
    if (!track) return;
    this.#context ??= new AudioContext();
    const context = this.#context;
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    this.#node = context.createMediaStreamSource(new MediaStream([track]));
    this.#node.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const draw = (): void => {
      if (this.#track !== track) return;
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((total, sample) => total + sample * sample, 0) / samples.length;
      // −60 dB to 0 dB over the whole meter.
      this.#meter.value = Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-9) / 6));
      setTimeout(draw, 100);
    };
    draw();
  }
}
