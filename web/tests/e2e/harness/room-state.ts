import { expect, type Page } from '@playwright/test';
import { decodeRoom, type Quality, type RoomInfo } from '../../../sdk/discovery.ts';
import type { Reading } from '../../pages/reading.ts';

/** The discovery document of a room, as the server gives it. */
export async function roomInfo(page: string): Promise<RoomInfo> {
  const response = await fetch(page, { headers: { Accept: 'application/json' } });
  const info = decodeRoom(await response.json().catch(() => null), new URL(page));
  if (!info) throw new Error(`${page} gave ${response.status} and no discovery document`);
  return info;
}

/**
 * Waits until the server has measured media in all of these layers. A browser whose first probes fail, on a machine that
 * is busy just then, adds 8 % a second to some 100 kbit/s until it has room for three layers.
 */
export async function untilActive(
  page: string,
  rids: readonly string[],
  timeout = 75_000,
): Promise<readonly Quality[]> {
  let qualities: readonly Quality[] = [];
  const arrived = async (): Promise<string[]> => {
    qualities = (await roomInfo(page)).qualities.filter(
      ({ active, height }) => active && height !== undefined,
    );
    return qualities.map(({ id }) => id).sort();
  };
  await expect
    .poll(arrived, { timeout, message: 'the layers that the server receives' })
    .toEqual([...rids].sort());
  return qualities;
}

/** Waits until a page's viewer decodes new frames. */
export async function untilPlaying(page: Page, timeout = 20_000): Promise<void> {
  const before = (await page.evaluate(() => window.lab.link())).framesDecoded;
  const decoded = async (): Promise<number> => (await page.evaluate(() => window.lab.link())).framesDecoded;
  await expect.poll(decoded, { timeout, message: 'frames decoded' }).toBeGreaterThan(before + 5);
}

/** A reading in one line. */
export function words({ frames, read, bad, fps, sizes, longestGap, age }: Reading): string {
  const shown = Object.entries(sizes).map(([size, count]) => `${size}×${count}`);
  const valid = `${bad} of ${read} unreadable`;
  return `${frames} frames, ${fps.toFixed(1)}/s, ${valid}, longest gap ${Math.round(longestGap)} ms, age p50 ${age.p50} p95 ${age.p95} ms, ${shown.join(' ')}`;
}
