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

  /** Offers these layers; `height` is that of the picture on screen, 0 when unknown. */
  show(qualities: readonly Quality[], height: number): void {
    const options = menuOptions(qualities, this.#select.value === 'auto' ? height : 0);
    const key = JSON.stringify(options);
    if (key === this.#shown) return;
    this.#shown = key;
    const chosen = this.#select.value;
    this.#select.replaceChildren(...options.map(({ value, text }) => new Option(text, value)));
    this.#select.value = options.some(({ value }) => value === chosen) ? chosen : 'auto';
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

/** The lines of the menu. */
export function menuOptions(qualities: readonly Quality[], height: number): MenuOption[] {
  const active = qualities.filter((quality) => quality.active);
  const labels = active.map(({ label }) => label);
  const layers = active.map(({ id, label, bitrate: rate }) => {
    // Two layers of one height differ in their rate.
    const twin = labels.filter((other) => other === label).length > 1 && rate !== undefined;
    return { value: layerMark + id, text: twin ? `${label} · ${bitrate(rate)}` : label };
  });
  return [
    { value: 'auto', text: height > 0 ? `Auto · ${height}p` : 'Auto' },
    // One layer is no choice.
    ...(layers.length < 2 ? [] : layers),
    { value: 'audio-only', text: 'Sound only' },
    { value: 'paused', text: 'Paused' },
  ];
}

const layerMark = 'layer:';
