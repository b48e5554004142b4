import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Session } from '../../sdk/session.ts';

const sessionUrl = 'http://server.example/whep/demo/s1';

/** What goes out, in order. */
let sent: string[];
/** What the server answers, by method. */
let answers: Record<string, () => Response | Promise<Response>>;

beforeEach(() => {
  sent = [];
  answers = { POST: () => created('v=0\r\n') };
  vi.stubGlobal('fetch', (_url: URL, { method }: RequestInit) => {
    sent.push(method ?? '');
    return answers[method ?? '']?.() ?? new Response(null, { status: 200 });
  });
});
afterEach(() => vi.unstubAllGlobals());

test('an answer that is cut off is the network’s failure, and its session is ended', async () => {
  answers['POST'] = () => created(cut(new TypeError('terminated')));

  await expect(open()).rejects.toMatchObject({ code: 'net/unreachable', retryable: true });

  expect(sent).toEqual(['POST', 'DELETE']);
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
}

function open(connection = new FakeConnection()): Promise<Session> {
  return Session.open({
    endpoint: new URL('http://server.example/whep/demo'),
    connection: connection as unknown as RTCPeerConnection,
    signal: new AbortController().signal,
  });
}

function created(body: BodyInit): Response {
  return new Response(body, {
    status: 201,
    headers: { Location: sessionUrl, 'Content-Type': 'application/sdp' },
  });
}

/** A body that begins and is never ended. */
function cut(reason: unknown): ReadableStream {
  return new ReadableStream({ start: (body) => body.error(reason) });
}
