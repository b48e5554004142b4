import type { ArrivingLayer, Publish, PublishExplanation } from '../../sdk/index.ts';
import { Asking } from '../page-kit/asking.ts';
import { byId } from '../page-kit/dom.ts';
import {
  agoWords,
  levelOf,
  lossWords,
  msWords,
  pairWords,
  type Row,
  showJoin,
  showRows,
  WhyLine,
} from '../page-kit/explanation.ts';
import { bitrate } from '../page-kit/words.ts';

/** What arrives at the server, and why something is missing: the preview always looks fine. */
export class Arrivals {
  readonly #card: HTMLElement = byId('arrivals', HTMLElement);
  readonly #why = new WhyLine(byId('why', HTMLElement));
  readonly #body: HTMLElement = byId('arriving', HTMLElement);
  readonly #rows: HTMLElement = byId('server-figures', HTMLElement);
  readonly #join: HTMLElement = byId('join', HTMLElement);
  readonly #asking = new Asking<PublishExplanation>((explanation) => this.show(explanation));
  #of: Publish | null = null;

  /** Follows a session while it is live; null ends it. */
  follow(session: Publish | null): void {
    if (session === this.#of) return;
    this.#of = session;
    this.#card.hidden = true;
    if (session) this.#asking.begin(() => session.explain());
    else this.#asking.end();
  }

  /** Shows an explanation, or nothing. */
  show(explanation: PublishExplanation | null): void {
    this.#card.hidden = explanation === null;
    if (!explanation) return;
    this.#why.show(explanation);
    const layers = [...explanation.layers].sort((a, b) => (b.height ?? 0) - (a.height ?? 0));
    this.#body.replaceChildren(...layers.flatMap(layerRows));
    showRows(this.#rows, rows(explanation));
    showJoin(this.#join, explanation.join);
  }
}

/** What the list below the table shows, in order. */
export function rows({ audio, feedback, rttMs, pair }: PublishExplanation): readonly Row[] {
  const repaired = `${feedback.packetsNacked} asked for again, ${feedback.recovered} repaired`;
  return [
    ['Sound', audio?.active ? `${bitrate(audio.bitrate)}, loss ${lossWords(audio.lossRatio)}` : 'none'],
    ['Packets', repaired],
    ['Keyframes', `asked for ${feedback.keyframeRequests} times`],
    // Only a retransmission measures it from the server's side.
    ...(rttMs === null ? [] : [['Round trip', msWords(rttMs)] as const]),
    ['Path', pairWords(pair)],
  ];
}

/** The cells of a layer's row. */
export function layerCells(layer: ArrivingLayer): readonly string[] {
  const name = layer.height === null ? layer.id || 'Video' : `${layer.height}p`;
  if (!layer.active) return [name, '–', '–', '–'];
  return [name, bitrate(layer.bitrate), lossWords(layer.lossRatio), agoWords(layer.lastKeyframeMs)];
}

/** One row, and below it what is to be said of the layer if there is something. */
function layerRows(layer: ArrivingLayer): HTMLTableRowElement[] {
  const row = document.createElement('tr');
  row.dataset['rid'] = layer.id;
  row.dataset['reason'] = layer.reason;
  row.classList.toggle('sent__row--idle', !layer.active);
  for (const text of layerCells(layer)) row.insertCell().textContent = text;
  if (layer.reason === 'arrives') return [row];
  const below = document.createElement('tr');
  const cell = below.insertCell();
  cell.colSpan = 4;
  cell.className = 'sent__why';
  cell.dataset['level'] = levelOf(layer);
  cell.textContent = layer.text;
  cell.title = layer.hint;
  return [row, below];
}
