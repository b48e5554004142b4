import type { Quality, QualityPick } from '../../sdk/index.ts';
import { bitrate } from '../page-kit/words.ts';

/** The menu of layers, by measured height. `auto` leaves the choice to the server. */
export class QualityMenu {
  readonly #select: HTMLSelectElement;
  #shown = '';

  constructor(select: HTMLSelectElement, picked: (pick: QualityPick) => void) {
    this.#select = select;
    select.addEventListener('change', () => picked(select.value === 'auto' ? 'auto' : { id: select.value }));
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

/** The lines of the menu. */
export function menuOptions(qualities: readonly Quality[], height: number): MenuOption[] {
  const active = qualities.filter((quality) => quality.active);
  const auto = { value: 'auto', text: height > 0 ? `Auto · ${height}p` : 'Auto' };
  if (active.length < 2) return [auto];
  const labels = active.map(({ label }) => label);
  return [
    auto,
    ...active.map(({ id, label, bitrate: rate }) => {
      // Two layers of one height differ in their rate.
      const twin = labels.filter((other) => other === label).length > 1 && rate !== undefined;
      return { value: id, text: twin ? `${label} · ${bitrate(rate)}` : label };
    }),
  ];
}
