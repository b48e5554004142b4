import { beforeEach, expect, test, vi } from 'vitest';
import { Source } from '../../pages/studio/source.ts';

const choice = { cameraId: '', microphoneId: '' };

beforeEach(() => {
  vi.stubGlobal('isSecureContext', true);
  vi.stubGlobal('MediaStream', FakeStream);
});

test('another microphone changes the sound of a shared screen, and never its picture', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useScreen();
  const [picture, before] = [source.video, source.audio];

  await source.chooseMicrophone({ cameraId: '', microphoneId: 'other' });

  expect(source.kind).toBe('screen');
  expect(source.video).toBe(picture);
  expect(picture?.readyState).toBe('live');
  expect(source.audio?.getSettings().deviceId).toBe('other');
  expect(before?.readyState).toBe('ended');
  expect(media.asked('camera')).toBe(0);
});

test('another camera is only remembered while a screen is shown', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useScreen();

  await source.chooseCamera({ cameraId: 'other', microphoneId: '' });

  expect(source.kind).toBe('screen');
  expect(media.asked('camera')).toBe(0);
});

test('a host who never showed the camera is not shown when sharing ends, and is told so', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useScreen();
  const voice = source.audio;

  media.last('screen')?.end();
  await settled();

  expect(source.kind).toBeNull();
  expect(source.stream.getTracks()).toEqual([]);
  expect(voice?.readyState, 'nor heard').toBe('ended');
  expect(media.asked('camera')).toBe(0);
  expect(source.trouble?.message).toContain('sharing has ended');
  expect(source.trouble?.hint).toContain('Camera');
});

test('the end of a share leads back to the camera that was shown before, and the voice goes on', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useCamera({ cameraId: 'chosen', microphoneId: '' });
  const voice = source.audio;
  await source.useScreen();

  media.last('screen')?.end();
  await settled();

  expect(source.kind).toBe('camera');
  expect(source.video?.getSettings().deviceId).toBe('chosen');
  expect(source.audio).toBe(voice);
  expect(voice?.readyState).toBe('live');
  expect(source.trouble).toBeNull();
});

test('a camera that does not start again after sharing is told, and nothing looks chosen', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useCamera(choice);
  await source.useScreen();
  media.refuse('camera', 'NotReadableError');

  media.last('screen')?.end();
  await settled();

  expect(source.kind).toBeNull();
  expect(source.video).toBeNull();
  expect(source.trouble?.code).toBe('media/device-in-use');
});

test('a screen that is shared while the browser asks for the camera stays', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useCamera(choice);
  await source.useScreen();
  const answer = media.hold('camera');
  media.last('screen')?.end();
  await source.useScreen();
  const picture = source.video;

  answer();
  await settled();

  expect(source.kind).toBe('screen');
  expect(source.video).toBe(picture);
  expect(media.last('camera')?.readyState, 'the late camera is let go').toBe('ended');
});

test('a second screen is heard with its own sound, not with that of the first', async () => {
  const media = new FakeDevices();
  media.refuse('microphone', 'NotFoundError');
  const source = new Source();
  await source.useScreen();
  const first = source.audio;

  await source.useScreen();

  expect(source.audio).toBe(media.last('screen sound'));
  expect(source.audio?.readyState).toBe('live');
  expect(first?.readyState).toBe('ended');
});

test('a second screen is spoken over with the same microphone', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useScreen();
  const voice = source.audio;

  await source.useScreen();

  expect(source.audio).toBe(voice);
  expect(voice?.readyState).toBe('live');
  expect(media.last('screen sound')?.readyState, 'its own sound is not used').toBe('ended');
});

test.each([
  ['camera', 'video'],
  ['microphone', 'audio'],
] as const)(
  'a %s that is unplugged is replaced by the default one, and the host is told',
  async (origin, kind) => {
    const media = new FakeDevices();
    const source = new Source();
    await source.useCamera({ cameraId: 'chosen', microphoneId: 'chosen' });
    source.setMuted(true);
    const [picture, voice] = [source.video, source.audio];

    media.last(origin)?.end();
    await settled();

    expect(source.kind).toBe('camera');
    expect(source[kind]?.readyState).toBe('live');
    expect(source[kind]?.getSettings().deviceId).toBe('');
    expect(source.audio?.enabled, 'it stays muted').toBe(false);
    expect(kind === 'video' ? source.audio : source.video, 'the other track goes on').toBe(
      kind === 'video' ? voice : picture,
    );
    expect(source.trouble?.message).toContain(`the ${origin} had stopped, and “default ${origin}”`);
  },
);

