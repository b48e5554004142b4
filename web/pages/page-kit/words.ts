import type { LiveError, State } from '../../sdk/index.ts';

/** Numbers and states in the words that our pages use. */

/** `0 kbit/s`, `512 kbit/s`, `1.5 Mbit/s`. */
export function bitrate(bps: number): string {
  return bps >= 1_000_000 ? `${(bps / 1_000_000).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`;
}

/** `0.18 s`, `2.8 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 1000 ? 2 : 1)} s`;
}

/** `12:31`, `1:12:31`. */
export function duration(ms: number): string {
  const total = Math.floor(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** `1 viewer`, `1,284 viewers`. */
export function viewers(count: number): string {
  return `${count.toLocaleString('en')} ${count === 1 ? 'viewer' : 'viewers'}`;
}

/** A state in one or two words. */
export function stateWord(state: State): string {
  const words: Readonly<Record<State, string>> = {
    idle: 'Offline',
    connecting: 'Connecting',
    waiting: 'Waiting',
    live: 'Live',
    reconnecting: 'Reconnecting',
    failed: 'Failed',
    closed: 'Offline',
  };
  return words[state];
}

/** An error as a sentence: capital first, full stop last. */
export function sentence(error: LiveError): string {
  const text = error.message;
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}
