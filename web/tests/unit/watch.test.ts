import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LiveError } from '../../sdk/error.ts';
import type { State } from '../../sdk/handle.ts';
import type { QualityPick } from '../../sdk/quality-pick.ts';
import { type Watch, type WatchOptions, watch } from '../../sdk/watch.ts';

vi.mock('../../sdk/session.ts', () => ({ Session: { open: async () => openSession() } }));

const atFirst = {
  connectionState: 'connected' as RTCPeerConnectionState,
  framesDecoded: 0,
  audioPackets: 0,
  /** Frames and packets that come in each half second. */
  frames: 0,
  packets: 0,
  live: true,
  layers: [] as unknown[],
  /** Why the server says that the session is as it is. */
  reason: 'best',
  isReachable: true,
  /** Whether the server answers nothing that it is asked. */
  isSilent: false,
  sessions: 0,
  asked: [] as unknown[],
  /** What the server answers to the choice of a layer. */
  answers: [] as Promise<Response>[],
};
const world = structuredClone(atFirst);
let watching: Watch | null = null;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('RTCPeerConnection', FakeConnection);
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('fetch', answer);
  Object.assign(world, structuredClone(atFirst));
});
afterEach(async () => {
  const closed = watching?.close();
  await pass(1000);
  await closed;
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('who paused is live, but not over a path that does not stand', async () => {
  world.connectionState = 'connecting';
  const { states } = open('paused');

  await pass(3000);
  expect(states).toEqual(['connecting']);
  world.connectionState = 'connected';
  await pass(1000);
  expect(states).toEqual(['connecting', 'live']);
});

test('who paused is told that the host left, and that they are back', async () => {
  const { states } = open('paused');
  await pass(2000);

  world.live = false;
  await pass(10_000);
  expect(states).toEqual(['connecting', 'live', 'waiting']);
  world.isReachable = false;
  await pass(10_000);
  expect(states).toEqual(['connecting', 'live', 'waiting']);
  Object.assign(world, { live: true, isReachable: true });
  await pass(2000);
  expect(states).toEqual(['connecting', 'live', 'waiting', 'live']);
  expect(world.sessions).toBe(1);
});

test('sound that never comes is missed as a picture is', async () => {
  const { states, errors } = open('audio-only');

  await pass(7000);
  expect(errors).toEqual([]);
  await pass(2000);
  expect(states).not.toContain('live');
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    ['media/stalled', 'the room is live, but no sound arrives'],
  ]);
  expect(errors[0]?.hint).toContain('No sound');
});

test('sound that comes is live, and waits for a host who left', async () => {
  world.packets = 25;
  const { states, errors } = open('audio-only');
  await pass(20_000);
  expect(states).toEqual(['connecting', 'live']);

  world.packets = 0;
  world.live = false;
  await pass(20_000);
  expect(states).toEqual(['connecting', 'live', 'waiting']);
  expect(errors).toEqual([]);
});

test.each(['auto', 'audio-only'] as const)(
  'with %s, a host with the camera off is live while heard',
  async (pick) => {
    Object.assign(world, { frames: 15, packets: 25, layers: [{ rid: 'f', active: true }] });
    const { states, errors } = open(pick);
    await pass(3000);

    Object.assign(world, { frames: 0, layers: [{ rid: 'f', active: false }] });
    await pass(20_000);
    expect(states).toEqual(['connecting', 'live']);
    world.packets = 0;
    await pass(5000);

    expect(states).toEqual(['connecting', 'live', 'waiting']);
    expect(errors).toEqual([]);
  },
);

test('a room that showed a picture and no sound has none to miss, in the next session neither', async () => {
  world.frames = 15;
  const { handle, states, errors } = open('auto');
  await pass(5000);
  world.frames = 0;

  await handle.setQuality('audio-only');
  await pass(30_000);
  expect(errors).toEqual([]);
  lose();
  await pass(30_000);

  expect(errors.map(({ code }) => code)).toEqual(['net/ice-failed']);
  expect(states).toEqual(['connecting', 'live', 'reconnecting', 'live']);
});

test('a look at the room that is never answered does not keep a lost session', async () => {
  world.frames = 15;
  const { errors } = open('auto');
  await pass(2000);

  world.frames = 0;
  world.isSilent = true;
  await pass(7500);
  expect(errors).toEqual([]);
  await pass(1000);

  expect(errors.map(({ code }) => code)).toEqual(['media/stalled']);
});

test('a server that gives sound only on a slow path is left to it, until the reason is another', async () => {
  Object.assign(world, { frames: 15, packets: 25 });
  const { states, errors } = open('auto');
  await pass(3000);

  Object.assign(world, { frames: 0, reason: 'audio-only' });
  await pass(60_000);
  expect([states, errors, world.sessions]).toEqual([['connecting', 'live'], [], 1]);
  world.reason = 'path';
  await pass(14_000);

  expect(errors.map(({ code }) => code)).toEqual(['media/stalled']);
});

