import { isLiveError, LiveError } from './error.ts';
import { decodeExplanation, type Explanation } from './explain.ts';
import { readJson, readText, request, type TokenSource } from './http.ts';
import { iceServers, type Link, parseLinkHeader } from './link-header.ts';
import { RoomChannel } from './room-channel.ts';
import { applyRestart, buildFragment, iceCredentials, parseRestartAnswer } from './sdp-fragment.ts';
import { within } from './signals.ts';
import { Trickle } from './trickle.ts';

/** Options of {@link Session.open}. */
export interface SessionOptions {
  /** The WHIP or WHEP endpoint. */
  readonly endpoint: URL;
  /** Carries the transceivers already; the session closes it at its end. */
  readonly connection: RTCPeerConnection;
  readonly token?: TokenSource;
  readonly signal: AbortSignal;
  /** May change the server's answer before the browser sees it. */
  readonly prepareAnswer?: (sdp: string) => string;
}

const sdpType = 'application/sdp';
const fragmentType = 'application/trickle-ice-sdpfrag';
const connectTimeoutMs = 10_000;
/** Browsers flip to `disconnected` and back after one lost check; only then is a restart worth it. */
const disconnectedGraceMs = 2500;
/** For all of a restart: over a path that is silent its request is never answered. */
const restartTimeoutMs = 4000;
/** Over most paths a DELETE takes less. */
const giveUpMs = 500;

/** One negotiated link to the server, by WHIP (RFC 9725) or WHEP. It repairs its path by ICE restart, once per loss. */
export class Session {
  readonly url: URL;
  readonly links: readonly Link[];
  /** The room protocol beside the media; closed where the server has no data channels. */
  readonly room: RoomChannel;
  /** Settles when the session is over for good, with the reason. Never rejects. */
  readonly lost: Promise<LiveError>;

  readonly #connection: RTCPeerConnection;
  readonly #token: TokenSource | undefined;
  readonly #trickle: Trickle;
  readonly #ended = new AbortController();
  #etag: string | null;
  #lose: (reason: LiveError) => void = () => undefined;
  #repairing = false;
  #closing: Promise<void> | null = null;

  private constructor(created: Created, options: SessionOptions, trickle: Trickle, room: RoomChannel) {
    this.url = created.location;
    this.links = created.links;
    this.room = room;
    this.#etag = created.etag;
    this.#connection = options.connection;
    this.#token = options.token;
    this.#trickle = trickle;
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
  }

  /** Negotiates and connects. Rejects with a {@link LiveError}; then nothing is left open, here or on the server. */
  static async open(options: SessionOptions): Promise<Session> {
    const { connection, signal } = options;
    const trickle = new Trickle(connection, signal);
    const room = new RoomChannel(connection);
    let session: Session | null = null;
    try {
      const offer = await connection.createOffer();
      // Gathering and the request run side by side.
      const [created] = await Promise.all([
        post(options, offer.sdp ?? ''),
        connection.setLocalDescription(offer),
      ]);
      session = new Session(created, options, trickle, room);
      signal.throwIfAborted();
      const servers = iceServers(created.links);
      if (servers.length > 0)
        connection.setConfiguration({ ...connection.getConfiguration(), iceServers: servers });
      const sdp = options.prepareAnswer?.(created.answer) ?? created.answer;
      await setAnswer(connection, sdp);
      session.#startTrickle();
      await connected(connection, signal, connectTimeoutMs);
      session.#guard();
      return session;
    } catch (error) {
      if (session) await session.giveUp(signal);
      else connection.close();
      throw error;
    }
  }

  /** The secret id: the last part of the session's URL. */
  get id(): string {
    return this.url.pathname.split('/').at(-1) ?? '';
  }

  /** Moves the session to a new network path (RFC 9725 §4.3.2). */
  async restart(signal: AbortSignal = this.#ended.signal): Promise<void> {
    const connection = this.#connection;
    const before = connection.remoteDescription?.sdp;
    if (before === undefined) return;
    this.#trickle.pause();
    await connection.setLocalDescription(await connection.createOffer({ iceRestart: true }));
    const credentials = iceCredentials(connection.localDescription?.sdp ?? '');
    if (!credentials) throw new LiveError('net/ice-failed', 'the browser gave no ICE credentials');
    const first = connection.getTransceivers()[0];
    const kind = first?.receiver.track.kind ?? 'video';
    const parts = { credentials, mid: first?.mid ?? '0', kind, candidates: [], endOfCandidates: false };
    const response = await this.#patch(buildFragment(parts), '*', signal);
    const answer = parseRestartAnswer(await readText(response, signal));
    if (!answer)
      throw new LiveError('protocol/bad-response', 'the answer to the ICE restart has no credentials');
    this.#etag = response.headers.get('ETag') ?? this.#etag;
    await setAnswer(connection, applyRestart(before, answer));
    this.#startTrickle();
  }

