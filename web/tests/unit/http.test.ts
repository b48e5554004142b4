import { afterEach, expect, test, vi } from 'vitest';
import { isLiveError, LiveError } from '../../sdk/error.ts';
import { problem, readText, request } from '../../sdk/http.ts';

const url = new URL('http://server.example/whip/demo');

afterEach(() => vi.unstubAllGlobals());

test('a refusal with problem details keeps the code, the words, the wait and the request', async () => {
  const body = {
    code: 'stream/conflict',
    title: 'room demo is live already',
    request_id: '01JD',
    hint: 'wait',
  };
  const headers = { 'Content-Type': 'application/problem+json', 'Retry-After': '1' };

  const error = await problem(new Response(JSON.stringify(body), { status: 409, headers }));

  expect(error).toMatchObject({
    code: 'stream/conflict',
    status: 409,
    retryAfterMs: 1000,
    requestId: '01JD',
  });
  expect(error.hint).toContain('Somebody else is live');
  expect(error.message).toBe('room demo is live already');
  expect(error.retryable).toBe(true);
});

test.each([
  [401, 'auth/missing'],
  [404, 'room/not-found'],
  [412, 'ice/stale-etag'],
  [422, 'offer/unsupported'],
  [428, 'ice/missing-etag'],
  [429, 'rate-limited'],
  [500, 'server/internal'],
  [502, 'net/unreachable'],
  [503, 'server/overloaded'],
  [418, 'protocol/bad-response'],
])('a bare %i becomes %s', async (status, code) => {
  const error = await problem(new Response('nope', { status, headers: { 'Content-Type': 'text/plain' } }));

  expect(error.code).toBe(code);
  expect(error.hint).not.toBe('');
});

test('a code that we do not know falls back to the status, and broken JSON does no harm', async () => {
  const headers = { 'Content-Type': 'application/problem+json' };

  const unknown = await problem(
    new Response('{"code":"new/thing","hint":"do so"}', { status: 409, headers }),
  );
  expect(unknown).toMatchObject({ code: 'stream/offline', hint: 'do so' });
  expect((await problem(new Response('{{{', { status: 503, headers }))).code).toBe('server/overloaded');
});

test('the bearer goes out, and a success comes back', async () => {
  const fetched = vi.fn(async (_url: URL, _init: RequestInit) => new Response('v=0', { status: 201 }));
  vi.stubGlobal('fetch', fetched);

  const response = await request(url, { method: 'POST', body: 'v=0', token: async () => 'abc' });

  expect(response.status).toBe(201);
  const headers = new Headers(fetched.mock.calls[0]?.[1].headers);
  expect(headers.get('Authorization')).toBe('Bearer abc');
});

test('an unreachable server is told from our own abort', async () => {
  vi.stubGlobal('fetch', async (_url: URL, init: RequestInit) => {
    init.signal?.throwIfAborted();
    throw new TypeError('fetch failed');
  });
  const aborted = AbortSignal.abort(new Error('left'));

  await expect(request(url, { method: 'GET' })).rejects.toMatchObject({ code: 'net/unreachable' });
  await expect(request(url, { method: 'GET', signal: aborted })).rejects.toThrow('left');
});

test('a token that cannot be had is tried for again, unless its function says why', async () => {
  const offline = async (): Promise<string> => {
    throw new TypeError('fetch failed');
  };
  const refused = async (): Promise<string> => {
    throw new LiveError('auth/denied', 'signed out');
  };

  const lost = request(url, { method: 'GET', token: offline });
  await expect(lost).rejects.toMatchObject({ code: 'net/unreachable', retryable: true });
  await expect(request(url, { method: 'GET', token: refused })).rejects.toThrow('signed out');
});

test('a body that is cut off is told from one that is late, and from our own abort', async () => {
  const cut = (reason: unknown) => new Response(new ReadableStream({ start: (body) => body.error(reason) }));
  const aborted = AbortSignal.abort(new Error('left'));

  await expect(readText(cut(new TypeError('terminated')))).rejects.toMatchObject({ code: 'net/unreachable' });
  const late = new DOMException('late', 'TimeoutError');
  await expect(readText(cut(late))).rejects.toMatchObject({ code: 'net/timeout' });
  await expect(readText(cut(aborted.reason), aborted)).rejects.toThrow('left');
});

test('errors are recognised by class and code', () => {
  const error = new LiveError('net/timeout', 'late');

  expect(isLiveError(error)).toBe(true);
  expect(isLiveError(error, 'net/timeout')).toBe(true);
  expect(isLiveError(error, 'net/unreachable')).toBe(false);
  expect(isLiveError(new Error('late'))).toBe(false);
});

test('only what is read is kept from the cache: with that, a browser asks again before each other call', async () => {
  const fetched = vi.fn(async (_url: URL, _init: RequestInit) => new Response(null, { status: 204 }));
  vi.stubGlobal('fetch', fetched);

  for (const method of ['GET', 'POST', 'PATCH', 'DELETE'] as const) await request(url, { method });

  expect(fetched.mock.calls.map(([, init]) => init.cache)).toEqual([
    'no-store',
    undefined,
    undefined,
    undefined,
  ]);
});
