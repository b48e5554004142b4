import type { LiveError, QualityPick, State, Watch, Why } from '../../sdk/index.ts';
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

  /**
   * Shows how playing goes. `seen`: a picture was shown before and its last frame is still there. `missing`: why none
   * comes any more.
   */
  show({ state, error, playback, selected }: Playing, seen: boolean, missing: Why | null): void {
    const blocked = playback === 'blocked' && state === 'live';
    const [words, hint] = blocked ? blockedWords : faceWords(state, error, seen, selected, missing);
    this.#face.hidden = words === '';
    this.#face.classList.toggle('player__face--over', seen);
    this.#spinner.hidden = ['live', 'failed', 'closed'].includes(state);
    setText(this.#words, words);
    setText(this.#hint, hint);
    this.retry.hidden = state !== 'failed';
    this.start.hidden = !(blocked || (state === 'live' && selected === 'paused'));
  }
}

/** What decides about the words. */
type Playing = Pick<Watch, 'state' | 'error' | 'playback' | 'selected'>;

const blockedWords = ['Ready to play', 'Your browser waits for a tap.'] as const;

/** The words and the hint of a state, of a pick without a picture, and of a picture that is left out. */
export function faceWords(
  state: State,
  error: LiveError | null,
  seen: boolean,
  selected: QualityPick,
  missing: Why | null = null,
): readonly [string, string] {
  switch (state) {
    case 'live':
      return liveWords(selected, missing);
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

function liveWords(selected: QualityPick, missing: Why | null): readonly [string, string] {
  switch (selected) {
    case 'audio-only':
      return ['Sound only', 'You asked for no picture. Choose a quality to see it again.'];
    case 'paused':
      return ['Paused', 'Nothing is sent to you. Play goes on live, with what is happening then.'];
    default:
      return missing ? [missing.text, missing.hint] : ['', ''];
  }
}
