/** A signal that aborts with the given one, or after so many ms. */
export function within(ms: number, signal?: AbortSignal): AbortSignal {
  const timeout = AbortSignal.timeout(ms);
  if (!signal) return timeout;
  return 'any' in AbortSignal ? AbortSignal.any([signal, timeout]) : either(signal, timeout);
}

/** `AbortSignal.any` of two, for phones that do not have it: iOS before 17.4. */
function either(signal: AbortSignal, timeout: AbortSignal): AbortSignal {
  if (signal.aborted) return signal;
  const first = new AbortController();
  for (const source of [signal, timeout]) {
    // The signal that lives on keeps no listener of what is over.
    const options = { once: true, signal: first.signal };
    source.addEventListener('abort', () => first.abort(source.reason), options);
  }
  return first.signal;
}