test('a camera with none to replace it looks no longer chosen, and is taken again when one is plugged in', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useCamera(choice);
  const voice = source.audio;
  media.refuse('camera', 'NotFoundError');

  media.last('camera')?.end();
  await settled();

  expect(source.kind).toBeNull();
  expect(source.audio, 'the voice goes on').toBe(voice);
  expect(source.trouble?.message).toBe('the camera has stopped');
  expect(source.trouble?.code).toBe('media/device-not-found');
  await source.chooseMicrophone({ cameraId: '', microphoneId: 'other' });
  expect(source.trouble?.message, 'it is still missing').toBe('the camera has stopped');

  media.allow('camera');
  await source.mend();

  expect(source.kind).toBe('camera');
  expect(source.video?.readyState).toBe('live');
});

test('a camera is not taken again once a screen is shown instead', async () => {
  const media = new FakeDevices();
  const source = new Source();
  await source.useCamera(choice);
  media.refuse('camera', 'NotFoundError');
  media.last('camera')?.end();
  await settled();

  await source.useScreen();
  media.allow('camera');
  await source.mend();

  expect(source.kind).toBe('screen');
  expect(source.video).toBe(media.last('screen'));
  expect(source.trouble).toBeNull();
});

test('a screen whose sound ends is sent without', async () => {
  const media = new FakeDevices();
  media.refuse('microphone', 'NotFoundError');
  const source = new Source();
  await source.useScreen();
  media.allow('microphone');

  media.last('screen sound')?.end();
  await settled();

  expect(source.kind).toBe('screen');
  expect(source.audio, 'no microphone is taken instead').toBeNull();
});

type Origin = 'camera' | 'microphone' | 'screen' | 'screen sound';

/** A track that a test can end as a browser does. */
class FakeTrack extends EventTarget {
  readonly kind: 'audio' | 'video';
  readonly origin: Origin;
  readonly #deviceId: string;
  readonly label: string;
  readyState = 'live';
  enabled = true;

  constructor(origin: Origin, deviceId = '') {
    super();
    this.kind = origin === 'camera' || origin === 'screen' ? 'video' : 'audio';
    this.origin = origin;
    this.#deviceId = deviceId;
    this.label = `${deviceId || 'default'} ${origin}`;
  }

  getSettings(): MediaTrackSettings {
    return { deviceId: this.#deviceId };
  }

  stop(): void {
    this.readyState = 'ended';
  }

  end(): void {
    this.stop();
    this.dispatchEvent(new Event('ended'));
  }
}

class FakeStream {
  #tracks: FakeTrack[];

  constructor(tracks: FakeTrack[] = []) {
    this.#tracks = tracks;
  }

  getTracks(): FakeTrack[] {
    return [...this.#tracks];
  }

  getVideoTracks(): FakeTrack[] {
    return this.#tracks.filter(({ kind }) => kind === 'video');
  }

  getAudioTracks(): FakeTrack[] {
    return this.#tracks.filter(({ kind }) => kind === 'audio');
  }

  addTrack(track: FakeTrack): void {
    this.#tracks.push(track);
  }

  removeTrack(track: FakeTrack): void {
    this.#tracks = this.#tracks.filter((other) => other !== track);
  }
}

/** The browser's devices: they give tracks, or refuse, and remember what they gave. */
class FakeDevices {
  readonly #given: FakeTrack[] = [];
  readonly #refused = new Map<Origin, string>();
  readonly #held = new Map<Origin, Promise<void>>();

  constructor() {
    vi.stubGlobal('navigator', { mediaDevices: this });
  }

  asked(origin: Origin): number {
    return this.#given.filter((track) => track.origin === origin).length;
  }

  last(origin: Origin): FakeTrack | undefined {
    return this.#given.filter((track) => track.origin === origin).at(-1);
  }

  allow(origin: Origin): void {
    this.#refused.delete(origin);
  }

  refuse(origin: Origin, name: string): void {
    this.#refused.set(origin, name);
  }

  /** Lets the next answers wait until the returned function is called. */
  hold(origin: Origin): () => void {
    let release = (): void => undefined;
    this.#held.set(origin, new Promise((resolve) => (release = resolve)));
    return release;
  }

  async getUserMedia({ video, audio }: MediaStreamConstraints): Promise<FakeStream> {
    const tracks: FakeTrack[] = [];
    if (video) tracks.push(await this.#give('camera', deviceOf(video)));
    if (audio) tracks.push(await this.#give('microphone', deviceOf(audio)));
    return new FakeStream(tracks);
  }

  async getDisplayMedia(): Promise<FakeStream> {
    return new FakeStream([await this.#give('screen'), await this.#give('screen sound')]);
  }

  async #give(origin: Origin, deviceId = ''): Promise<FakeTrack> {
    await this.#held.get(origin);
    const name = this.#refused.get(origin);
    if (name !== undefined) throw new DOMException('refused by the test', name);
    const track = new FakeTrack(origin, deviceId);
    this.#given.push(track);
    return track;
  }
}

function deviceOf(constraints: MediaTrackConstraints | true): string {
  const id = constraints === true ? undefined : constraints.deviceId;
  return typeof id === 'object' && 'exact' in id ? String(id.exact) : '';
}

/** Every promise that waits for nothing but promises has settled. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
