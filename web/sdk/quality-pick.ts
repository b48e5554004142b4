import { LiveError } from './error.ts';
import type { Expected } from './stall.ts';

/**
 * What to play: the server's choice, sound without a picture, neither of them, a layer by its id, or the highest not above
 * a height in pixels.
 */
export type QualityPick =
  | 'auto'
  | 'audio-only'
  | 'paused'
  | { readonly id: string }
  | { readonly maxHeight: number };

/** What a pick lets a viewer expect. */
export function expected(pick: QualityPick): Expected {
  if (pick === 'paused') return 'nothing';
  return pick === 'audio-only' ? 'sound' : 'picture';
}

/** The failure of a session in which what was expected no longer comes. */
export function stalled(pick: QualityPick): LiveError {
  if (pick !== 'audio-only')
    return new LiveError('media/stalled', 'the room is live, but no picture arrives');
  const hint = 'No sound is arriving. We are opening a new session.';
  return new LiveError('media/stalled', 'the room is live, but no sound arrives', { hint });
}
