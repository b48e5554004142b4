import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { TokenSource } from '../../sdk/http.ts';
import { Session } from '../../sdk/session.ts';

const sessionUrl = 'http://server.example/whep/demo/s1';

/** What goes out, in order. */
let sent: string[];
/** What the server answers, by method. */
let answers: Record<string, () => Response | Promise<Response>>;

beforeEach(() => {
  vi.useFakeTimers();
  // The timers of the tests do not know this one.
  vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new DOMException('late', 'TimeoutError')), ms);
    return controller.signal;
  });
  sent = [];
  answers = { POST: () => created('v=0\r\n') };
  vi.stubGlobal('fetch', async (_url: URL, { method, signal }: RequestInit) => {
    sent.push(method ?? '');
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason));
    });
    return Promise.race([answers[method ?? '']?.() ?? new Response(null, { status: 200 }), aborted]);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('an answer that is cut off is the network’s failure, and its session is ended', async () => {
  answers['POST'] = () => created(cut(new TypeError('terminated')));

  await expect(open()).rejects.toMatchObject({ code: 'net/unreachable', retryable: true });

  expect(sent).toEqual(['POST', 'DELETE']);
});

test('a path that swallows everything is given up four seconds after its repair began', async () => {
  const connection = new FakeConnection();
  const session = await open(connection);
  const lost = vi.fn();
  void session.lost.then(lost);
  answers['PATCH'] = never;

  connection.enter('failed');
  await vi.advanceTimersByTimeAsync(3900);
  expect(sent).toEqual(['POST', 'PATCH']);
  expect(lost).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(100);

  expect(lost).toHaveBeenCalledWith(expect.objectContaining({ code: 'net/ice-failed' }));
});

test('a token that does not come holds up no repair', async () => {
  const connection = new FakeConnection();
  const tokens = [Promise.resolve('abc'), never<string>()];
  const session = await open(connection, () => tokens.shift() ?? 'abc');
  const lost = vi.fn();
  void session.lost.then(lost);

  connection.enter('failed');
  await vi.advanceTimersByTimeAsync(4000);

  expect(lost).toHaveBeenCalledWith(expect.objectContaining({ code: 'net/ice-failed' }));
});

test('the answer to the DELETE is waited for only by who begins no other session', async () => {
  answers['DELETE'] = never;
  const left = vi.fn();
  const closed = vi.fn();

  void (await open()).giveUp(new AbortController().signal).then(left);
  void (await open()).giveUp(AbortSignal.abort()).then(closed);
  expect(sent.filter((method) => method === 'DELETE')).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(500);
  expect(left).toHaveBeenCalled();
  expect(closed).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(7500);

  expect(closed).toHaveBeenCalled();
});

test('an attempt that finds no path does not wait for a server that is silent', async () => {
  const connection = new FakeConnection();
  connection.connectionState = 'connecting';
  answers['DELETE'] = never;
  const failed = vi.fn();
  open(connection).catch(failed);

  await vi.advanceTimersByTimeAsync(10_500);

  expect(failed).toHaveBeenCalledWith(expect.objectContaining({ code: 'net/ice-failed' }));
});

/** A connection that is connected as soon as it is negotiated. */
class FakeConnection extends EventTarget {
  connectionState: RTCPeerConnectionState = 'connected';
  localDescription: RTCSessionDescriptionInit | null = null;
  remoteDescription: RTCSessionDescriptionInit | null = null;
  sctp = null;

  createDataChannel(): EventTarget {
    return new EventTarget();
  }
  async createOffer(): Promise<RTCSessionDescriptionInit> {
    return { type: 'offer', sdp: 'a=ice-ufrag:u\r\na=ice-pwd:p\r\n' };
  }
  async setLocalDescription(description: RTCSessionDescriptionInit): Promise<void> {
    this.localDescription = description;
  }
  async setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
    this.remoteDescription = description;
  }
  getTransceivers(): [] {
    return [];
  }
  close(): void {
    this.connectionState = 'closed';
  }
  enter(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }
}

function open(connection = new FakeConnection(), token: TokenSource = 'abc'): Promise<Session> {
  return Session.open({
    endpoint: new URL('http://server.example/whep/demo'),
    connection: connection as unknown as RTCPeerConnection,
    token,
    signal: new AbortController().signal,
  });
}

function created(body: BodyInit): Response {
  return new Response(body, {
    status: 201,
    headers: { Location: sessionUrl, 'Content-Type': 'application/sdp' },
  });
}

function never<T = Response>(): Promise<T> {
  return new Promise(() => undefined);
}

/** A body that begins and is never ended. */
function cut(reason: unknown): ReadableStream {
  return new ReadableStream({ start: (body) => body.error(reason) });
}
