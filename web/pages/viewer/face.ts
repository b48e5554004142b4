import type { LiveError, State } from '../../sdk/index.ts';
import { byId, setText } from '../page-kit/dom.ts';
import { sentence } from '../page-kit/words.ts';

/** What covers the picture while there is none, in words. */
export class Face {
  readonly retry: HTMLButtonElement = byId('retry', HTMLButtonElement);
  readonly start: HTMLButtonElement = byId('start', HTMLButtonElement);
  readonly #face: HTMLElement = byId('face', HTMLElement);
  readonly #spinner: HTMLElement = byId('spinner', HTMLElement);
  readonly #words: HTMLElement = byId('words', HTMLElement);
  readonly #hint: HTMLElement = byId('hint', HTMLElement);

  /** Shows a state. `seen`: a picture was shown before and its last frame is still there. */
  show(state: State, error: LiveError | null, seen: boolean, blocked: boolean): void {
    const [words, hint] = blocked && state === 'live' ? blockedWords : faceWords(state, error, seen);
    this.#face.hidden = words === '';
    this.#face.classList.toggle('player__face--over', seen);
    this.#spinner.hidden = blocked || state === 'failed' || state === 'closed';
    setText(this.#words, words);
    setText(this.#hint, hint);
    this.retry.hidden = state !== 'failed';
    this.start.hidden = !(blocked && state === 'live');
  }
}

const blockedWords = ['Ready to play', 'Your browser waits for a tap.'] as const;

/** The words and the hint of a state. */
export function faceWords(state: State, error: LiveError | null, seen: boolean): readonly [string, string] {
  switch (state) {
    case 'live':
      return ['', ''];
    case 'waiting':
      return seen
        ? ['The host is away', 'The picture goes on by itself when they return.']
        : ['Nobody is live yet', 'This page starts by itself when the host goes live.'];
    case 'reconnecting':
      return ['Reconnecting', error?.hint ?? 'The connection was lost.'];
    case 'failed':
      return error ? [sentence(error), error.hint] : ['Playback failed', ''];
    case 'closed':
      return ['Stopped', ''];
    default:
      return error ? ['Connecting', `${sentence(error)} ${error.hint}`] : ['Connecting', ''];
  }
}
