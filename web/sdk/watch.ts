import { discover, isSending, type Quality, type RoomInfo } from './discovery.ts';
import { isLiveError, LiveError } from './error.ts';
import type { WatchExplanation } from './explain.ts';
import { Handle, type HandleEvents, type Progress } from './handle.ts';
import { request, type TokenSource } from './http.ts';
import { type Latency, LatencyMeter } from './latency.ts';
import { type Autoplay, type Playback, Player } from './player.ts';
import { expected, type QualityPick, stalled } from './quality-pick.ts';
import { isWaiting, type ReconnectPolicy, reconnectDefault } from './retry.ts';
import { Session } from './session.ts';
import { within } from './signals.ts';
import { StallWatch } from './stall.ts';
import { StatsReader, type WatchStats } from './stats.ts';
import { PlaybackEvent, QualitiesEvent, RoomEvent, WatchStatsEvent } from './watch-events.ts';

/** Options of {@link watch}. */
export interface WatchOptions {
  /** The room's page; its endpoints are discovered. The WHEP endpoint itself works too. */
  readonly url: string | URL;
  readonly video: HTMLVideoElement;
  readonly token?: TokenSource;
  readonly autoplay?: Autoplay;
  readonly quality?: QualityPick;
  readonly reconnect?: ReconnectPolicy;
  readonly signal?: AbortSignal;
  /** May change the server's answer before the browser sees it. */
  readonly prepareAnswer?: (sdp: string) => string;
}

/** The events of a {@link Watch}. */
export interface WatchEvents extends HandleEvents {
  playback: PlaybackEvent;
  qualities: QualitiesEvent;
  room: RoomEvent;
  stats: WatchStatsEvent;
}

/** How often the stream is looked at. */
const tickMs = 500;
/** Every so many ticks the room is asked for its layers and viewers; more often in the first seconds. */
const roomTicks = 10;
const roomTicksEarly = 3;
/**
 * A server that does not explain a missing picture for so long is taken for gone. A path that is just too narrow may need
 * it: first the data channel is tried, for half of it.
 */
const explainTimeoutMs = 6000;

/** Plays a room in a `<video>` until it is closed. Made by {@link watch}. */
export class Watch extends Handle<WatchEvents> {
  readonly #options: WatchOptions;
  readonly #player: Player;
  #session: Session | null = null;
  #qualities: readonly Quality[] = [];
  #selected: QualityPick;
  /** The pick that the session's server took last. */
  #taken: QualityPick = 'auto';
  /** How often a pick was asked for. */
  #asks = 0;
  #isSoundless = false;
  #latency: Latency | null = null;

  constructor(options: WatchOptions) {
    super({ reconnect: reconnectDefault(), ...options });
    this.#options = options;
    this.#selected = options.quality ?? 'auto';
    this.#player = new Player(options.video, (playback) => this.emit(new PlaybackEvent(playback)));
    this.start();
  }

  /** The session's URL, null while there is none. */
  get sessionUrl(): URL | null {
    return this.#session?.url ?? null;
  }

  get playback(): Playback {
    return this.#player.playback;
  }

  /** Highest first; empty until known. */
  get qualities(): readonly Quality[] {
    return this.#qualities;
  }

  get selected(): QualityPick {
    return this.#selected;
  }

  get latency(): Latency | null {
    return this.#latency;
  }

  /** Plays after the browser refused to. Call it from a click. */
  play(): Promise<void> {
    return this.#player.setMuted(false);
  }

  /** Turns the sound on or off. Call it from a click. */
  setMuted(muted: boolean): Promise<void> {
    return this.#player.setMuted(muted);
  }

