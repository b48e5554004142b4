import { type ErrorCode, isAbort, isErrorCode, LiveError } from './error.ts';
import { parseRetryAfter } from './retry.ts';
import { within } from './signals.ts';

/** A bearer token, or a function that gives one. */
export type TokenSource = string | (() => string | Promise<string>);

/** Options of {@link request}. */
export interface RequestOptions {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly token?: TokenSource;
  readonly signal?: AbortSignal;
  /** Lets the request outlive the page (RFC 9725 §4.2 wants the DELETE). */
  readonly keepalive?: boolean;
}

const timeoutMs = 8000;

const statusCodes: Readonly<Record<number, ErrorCode>> = {
  400: 'offer/syntax',
  401: 'auth/missing',
  403: 'auth/denied',
  404: 'room/not-found',
  409: 'stream/offline',
  412: 'ice/stale-etag',
  422: 'offer/unsupported',
  428: 'ice/missing-etag',
  429: 'rate-limited',
  500: 'server/internal',
  502: 'net/unreachable',
  503: 'server/overloaded',
  504: 'net/timeout',
};

/** Sends a request; resolves on 2xx only, every other outcome is a {@link LiveError}. */
export async function request(url: URL, options: RequestOptions): Promise<Response> {
  const { method, body, token, signal, keepalive = false } = options;
  const headers = new Headers(options.headers);
  const bearer = typeof token === 'function' ? await ask(token, signal) : token;
  if (bearer) headers.set('Authorization', `Bearer ${bearer}`);
  const inTime = within(timeoutMs, signal);
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      keepalive,
      // With it a browser asks again before each call to another origin what it may ask there; only a GET is kept.
      ...(method === 'GET' ? { cache: 'no-store' } : {}),
      signal: inTime,
      ...(body === undefined ? {} : { body }),
    });
  } catch (cause) {
    signal?.throwIfAborted();
    if (inTime.aborted)
      throw new LiveError('net/timeout', `no answer from ${url.host} within 8 s`, { cause });
    throw new LiveError('net/unreachable', `${url.host} cannot be reached`, { cause });
  }
  if (!response.ok) throw await problem(response);
  return response;
}

/** Reads the body of an answer. A network that is lost meanwhile is told as one that was lost before. */
export async function readText(response: Response, signal?: AbortSignal): Promise<string> {
  try {
    return await response.text();
  } catch (cause) {
    signal?.throwIfAborted();
    throw networkFailure('the answer was cut off', cause);
  }
}

/** Reads the body of an answer as JSON; null where it is something else. */
export async function readJson(response: Response, signal?: AbortSignal): Promise<unknown> {
  const body = await readText(response, signal);
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

/** Turns a refusal into an error, by its problem details (RFC 9457) or, without them, by its status. */
export async function problem(response: Response): Promise<LiveError> {
  const { status } = response;
  const details = await readProblem(response);
  const fallback = status >= 500 ? 'server/internal' : 'protocol/bad-response';
  const known = isErrorCode(details['code']) ? details['code'] : null;
  const code = known ?? statusCodes[status] ?? fallback;
  const title = text(details['title']) ?? text(details['detail']) ?? `the server answered ${status}`;
  const retryAfterMs = parseRetryAfter(response.headers.get('Retry-After'), Date.now());
  // The server's hints speak to developers; ours, where we have one for the code, to whoever looks at a page.
  const hint = known ? undefined : text(details['hint']);
  const requestId = text(details['request_id']) ?? response.headers.get('x-request-id');
  return new LiveError(code, title, {
    status,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(hint ? { hint } : {}),
    ...(requestId ? { requestId } : {}),
  });
}

async function readProblem(response: Response): Promise<Record<string, unknown>> {
  if (!/\bjson\b/.test(response.headers.get('Content-Type') ?? '')) return {};
  const body: unknown = await response.json().catch(() => null);
  return isRecord(body) ? body : {};
}

/** Tells a JSON object from other values. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Asks for a token, for as long as the signal lets it. Where nothing else is said, it was the network that failed: most
 * are fetched.
 */
async function ask(token: () => string | Promise<string>, signal?: AbortSignal): Promise<string> {
  const over = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { signal: over.signal });
  });
  try {
    return await Promise.race([token(), aborted]);
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof LiveError ? cause : networkFailure('the token cannot be had', cause);
  } finally {
    over.abort();
  }
}

function networkFailure(message: string, cause: unknown): LiveError {
  const isLate = isAbort(cause) || (cause instanceof DOMException && cause.name === 'TimeoutError');
  return new LiveError(isLate ? 'net/timeout' : 'net/unreachable', message, { cause });
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