  /** Asks the server why the session is as it is: by the data channel where there is one, else by HTTP. */
  async explain(signal?: AbortSignal): Promise<Explanation> {
    const explanation = decodeExplanation(await this.#ask(signal));
    if (!explanation) throw new LiveError('protocol/bad-response', 'the server gave no explanation');
    return explanation;
  }

  async #ask(signal: AbortSignal | undefined): Promise<unknown> {
    if (this.room.isOpen) {
      try {
        return (await this.room.request('explain', signal))['explain'];
      } catch (error) {
        if (!isLiveError(error, 'net/timeout') && !isLiveError(error, 'net/unreachable')) throw error;
      }
    }
    const url = new URL(`/api/v1/sessions/${this.id}/explain`, this.url);
    const response = await request(url, { method: 'GET', ...(signal ? { signal } : {}), ...this.#auth() });
    return readJson(response, signal);
  }

  /** Ends the session here and on the server. Idempotent; `keepalive` lets the request outlive the page. */
  close(options: { readonly keepalive?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#end(options.keepalive ?? false);
    return this.#closing;
  }

  /**
   * Closes it to make room for the next one: the DELETE goes first, but its answer may never come. Only when `signal` says
   * that there is no next one it is waited for.
   */
  async giveUp(signal: AbortSignal): Promise<void> {
    const closed = this.close();
    const moment = new Promise<void>((resolve) => setTimeout(resolve, giveUpMs));
    await (signal.aborted ? closed : Promise.race([closed, moment]));
  }

  async #end(keepalive: boolean): Promise<void> {
    this.#ended.abort();
    const done = request(this.url, { method: 'DELETE', keepalive, ...this.#auth() });
    this.#connection.close();
    this.#lose(new LiveError('session/not-found', 'the session was closed here'));
    await done.catch(() => undefined);
  }

  /** Watches the link; tries one repair when it fails. */
  #guard(): void {
    const { signal } = this.#ended;
    const connection = this.#connection;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const check = (): void => {
      clearTimeout(timer);
      const state = connection.connectionState;
      if (state === 'disconnected') timer = setTimeout(() => void this.#repair(), disconnectedGraceMs);
      if (state === 'failed') void this.#repair();
      if (state === 'closed') this.#lose(new LiveError('net/ice-failed', 'the connection was closed'));
    };
    connection.addEventListener('connectionstatechange', check, { signal });
    for (const transport of transports(connection)) {
      const onState = (): void => {
        if (transport.state === 'closed' || transport.state === 'failed') {
          this.#lose(new LiveError('session/not-found', 'the server ended the session'));
        }
      };
      transport.addEventListener('statechange', onState, { signal });
    }
    check();
  }

  async #repair(): Promise<void> {
    const { signal } = this.#ended;
    if (this.#repairing || signal.aborted) return;
    this.#repairing = true;
    const inTime = within(restartTimeoutMs, signal);
    try {
      await this.restart(inTime);
      await connected(this.#connection, inTime, restartTimeoutMs);
    } catch (cause) {
      const known = cause instanceof LiveError ? cause : null;
      const retryable = known?.retryable === true;
      this.#lose(
        retryable ? known : new LiveError('net/ice-failed', 'the path to the server is lost', { cause }),
      );
    }
    this.#repairing = false;
  }

  #startTrickle(): void {
    const etag = this.#etag;
    // Without an entity tag the server does not take candidates one by one (RFC 9725 §4.3.1).
    if (etag) this.#trickle.start(async (fragment) => void (await this.#patch(fragment, etag)));
  }

  #patch(body: string, etag: string, signal: AbortSignal = this.#ended.signal): Promise<Response> {
    const headers = { 'Content-Type': fragmentType, 'If-Match': etag };
    return request(this.url, { method: 'PATCH', headers, body, signal, ...this.#auth() });
  }

  #auth(): { readonly token?: TokenSource } {
    return this.#token === undefined ? {} : { token: this.#token };
  }
}

interface Created {
  readonly location: URL;
  readonly etag: string | null;
  readonly links: readonly Link[];
  readonly answer: string;
}

async function post({ endpoint, token, signal }: SessionOptions, body: string): Promise<Created> {
  const headers = { 'Content-Type': sdpType, Accept: sdpType };
  const auth = token === undefined ? {} : { token };
  const response = await request(endpoint, { method: 'POST', headers, body, signal, ...auth });
  const location = response.headers.get('Location');
  const type = response.headers.get('Content-Type') ?? '';
  if (response.status !== 201 || !location || !type.startsWith(sdpType)) {
    const missing = location ? `status ${response.status}, type ${type || 'none'}` : 'no Location header';
    throw new LiveError('protocol/bad-response', `expected 201 with an SDP answer, got ${missing}`);
  }
  const links = parseLinkHeader(response.headers.get('Link'));
  const url = new URL(location, response.url || endpoint);
  try {
    const answer = await readText(response, signal);
    return { location: url, etag: response.headers.get('ETag'), links, answer };
  } catch (error) {
    // The session is there, and nobody will use it.
    void request(url, { method: 'DELETE', ...auth }).catch(() => undefined);
    throw error;
  }
}

async function setAnswer(connection: RTCPeerConnection, sdp: string): Promise<void> {
  try {
    await connection.setRemoteDescription({ type: 'answer', sdp });
  } catch (cause) {
    throw new LiveError('protocol/bad-response', 'the browser refused the answer of the server', { cause });
  }
}

function connected(connection: RTCPeerConnection, signal: AbortSignal, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    const finish = (done: () => void): void => {
      over.abort();
      clearTimeout(timer);
      done();
    };
    const fail = (message: string): void => finish(() => reject(new LiveError('net/ice-failed', message)));
    const timer = setTimeout(() => fail(`no media path within ${timeoutMs / 1000} s`), timeoutMs);
    const check = (): void => {
      if (connection.connectionState === 'connected') finish(resolve);
      if (connection.connectionState === 'failed') fail('no media path works');
      if (connection.connectionState === 'closed') fail('the connection was closed');
    };
    connection.addEventListener('connectionstatechange', check, { signal: over.signal });
    signal.addEventListener('abort', () => finish(() => reject(signal.reason)), { signal: over.signal });
    if (signal.aborted) return finish(() => reject(signal.reason));
    check();
  });
}

function transports(connection: RTCPeerConnection): Set<RTCDtlsTransport> {
  const all = connection
    .getTransceivers()
    .flatMap(({ sender, receiver }) => [sender.transport, receiver.transport]);
  return new Set([...all, connection.sctp?.transport ?? null].filter((transport) => transport !== null));
}
