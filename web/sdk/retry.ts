import type { LiveError } from './error.ts';

/** What a {@link ReconnectPolicy} may look at. */
export interface RetryContext {
  /** 0 for the first attempt after a success. */
  readonly attempt: number;
  /** Since the last success, or since the start. */
  readonly elapsedMs: number;
  readonly error: LiveError;
}

/** Says how long to wait before the next attempt. */
export interface ReconnectPolicy {
  /** Milliseconds to wait; null gives up. */
  next(context: RetryContext): number | null;
}

const steps: readonly number[] = [0, 300, 1200, 2700, 4800, 7000];
const jitterMs = 1000;
/** Nobody is on air, or somebody else is: asked for evenly, because the answer is cheap. */
const waitingMs = 1000;

/**
 * 0, 300, 1200, 2700, 4800, 7000 ms, then 7000 ms for ever, each after the first with up to 1 s of jitter. A server
 * that says `Retry-After` is obeyed. A room that is waited for is asked about once a second, up to three as time goes by.
 */
export function reconnectDefault(random: () => number = Math.random): ReconnectPolicy {
  return {
    next({ attempt, elapsedMs, error }) {
      if (!error.retryable) return null;
      const asked = error.retryAfterMs ?? 0;
      if (isWaiting(error)) {
        const patience = waitingMs * Math.min(3, 1 + elapsedMs / 60_000);
        return Math.max(asked, patience) + random() * 200;
      }
      const step = steps[Math.min(attempt, steps.length - 1)] ?? 0;
      const jitter = attempt === 0 ? 0 : random() * jitterMs;
      return Math.max(asked, step + jitter);
    },
  };
}

/** Whether the server works and only the room is not ready for us. */
export function isWaiting(error: LiveError): boolean {
  return (
    error.code === 'stream/offline' || error.code === 'stream/conflict' || error.code === 'room/not-found'
  );
}

/** Reads `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3); undefined when absent or unreadable. */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/** Waits; ends early when `wake` fires one of the browser's signs that the network may be back. Rejects on abort. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const scope = globalThis;
    const end = (done: () => void) => (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      scope.removeEventListener?.('online', onWake);
      scope.removeEventListener?.('pageshow', onWake);
      done();
    };
    const onAbort = end(() => reject(signal.reason));
    const onWake = end(resolve);
    const timer = setTimeout(onWake, ms);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort);
    scope.addEventListener?.('online', onWake);
    scope.addEventListener?.('pageshow', onWake);
  });
}
