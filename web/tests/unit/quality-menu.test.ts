import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { menuOptions, QualityMenu } from '../../pages/viewer/quality-menu.ts';
import type { Quality, QualityPick } from '../../sdk/index.ts';

beforeEach(() => vi.stubGlobal('Option', FakeOption));
afterEach(() => vi.unstubAllGlobals());

const full = layer('f', 720);
const half = layer('h', 360);
const quarter = layer('q', 180);

test('a chosen layer that is gone stays chosen, and is had again when it comes back', () => {
  const { select, menu, picks } = open();
  menu.show([full, half, quarter], 720, { id: 'f' });
  expect(select.text).toBe('720p');

  menu.show([{ ...full, active: false }, half, quarter], 360, { id: 'f' });
  expect(select.text).toBe('720p · not sent');
  menu.show([half, quarter], 360, { id: 'f' });
  expect(select.text).toBe('Layer f · not sent');
  expect(menu.pick).toEqual({ id: 'f' });
  menu.show([full, half, quarter], 720, { id: 'f' });

  expect(select.text).toBe('720p');
  expect(picks).toEqual([]);
});

test('a chosen layer is named though it is the only one', () => {
  const texts = (chosen: QualityPick): string[] =>
    menuOptions([{ ...full, active: false }, half], 0, chosen).map(({ text }) => text);

  expect(texts({ id: 'h' })).toEqual(['Auto', '360p', 'Sound only', 'Paused']);
  expect(texts({ id: 'f' })).toEqual(['Auto', '720p · not sent', '360p', 'Sound only', 'Paused']);
  expect(texts('auto')).toEqual(['Auto', 'Sound only', 'Paused']);
});

test('the menu says what the session plays, whatever was pressed', () => {
  const { select, menu, picks } = open();
  menu.show([full, half], 720, 'auto');

  select.choose('paused');
  expect(picks).toEqual(['paused']);
  menu.show([full, half], 720, 'auto');

  expect(select.text).toBe('Auto · 720p');
  menu.show([full, half], 720, { maxHeight: 400 });
  expect(select.text).toBe('Auto · 720p');
});

function layer(id: string, height: number): Quality {
  return { id, label: `${height}p`, height, active: true };
}

class FakeOption {
  readonly text: string;
  readonly value: string;

  constructor(text: string, value: string) {
    this.text = text;
    this.value = value;
  }
}

/** What the menu needs of a `<select>`. */
class FakeSelect extends EventTarget {
  options: FakeOption[] = [new FakeOption('Auto', 'auto')];
  #chosen = 'auto';

  get value(): string {
    return this.#chosen;
  }

  set value(value: string) {
    this.#chosen = this.options.some((option) => option.value === value) ? value : '';
  }

  get text(): string | undefined {
    return this.options.find(({ value }) => value === this.#chosen)?.text;
  }

  replaceChildren(...options: FakeOption[]): void {
    this.options = options;
    this.#chosen = options[0]?.value ?? '';
  }

  choose(value: string): void {
    this.value = value;
    this.dispatchEvent(new Event('change'));
  }
}

function open(): { select: FakeSelect; menu: QualityMenu; picks: QualityPick[] } {
  const select = new FakeSelect();
  const picks: QualityPick[] = [];
  const menu = new QualityMenu(select as unknown as HTMLSelectElement, (pick) => picks.push(pick));
  return { select, menu, picks };
}
