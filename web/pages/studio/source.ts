import { camera, isLiveError, microphone, screen } from '../../sdk/index.ts';

/** What the host shows. */
export type SourceKind = 'camera' | 'screen';

/** The devices that the host chose; empty means the browser's default. */
export interface DeviceChoice {
  readonly cameraId: string;
  readonly microphoneId: string;
}

/** The picture and sound that the host sends: one stream whose tracks may change. Fires `change` after each change. */
export class Source extends EventTarget {
  readonly stream: MediaStream = new MediaStream();
  #kind: SourceKind | null = null;
  #muted = false;
  #choice: DeviceChoice = { cameraId: '', microphoneId: '' };

  get kind(): SourceKind | null {
    return this.#kind;
  }

  get muted(): boolean {
    return this.#muted;
  }

  get video(): MediaStreamTrack | null {
    return this.stream.getVideoTracks()[0] ?? null;
  }

  get audio(): MediaStreamTrack | null {
    return this.stream.getAudioTracks()[0] ?? null;
  }

  /** Shows the camera, with the microphone where there is one. */
  async useCamera(choice: DeviceChoice): Promise<void> {
    this.#choice = choice;
    const { cameraId, microphoneId } = choice;
    const asked = await camera({ cameraId, microphoneId }).catch((error: unknown) => {
      // A machine with a camera and no microphone is still worth a picture.
      if (isLiveError(error, 'media/device-not-found')) return camera({ cameraId, audio: false });
      throw error;
    });
    this.#take('camera', asked.getVideoTracks()[0], asked.getAudioTracks()[0] ?? null);
  }

  /** Shows a screen; speaks with the microphone, or with the screen's own sound where there is none. */
  async useScreen(): Promise<void> {
    const shared = await screen();
    const picture = shared.getVideoTracks()[0];
    const sound = shared.getAudioTracks()[0] ?? null;
    const voice = this.audio?.readyState === 'live' ? this.audio : await this.#voice();
    if (voice && sound) sound.stop();
    picture?.addEventListener('ended', () => void this.#screenEnded(picture));
    this.#take('screen', picture, voice ?? sound);
  }

  /** Sends silence instead of sound, or sound again. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.audio) this.audio.enabled = !muted;
    this.dispatchEvent(new Event('change'));
  }

  async #voice(): Promise<MediaStreamTrack | null> {
    const stream = await microphone(this.#choice.microphoneId).catch(() => null);
    return stream?.getAudioTracks()[0] ?? null;
  }

  async #screenEnded(picture: MediaStreamTrack): Promise<void> {
    // Somebody who stops sharing means to go back to the camera, not off the air.
    if (this.video === picture)
      await this.useCamera(this.#choice).catch(() => this.dispatchEvent(new Event('change')));
  }

  #take(kind: SourceKind, video: MediaStreamTrack | undefined, audio: MediaStreamTrack | null): void {
    const wanted = [video, audio].filter((track) => track !== undefined && track !== null);
    for (const track of this.stream.getTracks()) {
      if (wanted.includes(track)) continue;
      this.stream.removeTrack(track);
      track.stop();
    }
    for (const track of wanted) this.stream.addTrack(track);
    if (audio) audio.enabled = !this.#muted;
    this.#kind = kind;
    this.dispatchEvent(new Event('change'));
  }
}