  /**
   * Asks the server for another pick; it goes over at the next keyframe. A new session asks again. Rejects where the
   * server does not take it; then the one before stays selected.
   */
  async setQuality(pick: QualityPick): Promise<void> {
    this.#selected = pick;
    this.#asks += 1;
    if (this.#session) await this.#choose(this.#session, pick);
  }

  /** Asks the server why the session is as it is. Rejects with `session/not-found` while there is none. */
  async explain(options: { readonly signal?: AbortSignal } = {}): Promise<WatchExplanation> {
    const session = this.#session;
    if (!session) throw new LiveError('session/not-found', 'there is no session to explain');
    const explanation = await session.explain(options.signal);
    if (explanation.role !== 'viewer')
      throw new LiveError('protocol/bad-response', 'the explanation is of another role');
    return explanation;
  }

  protected override async attempt(progress: Progress, signal: AbortSignal): Promise<never> {
    const room = await this.#find(signal);
    this.#learn(room);
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const over = new AbortController();
    try {
      const audio = connection.addTransceiver('audio', { direction: 'recvonly' });
      const video = connection.addTransceiver('video', { direction: 'recvonly' });
      const { prepareAnswer } = this.#options;
      const session = await Session.open({
        endpoint: room.whep,
        connection,
        signal,
        ...this.#auth(),
        ...(prepareAnswer === undefined ? {} : { prepareAnswer }),
      });
      this.#session = session;
      const leave = (): void => void session.close({ keepalive: true });
      globalThis.addEventListener?.('pagehide', leave, { signal: over.signal });
      signal.addEventListener('abort', leave, { signal: over.signal });
      const { autoplay = 'sound' } = this.#options;
      void this.#player.show(new MediaStream([audio.receiver.track, video.receiver.track]), autoplay);
      const refusal = await this.#chooseAgain(session);
      const reason =
        refusal ??
        (await Promise.race([session.lost, this.#observe(session, connection, progress, over.signal)]));
      await session.giveUp(signal);
      throw reason;
    } finally {
      over.abort();
      connection.close();
      this.#session = null;
    }
  }

  async #choose(session: Session, pick: QualityPick): Promise<void> {
    const ask = this.#asks;
    const body = JSON.stringify(typeof pick === 'object' && 'id' in pick ? { rid: pick.id } : pick);
    const headers = { 'Content-Type': 'application/json' };
    const url = new URL(`/api/v1/sessions/${session.id}/layer`, session.url);
    try {
      await request(url, { method: 'PUT', headers, body, ...this.#auth() });
    } catch (error) {
      // Something else may have been asked for meanwhile.
      if (ask === this.#asks) this.#selected = this.#taken;
      throw error;
    }
    if (session === this.#session) this.#taken = pick;
  }

  /** Asks a new session for what is selected. Gives the failure for which another session should be tried. */
  async #chooseAgain(session: Session): Promise<LiveError | null> {
    const pick = this.#selected;
    this.#taken = 'auto';
    this.#asks += 1;
    if (pick === 'auto') return null;
    const ask = this.#asks;
    try {
      await this.#choose(session, pick);
    } catch (error) {
      // A server that knows no picks answers that there is nothing.
      if (!isLiveError(error) || !error.retryable || isWaiting(error)) return null;
      if (ask === this.#asks) this.#selected = pick;
      return error;
    }
    return null;
  }

  /** Finds the WHEP endpoint; rejects with `stream/offline` while nobody is live, which costs no offer. */
  async #find(signal: AbortSignal): Promise<RoomInfo> {
    const url = new URL(this.#options.url, globalThis.location?.href);
    let room: RoomInfo;
    try {
      room = await discover(url, { signal, ...this.#auth() });
    } catch (error) {
      if (!isLiveError(error, 'protocol/bad-response')) throw error;
      return { whep: url, whip: null, live: true, viewers: 0, qualities: [] };
    }
    if (!room.live) throw new LiveError('stream/offline', 'nobody is live in this room');
    return room;
  }

  /** Follows one session: state, figures, room. Settles when the picture is gone though the room is live. */
  async #observe(
    session: Session,
    connection: RTCPeerConnection,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<LiveError> {
    const reader = new StatsReader(connection);
    const meter = new LatencyMeter(this.#options.video);
    const stall = new StallWatch(this.#isSoundless);
    let sending = true;
    let soundOnly = false;
    let looking = false;
    // Beside the ticks: over a path that is silent an answer takes long, or never comes.
    const look = async (): Promise<void> => {
      looking = true;
      sending = (await this.#look(signal)) ?? sending;
      if (soundOnly) soundOnly = await hasPathForSoundOnly(session, signal);
      looking = false;
    };
    signal.addEventListener('abort', () => meter.close());
    for (let tick = 1; !signal.aborted; tick += 1) {
      await new Promise((resolve) => setTimeout(resolve, tickMs));
      const stats = await reader.watch().catch(() => null);
      if (!stats || signal.aborted) continue;
      const now = performance.now();
      // Where no picture is sent, to anybody or to us, something is missing unless sound is heard.
      const wish = expected(this.#selected);
      const wanted = !sending || (soundOnly && wish === 'picture') ? 'either' : wish;
      const flow = this.#options.video.ownerDocument.hidden ? 'hidden' : stall.look(stats, now, wanted);
      this.#isSoundless = stall.isSoundless;
      // Who expects nothing misses nothing on a path that is gone: only one that stands is live.
      if (flow === 'flowing' && connection.connectionState === 'connected') progress.live();
      if (tick % 2 === 0) this.#report(stats, meter);
      const due = tick % (tick < 20 ? roomTicksEarly : roomTicks) === 0;
      if ((due || flow === 'frozen') && !looking) void look();
      if (flow !== 'frozen' || (sending && !stall.lasted(now))) continue;
      if (sending) soundOnly = await hasPathForSoundOnly(session, signal);
      else progress.waiting();
      if (sending && !soundOnly) break;
      stall.reset(performance.now());
    }
    return stalled(this.#selected);
  }

  /** Asks for the room; false when it is silent by its own doing, null when nobody says: that proves nothing. */
  async #look(signal: AbortSignal): Promise<boolean | null> {
    try {
      const room = await this.#find(signal);
      this.#learn(room);
      return isSending(room);
    } catch (error) {
      return isLiveError(error, 'stream/offline') || isLiveError(error, 'room/not-found') ? false : null;
    }
  }

  #report(stats: WatchStats, meter: LatencyMeter): void {
    this.#latency = meter.read(stats);
    this.emit(new WatchStatsEvent(stats, this.#latency));
  }

  #learn(room: RoomInfo): void {
    this.emit(new RoomEvent(room.live, room.viewers));
    if (JSON.stringify(room.qualities) === JSON.stringify(this.#qualities)) return;
    this.#qualities = room.qualities;
    this.emit(new QualitiesEvent(room.qualities));
  }

  #auth(): { readonly token?: TokenSource } {
    const { token } = this.#options;
    return token === undefined ? {} : { token };
  }
}

/** Whether the server leaves the picture out on purpose, because the path carries no more than sound. */
async function hasPathForSoundOnly(session: Session, signal: AbortSignal): Promise<boolean> {
  const inTime = within(explainTimeoutMs, signal);
  const explanation = await session.explain(inTime).catch(() => null);
  return explanation?.reason === 'audio-only';
}

/** Watches a room: plays as soon as somebody is live, and goes on through losses, restarts and takeovers. */
export function watch(options: WatchOptions): Watch {
  return new Watch(options);
}
