import type { CandidatePair, JoinSteps, LayerBrief, Why } from '../../sdk/index.ts';
import { setText } from './dom.ts';
import { bitrate } from './words.ts';

/** A row of a list of figures. */
export type Row = readonly [term: string, value: string];

/** How much somebody has to worry: `good` needs nothing, `fair` passes or was asked for, `poor` wants something done. */
export type Level = 'good' | 'fair' | 'poor';

const good: ReadonlySet<Why['reason']> = new Set(['best', 'arrives']);
const fair: ReadonlySet<Why['reason']> = new Set([
  'connecting',
  'catching-up',
  'awaiting-keyframe',
  'waking',
  'wish',
  'paused',
  'confirming',
  'not-wanted',
  'unknown',
]);

/** How much a reason worries. */
export function levelOf({ reason }: Why): Level {
  if (good.has(reason)) return 'good';
  return fair.has(reason) ? 'fair' : 'poor';
}

/** `360p · 480 kbit/s`. */
export function layerWords(layer: LayerBrief | null): string {
  if (!layer) return 'none';
  const name = layer.height === null ? `layer ${layer.id}`.trim() : `${layer.height}p`;
  return `${name} · ${bitrate(layer.bitrate)}`;
}

/** `0.8 s ago`, `12 s ago`, `3 min ago`, `never`. */
export function agoWords(ms: number | null): string {
  if (ms === null) return 'never';
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s ago`;
  return ms < 120_000 ? `${Math.round(ms / 1000)} s ago` : `${Math.round(ms / 60_000)} min ago`;
}

/** `UDP 198.51.100.7:50123 → 192.0.2.1:8080`, from here to the server. */
export function pairWords(pair: CandidatePair | null): string {
  if (!pair) return 'none yet';
  return `${pair.protocol.toUpperCase()} ${pair.remote} → ${pair.local || 'the server'}`;
}

/** `23 ms`, or a dash. */
export function msWords(ms: number | null): string {
  return ms === null ? '–' : `${Math.round(ms)} ms`;
}

/** `0.4 %`, or a dash. */
export function lossWords(ratio: number | null): string {
  return ratio === null ? '–' : `${(ratio * 100).toFixed(1)} %`;
}

/** The steps of a join in their order, with names for people; those that have not ended are left out. */
export function joinSteps(join: JoinSteps): readonly (readonly [name: string, ms: number])[] {
  const steps: readonly (readonly [string, number | null])[] = [
    ['Request', join.httpMs],
    ['ICE', join.iceMs],
    ['DTLS', join.dtlsMs],
    ['First packet', join.firstPacketMs],
    ['Keyframe', join.firstKeyframeMs],
  ];
  return steps.flatMap(([name, ms]) => (ms === null ? [] : [[name, ms] as const]));
}

/** Says what is to be said first, and what to do about it. */
export class WhyLine {
  readonly #line: HTMLElement;
  readonly #text = document.createElement('strong');
  readonly #hint = document.createElement('span');

  constructor(line: HTMLElement) {
    this.#line = line;
    this.#text.className = 'why__text';
    this.#hint.className = 'why__hint';
    line.replaceChildren(this.#text, this.#hint);
  }

  /** Shows a reason, or nothing. */
  show(why: Why | null): void {
    this.#line.hidden = why === null;
    if (!why) return;
    this.#line.dataset['level'] = levelOf(why);
    this.#line.dataset['reason'] = why.reason;
    setText(this.#text, why.text);
    setText(this.#hint, why.hint);
  }
}

/** Draws the steps of a join as one bar, whose parts are as long as the steps took, with a legend below. */
export function showJoin(element: HTMLElement, join: JoinSteps): void {
  const steps = joinSteps(join);
  const title = document.createElement('p');
  title.className = 'join__title';
  title.textContent = join.totalMs === null ? 'Joining' : `First picture after ${msWords(join.totalMs)}`;
  const bar = document.createElement('div');
  bar.className = 'join__bar';
  bar.ariaHidden = 'true';
  const legend = document.createElement('ol');
  legend.className = 'join__legend';
  for (const [name, ms] of steps) {
    const part = document.createElement('span');
    part.style.flexGrow = String(ms);
    bar.append(part);
    const entry = document.createElement('li');
    entry.textContent = `${name} ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
    legend.append(entry);
  }
  element.replaceChildren(title, bar, legend);
}

/** Writes a list of figures. */
export function showRows(list: HTMLElement, rows: readonly Row[]): void {
  list.replaceChildren(
    ...rows.flatMap(([term, value]) => {
      const name = document.createElement('dt');
      const text = document.createElement('dd');
      name.textContent = term;
      text.textContent = value;
      return [name, text];
    }),
  );
}
