import type { Quality, QualityPick } from '../../sdk/index.ts';
import { bitrate } from '../page-kit/words.ts';

/** The menu of what to play: layers by measured height, sound alone, nothing. `auto` leaves the choice to the server. */
export class QualityMenu {
  readonly #select: HTMLSelectElement;
  readonly #picked: (pick: QualityPick) => void;
  #shown = '';

  constructor(select: HTMLSelectElement, picked: (pick: QualityPick) => void) {
    this.#select = select;
    this.#picked = picked;
    select.addEventListener('change', () => picked(this.pick));
  }

  /** What is chosen. */
  get pick(): QualityPick {
    return pickOf(this.#select.value);
  }

  /** Chooses for somebody who pressed a button instead: the server's choice. */
  chooseAuto(): void {
    this.#select.value = 'auto';
    this.#picked('auto');
  }

  /** Offers these layers, and shows what is selected; `height` is that of the picture on screen, 0 when unknown. */
  show(qualities: readonly Quality[], height: number, selected: QualityPick): void {
    const chosen = lineOf(selected);
    const options = menuOptions(qualities, chosen === 'auto' ? height : 0, selected);
    const key = JSON.stringify(options);
    if (key !== this.#shown) {
      this.#shown = key;
      this.#select.replaceChildren(...options.map(({ value, text }) => new Option(text, value)));
    }
    if (this.#select.value !== chosen) this.#select.value = chosen;
  }
}

/** One line of the menu. */
export interface MenuOption {
  readonly value: string;
  readonly text: string;
}

/** What a line of the menu asks for. A layer's value is marked, so that one named `auto` is no wish for the best. */
export function pickOf(value: string): QualityPick {
  if (value === 'audio-only' || value === 'paused') return value;
  return value.startsWith(layerMark) ? { id: value.slice(layerMark.length) } : 'auto';
}

/** The line of a pick. */
function lineOf(pick: QualityPick): string {
  if (typeof pick === 'string') return pick;
  return 'id' in pick ? layerMark + pick.id : 'auto';
}

/** The lines of the menu. A chosen layer that is not sent keeps its line: the server sends it again when it comes back. */
export function menuOptions(
  qualities: readonly Quality[],
  height: number,
  selected: QualityPick = 'auto',
): MenuOption[] {
  const chosen = typeof selected === 'object' && 'id' in selected ? selected.id : null;
  const active = qualities.filter((quality) => quality.active);
  const labels = active.map(({ label }) => label);
  const isKnown = qualities.some(({ id }) => id === chosen);
  const gone =
    chosen === null || isKnown ? [] : [{ id: chosen, label: `Layer ${chosen}`.trim(), active: false }];
  const layers = [...gone, ...qualities]
    // One layer is no choice.
    .filter((quality) => quality.id === chosen || (quality.active && (active.length > 1 || chosen !== null)))
    .map(({ id, label, bitrate: rate, active: isSent }: Quality) => {
      // Two layers of one height differ in their rate.
      const twin = labels.filter((other) => other === label).length > 1 && rate !== undefined;
      const text = twin ? `${label} · ${bitrate(rate)}` : label;
      return { value: layerMark + id, text: isSent ? text : `${label} · not sent` };
    });
  return [
    { value: 'auto', text: height > 0 ? `Auto · ${height}p` : 'Auto' },
    ...layers,
    { value: 'audio-only', text: 'Sound only' },
    { value: 'paused', text: 'Paused' },
  ];
}

const layerMark = 'layer:';
