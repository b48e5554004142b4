import type { Watch, WatchExplanation } from '../../sdk/index.ts';
import { Asking } from '../page-kit/asking.ts';
import { byId } from '../page-kit/dom.ts';
import {
  agoWords,
  layerWords,
  lossWords,
  msWords,
  pairWords,
  type Row,
  showJoin,
  showRows,
  WhyLine,
} from '../page-kit/explanation.ts';
import { bitrate } from '../page-kit/words.ts';

/** What the server says of this viewer, while somebody looks. */
export class ExplanationPanel {
  readonly #why = new WhyLine(byId('why', HTMLElement));
  readonly #rows: HTMLElement = byId('server-figures', HTMLElement);
  readonly #join: HTMLElement = byId('join', HTMLElement);
  readonly #panel: HTMLElement = byId('explanation', HTMLElement);
  readonly #asking = new Asking<WatchExplanation>((explanation) => this.show(explanation));
  #open = false;

  /** Begins or ends to ask; `session` is asked for the watch of the moment. */
  setOpen(open: boolean, session: () => Watch): void {
    this.#open = open;
    if (open) this.#asking.begin(() => session().explain());
    else this.#asking.end();
  }

  /** Asks again now, because something was just changed. */
  refresh(session: () => Watch): void {
    if (this.#open) this.setOpen(true, session);
  }

  /** Shows an explanation, or nothing. */
  show(explanation: WatchExplanation | null): void {
    this.#panel.hidden = explanation === null;
    this.#why.show(explanation);
    if (!explanation) return;
    showRows(this.#rows, rows(explanation));
    showJoin(this.#join, explanation.join);
  }
}

function keyframeWords({ lastKeyframeMs, lastPliMs }: WatchExplanation): string {
  const sent = lastKeyframeMs === null ? 'none sent yet' : `sent ${agoWords(lastKeyframeMs)}`;
  return `${sent}, ${lastPliMs === null ? 'never asked for' : `asked for ${agoWords(lastPliMs)}`}`;
}

/** What the server's list shows, in order. */
export function rows(explanation: WatchExplanation): readonly Row[] {
  const { current, desired, estimate } = explanation;
  const isMet = current !== null && desired !== null && current.id === desired.id;
  return [
    ['Layer', layerWords(current)],
    ...(isMet ? [] : [['Wanted', layerWords(desired)] as const]),
    ['Path carries', estimate ? `${bitrate(estimate.bitrate)}. ${estimate.text}` : 'not estimated'],
    ['Round trip', msWords(explanation.rttMs)],
    ['Loss', lossWords(explanation.lossRatio)],
    ['Keyframe', keyframeWords(explanation)],
    ['Path', pairWords(explanation.pair)],
  ];
}