test('a missing picture that nobody explains is a lost session', async () => {
  Object.assign(world, { frames: 15, packets: 25 });
  const { errors } = open('auto');
  await pass(3000);

  Object.assign(world, { frames: 0, reason: '' });
  await pass(9000);

  expect(errors.map(({ code }) => code)).toEqual(['media/stalled']);
});

test('a pick that is refused is not selected, but the one that the server took before', async () => {
  world.frames = 15;
  const { handle } = open('auto');
  await pass(1000);
  await handle.setQuality({ id: 'h' });
  world.answers = [Promise.resolve(new Response(null, { status: 404 }))];

  const refused = handle.setQuality('paused');
  expect(handle.selected).toBe('paused');
  await expect(refused).rejects.toMatchObject({ status: 404 });
  expect(handle.selected).toEqual({ id: 'h' });
});

test('a refusal that comes late undoes no later pick', async () => {
  world.frames = 15;
  const { handle } = open('auto');
  await pass(1000);
  const answers: ((response: Response) => void)[] = [];
  world.answers = [0, 1].map(() => new Promise((resolve) => answers.push(resolve)));

  const first = handle.setQuality('paused');
  const second = handle.setQuality('audio-only');
  answers[0]?.(new Response(null, { status: 500 }));
  await expect(first).rejects.toMatchObject({ status: 500 });
  expect(handle.selected).toBe('audio-only');
  answers[1]?.(new Response(null, { status: 204 }));
  await second;

  expect(handle.selected).toBe('audio-only');
});

test('a token that cannot be had while the network is away ends nothing', async () => {
  world.frames = 15;
  let tries = 0;
  const token = async (): Promise<string> => {
    tries += 1;
    if (tries < 3) throw new TypeError('fetch failed');
    return 'abc';
  };
  const { states, errors } = open('auto', { token });
  await pass(5000);

  expect(errors.map(({ code }) => code)).toEqual(['net/unreachable', 'net/unreachable']);
  expect(states).toEqual(['connecting', 'live']);
});

test('a new session asks for the pick again, and one that cannot ask is tried again', async () => {
  world.answers = [Promise.resolve(new Response(null, { status: 503 }))];
  const { handle, states, errors } = open('paused');
  await pass(3000);

  expect(errors.map(({ code }) => code)).toEqual(['server/overloaded']);
  expect(states).toEqual(['connecting', 'live']);
  expect(world.asked).toEqual(['paused', 'paused']);
  expect([handle.selected, world.sessions]).toEqual(['paused', 2]);
});

test('a server that knows no picks sends what it likes, and that is what is selected', async () => {
  world.frames = 15;
  world.answers = [Promise.resolve(new Response(null, { status: 404 }))];
  const { handle, states } = open('audio-only');
  await pass(3000);

  expect(handle.selected).toBe('auto');
  expect(states).toEqual(['connecting', 'live']);
});

class FakeConnection {
  get connectionState(): RTCPeerConnectionState {
    return world.connectionState;
  }
  addTransceiver(): unknown {
    return { receiver: { track: {} } };
  }
  close(): void {
    world.framesDecoded = 0;
    world.audioPackets = 0;
  }
  async getStats(): Promise<Map<string, unknown>> {
    world.framesDecoded += world.frames;
    world.audioPackets += world.packets;
    const { framesDecoded, audioPackets } = world;
    return new Map([
      ['v', { id: 'v', type: 'inbound-rtp', kind: 'video', framesDecoded }],
      ['a', { id: 'a', type: 'inbound-rtp', kind: 'audio', packetsReceived: audioPackets }],
    ]);
  }
}

let lose: () => void = () => undefined;

async function openSession(): Promise<unknown> {
  world.sessions += 1;
  const { LiveError } = await import('../../sdk/error.ts');
  const lost = new Promise((resolve) => {
    lose = () => resolve(new LiveError('net/ice-failed', 'the path is lost'));
  });
  const url = new URL('http://server.example/whep/demo/s1');
  const close = async (): Promise<void> => lose();
  const explain = async (): Promise<unknown> => ({ reason: world.reason });
  return { url, id: 's1', lost, close, giveUp: close, explain };
}

async function answer(_url: URL, { method, body, signal }: RequestInit): Promise<Response> {
  if (method === 'PUT') {
    world.asked.push(JSON.parse(String(body)));
    return world.answers.shift() ?? new Response(null, { status: 204 });
  }
  if (world.isSilent)
    return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  if (!world.isReachable) throw new TypeError('fetch failed');
  return Response.json({ whep: '/whep/demo', live: world.live, viewers: 1, layers: world.layers });
}

function open(
  quality: QualityPick,
  options: Partial<WatchOptions> = {},
): { handle: Watch; states: State[]; errors: LiveError[] } {
  const video = { play: async () => undefined, ownerDocument: { hidden: false } };
  const handle = watch({
    url: 'http://server.example/r/demo',
    video: video as unknown as HTMLVideoElement,
    quality,
    ...options,
  });
  watching = handle;
  const states: State[] = [];
  const errors: LiveError[] = [];
  handle.on('state', ({ state }) => states.push(state));
  handle.on('error', ({ error }) => errors.push(error));
  return { handle, states, errors };
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}
