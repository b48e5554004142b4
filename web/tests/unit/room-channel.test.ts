import { readFile } from 'node:fs/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { isLiveError } from '../../sdk/error.ts';
import { RoomChannel } from '../../sdk/room-channel.ts';

/** A data channel whose other side is the test. */
class FakeChannel extends EventTarget {
  readyState = 'open';
  readonly sent: string[] = [];

  send(text: string): void {
    if (this.readyState !== 'open') throw new DOMException('not open', 'InvalidStateError');
    this.sent.push(text);
  }

  receive(data: unknown): void {
    this.dispatchEvent(new MessageEvent('message', { data }));
  }
}

function open(): { channel: FakeChannel; room: RoomChannel; labels: string[] } {
  const channel = new FakeChannel();
  const labels: string[] = [];
  const connection = {
    createDataChannel: (label: string) => {
      labels.push(label);
      return channel;
    },
  };
  return { channel, room: new RoomChannel(connection as unknown as RTCPeerConnection), labels };
}

async function golden(name: string): Promise<string> {
  return readFile(new URL(`../../../tests/golden/room/${name}.json`, import.meta.url), 'utf8');
}

afterEach(() => vi.useRealTimers());

test('a request is answered by the ack of its own id', async () => {
  const { channel, room, labels } = open();

  const first = room.request('explain');
  const second = room.request('explain');
  const [one, two] = channel.sent.map((text) => JSON.parse(text));
  channel.receive(JSON.stringify({ t: 'ack', cid: two.cid, explain: { of: 'second' } }));
  channel.receive(JSON.stringify({ t: 'ack', cid: one.cid, explain: { of: 'first' } }));

  expect(labels).toEqual(['nearcast.room.v1']);
  expect(one).toMatchObject({ v: 1, t: 'explain' });
  expect(await first).toMatchObject({ explain: { of: 'first' } });
  expect(await second).toMatchObject({ explain: { of: 'second' } });
});

test('a nack is an error with a code and when to try again', async () => {
  const { channel, room } = open();

  const asked = room.request('explain');
  channel.receive(await golden('nack'));

  const error = await asked.catch((reason: unknown) => reason);
  expect(isLiveError(error, 'rate-limited') && error.retryAfterMs).toBe(100);
});

test('silence, a closed channel and an abort end a request', async () => {
  vi.useFakeTimers();
  const { channel, room } = open();
  const stop = new AbortController();
  const codes = (asked: Promise<unknown>) =>
    asked.catch((error: unknown) => (isLiveError(error) ? error.code : String(error)));

  const silent = codes(room.request('explain'));
  vi.advanceTimersByTime(3000);
  const stopped = codes(room.request('explain', stop.signal));
  stop.abort(new Error('enough'));
  const cut = codes(room.request('explain'));
  channel.readyState = 'closed';
  channel.dispatchEvent(new Event('close'));
  const late = codes(room.request('explain'));

  expect(await Promise.all([silent, stopped, cut, late])).toEqual([
    'net/timeout',
    'Error: enough',
    'net/unreachable',
    'net/unreachable',
  ]);
  expect(room.isOpen).toBe(false);
});

test('the news of layers are told and kept, and what is no message is ignored', async () => {
  const { channel, room } = open();
  const told: unknown[] = [];
  room.on('layers', ({ layers }) => told.push(layers));

  for (const noise of [
    '',
    '{',
    'null',
    '[]',
    '{"t":"layers","layers":7}',
    '{"t":"dance"}',
    new ArrayBuffer(3),
  ])
    channel.receive(noise);
  channel.receive(await golden('layers'));

  const expected = [
    { id: 'h', wanted: true },
    { id: 'f', wanted: false },
  ];
  expect(told).toEqual([expected]);
  expect(room.layers).toEqual(expected);
});
