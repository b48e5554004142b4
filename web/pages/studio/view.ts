import type { Device, LiveError } from '../../sdk/index.ts';
import { byId, setText } from '../page-kit/dom.ts';
import { sentence } from '../page-kit/words.ts';

/** The elements of the studio's page. */
export class View {
  readonly state: HTMLElement = byId('state', HTMLElement);
  readonly viewers: HTMLElement = byId('viewers', HTMLElement);
  readonly room: HTMLElement = byId('room', HTMLElement);
  readonly preview: HTMLVideoElement = byId('preview', HTMLVideoElement);
  readonly previewEmpty: HTMLElement = byId('preview-empty', HTMLElement);
  readonly level: HTMLMeterElement = byId('level', HTMLMeterElement);
  readonly useCamera: HTMLButtonElement = byId('use-camera', HTMLButtonElement);
  readonly useScreen: HTMLButtonElement = byId('use-screen', HTMLButtonElement);
  readonly mute: HTMLButtonElement = byId('mute', HTMLButtonElement);
  readonly go: HTMLButtonElement = byId('go', HTMLButtonElement);
  readonly camera: HTMLSelectElement = byId('camera', HTMLSelectElement);
  readonly microphone: HTMLSelectElement = byId('microphone', HTMLSelectElement);
  readonly codec: HTMLSelectElement = byId('codec', HTMLSelectElement);
  readonly simulcast: HTMLSelectElement = byId('simulcast', HTMLSelectElement);
  readonly layers: HTMLElement = byId('layers', HTMLElement);
  readonly network: HTMLElement = byId('network', HTMLElement);
  readonly viewerLink: HTMLAnchorElement = byId('viewer-link', HTMLAnchorElement);
  readonly copy: HTMLButtonElement = byId('copy', HTMLButtonElement);
  readonly #notice: HTMLElement = byId('notice', HTMLElement);
  readonly #noticeText: HTMLElement = byId('notice-text', HTMLElement);
  readonly #noticeHint: HTMLElement = byId('notice-hint', HTMLElement);

  /** Says what went wrong and what to do; null clears it. */
  notice(error: LiveError | null): void {
    this.#notice.hidden = error === null;
    setText(this.#noticeText, error ? sentence(error) : '');
    setText(this.#noticeHint, error?.hint ?? '');
  }

  /** Writes the names of the room's addresses. */
  addresses(room: string): void {
    const { origin } = location;
    const viewer = new URL(`/r/${room}`, origin).href;
    const whip = new URL(`/whip/${room}`, origin).href;
    setText(this.room, room);
    this.viewerLink.href = viewer;
    setText(this.viewerLink, viewer);
    setText(byId('whip-url', HTMLElement), whip);
    const command =
      'ffmpeg -re -i in.mp4 -c:v libx264 -profile:v baseline -bf 0 -g 30 -tune zerolatency -c:a libopus -ar 48000 -ac 2';
    setText(byId('ffmpeg', HTMLElement), `${command} -f whip ${whip}`);
  }

  /** Offers these devices; the one in use stays chosen. */
  offer(devices: readonly Device[], video: MediaStreamTrack | null, audio: MediaStreamTrack | null): void {
    fill(
      this.camera,
      devices.filter(({ kind }) => kind === 'camera'),
      video?.getSettings().deviceId,
    );
    fill(
      this.microphone,
      devices.filter(({ kind }) => kind === 'microphone'),
      audio?.getSettings().deviceId,
    );
  }
}

function fill(select: HTMLSelectElement, devices: readonly Device[], current: string | undefined): void {
  select.disabled = devices.length === 0;
  if (devices.length === 0) return;
  const before = current ?? select.value;
  select.replaceChildren(...devices.map(({ id, label }) => new Option(label, id)));
  if (devices.some(({ id }) => id === before)) select.value = before;
}
