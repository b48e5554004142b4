import {
  type CodecPick,
  codecPreferences,
  isRed,
  type Layer,
  sendEncodings,
  simulcastLayers,
  soundPreferences,
} from './encodings.ts';
import { LiveError } from './error.ts';
import type { PublishExplanation } from './explain.ts';
import { Handle, type HandleEvents, type Progress } from './handle.ts';
import type { TokenSource } from './http.ts';
import { type Bitrates, LayerSwitch } from './layer-switch.ts';
import { type ReconnectPolicy, reconnectDefault } from './retry.ts';
import { Session } from './session.ts';
import { type PublishStats, StatsReader } from './stats.ts';

/** Options of {@link publish}. */
export interface PublishOptions {
  /** The WHIP endpoint. */
  readonly url: string | URL;
  readonly source: MediaStream;
  readonly token?: TokenSource;
  /** True for three layers made for the source's size; false for one; or a list of your own. */
  readonly simulcast?: boolean | readonly Layer[];
  readonly codec?: CodecPick;
  /** bit/s of the highest layer. */
  readonly maxBitrate?: number;
  readonly reconnect?: ReconnectPolicy;
  readonly signal?: AbortSignal;
  /** May change the server's answer before the browser sees it. */
  readonly prepareAnswer?: (sdp: string) => string;
}

/** A reading of what is being sent, once a second while live. */
export class PublishStatsEvent extends Event {
  override readonly type = 'stats';
  readonly stats: PublishStats;

  constructor(stats: PublishStats) {
    super('stats');
    this.stats = stats;
  }
}

/** The events of a {@link Publish}. */
export interface PublishEvents extends HandleEvents {
  stats: PublishStatsEvent;
}

const statsIntervalMs = 1000;

/** Sends a `MediaStream` to a room until it is closed. Made by {@link publish}. */
export class Publish extends Handle<PublishEvents> {
  readonly #options: PublishOptions;
  readonly #tracks: Record<'audio' | 'video', MediaStreamTrack | null>;
  readonly #senders: Partial<Record<'audio' | 'video', RTCRtpSender>> = {};
  #switch: LayerSwitch | null = null;
  #session: Session | null = null;

  constructor(options: PublishOptions) {
    super({ reconnect: reconnectDefault(), ...options });
    this.#options = options;
    this.#tracks = {
      audio: options.source.getAudioTracks()[0] ?? null,
      video: options.source.getVideoTracks()[0] ?? null,
    };
    this.start();
  }

  /** The session's URL, null while there is none. */
  get sessionUrl(): URL | null {
    return this.#session?.url ?? null;
  }

  /**
   * Sends another track, or nothing, in place of the one before; no renegotiation. Bitrates that were made for the size of
   * the one before are made anew.
   */
  async replace(kind: 'audio' | 'video', track: MediaStreamTrack | null): Promise<void> {
    this.#tracks[kind] = track;
    await this.#senders[kind]?.replaceTrack(track);
    if (kind === 'video' && track) await this.#switch?.bound(this.#bitrates());
  }

  /** Asks the server why the session is as it is. Rejects with `session/not-found` while there is none. */
  async explain(options: { readonly signal?: AbortSignal } = {}): Promise<PublishExplanation> {
    const session = this.#session;
    if (!session) throw new LiveError('session/not-found', 'there is no session to explain');
    const explanation = await session.explain(options.signal);
    if (explanation.role !== 'publisher')
      throw new LiveError('protocol/bad-response', 'the explanation is of another role');
    return explanation;
  }

  protected override async attempt(progress: Progress, signal: AbortSignal): Promise<never> {
    const { url, token, prepareAnswer } = this.#options;
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const over = new AbortController();
    try {
      this.#addTracks(connection);
      const session = await Session.open({
        endpoint: new URL(url, globalThis.location?.href),
        connection,
        signal,
        ...(token === undefined ? {} : { token }),
        ...(prepareAnswer === undefined ? {} : { prepareAnswer }),
      });
      this.#session = session;
      const leave = (): void => void session.close({ keepalive: true });
      globalThis.addEventListener?.('pagehide', leave, { signal: over.signal });
      signal.addEventListener('abort', leave, { signal: over.signal });
      this.#followWishes(session, over.signal);
      progress.live();
      void this.#report(new StatsReader(connection), over.signal);
      const reason: LiveError = await session.lost;
      await session.giveUp(signal);
      throw reason;
    } finally {
      over.abort();
      connection.close();
      this.#session = null;
    }
  }

  /** Rests the layers that nobody watches, as the server says. */
  #followWishes({ room }: Session, signal: AbortSignal): void {
    const layers = this.#switch;
    if (!layers) return;
    room.on('layers', (event) => void layers.set(event.layers), { signal });
    void layers.set(room.layers);
  }

  #addTracks(connection: RTCPeerConnection): void {
    const { audio, video } = this.#tracks;
    const { source, simulcast = true, codec = 'auto' } = this.#options;
    // Both kinds are always offered, so that a microphone or camera can be added without a new session.
    const sound = connection.addTransceiver(audio ?? 'audio', { direction: 'sendonly', streams: [source] });
    const sounds = RTCRtpSender.getCapabilities('audio')?.codecs ?? [];
    if (takesPreferences(sound) && sounds.some(isRed)) sound.setCodecPreferences(soundPreferences(sounds));
    const layers = this.#layers();
    const top = layers.at(-1);
    const single = top ? [{ maxBitrate: top.maxBitrate }] : [];
    const encodings = simulcast === false ? single : sendEncodings(layers, codec);
    const picture = connection.addTransceiver(video ?? 'video', {
      direction: 'sendonly',
      streams: [source],
      sendEncodings: encodings,
    });
    if (codec !== 'auto') {
      if (!takesPreferences(picture))
        throw new LiveError('media/codec', 'no codec can be chosen', choiceHint);
      const available = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
      picture.setCodecPreferences(codecPreferences(available, codec));
    }
    this.#senders.audio = sound.sender;
    this.#senders.video = picture.sender;
    this.#switch = new LayerSwitch(picture.sender);
  }

  /** The layers for the size of what is being sent. */
  #layers(): readonly Layer[] {
    const { simulcast = true, maxBitrate } = this.#options;
    const height = this.#tracks.video?.getSettings().height ?? 720;
    return typeof simulcast === 'boolean' ? simulcastLayers(height, maxBitrate) : simulcast;
  }

  #bitrates(): Bitrates {
    const layers = this.#layers();
    if (this.#options.simulcast !== false)
      return new Map(layers.map(({ rid, maxBitrate }) => [rid, maxBitrate]));
    return new Map(layers.slice(-1).map(({ maxBitrate }) => ['', maxBitrate]));
  }

  async #report(reader: StatsReader, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const stats = await reader.publish().catch(() => null);
      if (stats && !signal.aborted) this.emit(new PublishStatsEvent(stats));
      await new Promise((resolve) => setTimeout(resolve, statsIntervalMs));
    }
  }
}

const choiceHint = { hint: 'Leave the codec to the browser: this one lets nobody choose.' };

/** Firefox before 128 lets nobody choose. */
function takesPreferences(transceiver: Partial<RTCRtpTransceiver>): boolean {
  return transceiver.setCodecPreferences !== undefined;
}

/** Goes live: sends `source` to the WHIP endpoint until `close`, through losses and refusals that pass. */
export function publish(options: PublishOptions): Publish {
  return new Publish(options);
}
