import type { LayerStats, PublishStats } from '../../sdk/index.ts';
import { bitrate } from '../page-kit/words.ts';

/** Writes what is being sent, one row a layer, highest first. */
export function showLayers(body: HTMLElement, layers: readonly LayerStats[]): void {
  const rows = [...layers].sort((a, b) => b.height - a.height).map(row);
  body.replaceChildren(...(rows.length > 0 ? rows : [emptyRow()]));
}

/** What the network and the encoder say, in one line. */
export function networkWords(stats: PublishStats): string {
  const limits = new Set(
    stats.layers.map(({ limitedBy }) => limitedBy).filter((reason) => reason !== 'none'),
  );
  const parts = [
    stats.rttMs === null ? '' : `Round trip ${Math.round(stats.rttMs)} ms`,
    `loss ${(stats.lossRatio * 100).toFixed(1)} %`,
    `sound ${bitrate(stats.audioBitrate)}`,
    ...[...limits].map((reason) => `limited by ${reason === 'cpu' ? 'this machine’s processor' : reason}`),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

function row(layer: LayerStats): HTMLTableRowElement {
  const { width, height, fps, rid, active } = layer;
  const element = document.createElement('tr');
  element.classList.toggle('sent__row--idle', !active);
  element.dataset['rid'] = rid;
  const name = height > 0 ? `${height}p` : rid || 'Video';
  const cells = active
    ? [name, `${width}×${height}`, String(Math.round(fps)), bitrate(layer.bitrate)]
    : [name, 'not sent', '–', '–'];
  for (const text of cells) element.insertCell().textContent = text;
  return element;
}

function emptyRow(): HTMLTableRowElement {
  const element = document.createElement('tr');
  const cell = element.insertCell();
  cell.className = 'sent__empty';
  cell.colSpan = 4;
  cell.textContent = 'Nothing yet';
  return element;
}
