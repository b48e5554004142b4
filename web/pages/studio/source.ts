import { camera, isLiveError, LiveError, microphone, screen } from '../../sdk/index.ts';

/** What the host shows. */
export type SourceKind = 'camera' | 'screen';

/** The devices that the host chose; empty means the browser's default. */
export interface DeviceChoice {
  readonly cameraId: string;
  readonly microphoneId: string;
}

type TrackKind = 'video' | 'audio';

/** The picture and sound that the host sends: one stream whose tracks may change. Fires `change` after each change. */
export class Source extends EventTarget {
  readonly stream: MediaStream = new MediaStream();
  #kind: SourceKind | null = null;
  #muted = false;
  #choice: DeviceChoice = { cameraId: '', microphoneId: '' };
  /** Whether the host showed the camera before sharing: only then may the end of a share put it on air. */
  #backToCamera = false;
  /** What the last screen gave as its sound. */
  #screenSound: MediaStreamTrack | null = null;
  /** What has no track because its device has gone. */
  readonly #missing = new Set<TrackKind>();
  #trouble: LiveError | null = null;

  /** Null while there is no picture. */
  get kind(): SourceKind | null {
    return this.video ? this.#kind : null;
  }

  /** What happened to the source without the host's doing, with what to do about it. */
  get trouble(): LiveError | null {
    const [kind] = this.#missing;
    return kind ? deviceLost(kind) : this.#trouble;
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
    this.#backToCamera = true;
    this.#take('camera', asked.getVideoTracks()[0] ?? null, asked.getAudioTracks()[0] ?? null);
  }

  /** Shows a screen; speaks with the microphone, or with the screen's own sound where there is none. */
  async useScreen(): Promise<void> {
    const shared = await screen();
    const picture = shared.getVideoTracks()[0] ?? null;
    const sound = shared.getAudioTracks()[0] ?? null;
    const voice = this.#voice ?? (await this.#askVoice());
    if (voice && sound) sound.stop();
    this.#screenSound = sound;
    this.#take('screen', picture, voice ?? sound);
  }

  /** Chooses a camera. While a screen is shown it is only remembered: a list puts nobody's face on air. */
  async chooseCamera(choice: DeviceChoice): Promise<void> {
    this.#choice = choice;
    if (this.#kind !== 'screen') await this.useCamera(choice);
  }

  /** Chooses a microphone, and leaves the picture as it is. */
  async chooseMicrophone(choice: DeviceChoice): Promise<void> {
    this.#choice = choice;
    if (this.#kind === null) return;
    const voice = (await microphone(choice.microphoneId)).getAudioTracks()[0] ?? null;
    // The share may have ended while the browser asked.
    if (this.#kind === null) voice?.stop();
    else this.#take(this.#kind, this.video, voice);
  }

  /** Takes a device in place of each that has gone, if there is one by now. */
  async mend(): Promise<void> {
    for (const kind of [...this.#missing]) await this.#find(kind);
  }

  /** Sends silence instead of sound, or sound again. */
  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.audio) this.audio.enabled = !muted;
    this.#changed();
  }

  /** The sound, if it is a microphone's: a screen's own ends with its screen. */
  get #voice(): MediaStreamTrack | null {
    const isVoice = this.audio?.readyState === 'live' && this.audio !== this.#screenSound;
    return isVoice ? this.audio : null;
  }

  async #askVoice(): Promise<MediaStreamTrack | null> {
    const stream = await microphone(this.#choice.microphoneId).catch(() => null);
    return stream?.getAudioTracks()[0] ?? null;
  }

  #ended(track: MediaStreamTrack): void {
    if (track === this.video && this.#kind === 'screen') void this.#screenEnded();
    else if (track === this.video) void this.#lose('video');
    else if (track === this.audio && track !== this.#screenSound) void this.#lose('audio');
    else if (track === this.audio) this.#take(this.#kind, this.video, null);
  }

  async #lose(kind: TrackKind): Promise<void> {
    this.#set(kind, null);
    this.#missing.add(kind);
    this.#changed();
    await this.#find(kind);
  }

  async #find(kind: TrackKind): Promise<void> {
    const asked = await (kind === 'video' ? camera({ audio: false }) : microphone()).catch(() => null);
    const track = asked?.getTracks()[0];
    if (!track) return;
    // The host may have chosen something else meanwhile.
    if (!this.#missing.has(kind)) {
      track.stop();
      return;
    }
    this.#set(kind, track);
    // Nobody is shown or heard by another device without being told.
    this.#tell(deviceReplaced(kind, track.label));
    if (track.readyState === 'ended') this.#ended(track);
  }

  async #screenEnded(): Promise<void> {
    if (!this.#backToCamera) {
      this.#take(null, null, null);
      this.#tell(sharingEnded());
      return;
    }
    // The voice goes on while the browser asks for the camera.
    this.#take('camera', null, this.#voice);
    const { cameraId } = this.#choice;
    try {
      const picture = (await camera({ cameraId, audio: false })).getVideoTracks()[0] ?? null;
      // The host may have chosen something else meanwhile.
      if (this.video) picture?.stop();
      else this.#take('camera', picture, this.audio);
    } catch (error) {
      if (!this.video) this.#tell(liveError(error));
    }
  }

  #take(kind: SourceKind | null, video: MediaStreamTrack | null, audio: MediaStreamTrack | null): void {
    this.#set('video', video);
    this.#set('audio', audio);
    if (kind === null) this.#missing.clear();
    this.#kind = kind;
    this.#trouble = null;
    this.#changed();
    // What ended while the browser asked for the rest does not say so again.
    for (const track of [video, audio]) if (track?.readyState === 'ended') this.#ended(track);
  }

  /** Sends this track in place of the one of its kind, which ends. */
  #set(kind: TrackKind, track: MediaStreamTrack | null): void {
    const before = this[kind];
    if (before && before !== track) {
      this.stream.removeTrack(before);
      before.stop();
    }
    if (track && before !== track) {
      this.stream.addTrack(track);
      track.addEventListener('ended', () => this.#ended(track));
    }
    if (track) this.#missing.delete(kind);
    if (track && kind === 'audio') track.enabled = !this.#muted;
  }

  #tell(trouble: LiveError): void {
    this.#trouble = trouble;
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}

/** An error of ours, made of whatever was thrown. */
export function liveError(error: unknown): LiveError {
  return isLiveError(error) ? error : new LiveError('media/device-in-use', String(error));
}

function sharingEnded(): LiveError {
  return new LiveError('media/device-not-found', 'sharing has ended, and nobody sees or hears you now', {
    hint: 'Press Screen to share again, or Camera to show yourself.',
  });
}

const deviceNames: Readonly<Record<TrackKind, string>> = { video: 'the camera', audio: 'the microphone' };
const without: Readonly<Record<TrackKind, string>> = {
  video: 'Viewers see nothing of you.',
  audio: 'Viewers hear nothing of you.',
};

function deviceLost(kind: TrackKind): LiveError {
  return new LiveError('media/device-not-found', `${deviceNames[kind]} has stopped`, {
    hint: `${without[kind]} Plug it in again, or choose another one.`,
  });
}

function deviceReplaced(kind: TrackKind, label: string): LiveError {
  const other = label === '' ? 'the default one' : `“${label}”`;
  return new LiveError(
    'media/device-not-found',
    `${deviceNames[kind]} had stopped, and ${other} is in use now`,
    {
      hint: 'Choose another one if that is not the one you want.',
    },
  );
}
