import type { Page } from '@playwright/test';
import type { Heard } from '../../pages/sound.ts';

/** What a page heard over some seconds. */
export interface Hearing {
  readonly heard: Heard;
  /** The share of packets that were lost, 0 to 1. */
  readonly lost: number;
  /** Packets that in-band FEC made good. */
  readonly repaired: number;
  /** The share of samples that were made up, 0 to 1. */
  readonly concealed: number;
  readonly bytesPerPacket: number;
}

/** Notes what a page hears from now on. */
export async function hear(page: Page, seconds: number): Promise<Hearing> {
  const before = await page.evaluate(() => window.lab.heard());
  await page.waitForTimeout(seconds * 1000);
  const heard = await page.evaluate(() => window.lab.heard());
  const since = (pick: (it: Heard) => number): number => pick(heard) - pick(before);
  const packets = since((it) => it.packets);
  const lost = since((it) => it.lost);
  return {
    heard,
    lost: lost / (lost + packets),
    repaired: since((it) => it.repaired),
    concealed: since((it) => it.concealed) / since((it) => it.samples),
    bytesPerPacket: since((it) => it.bytes) / packets,
  };
}

/** A hearing in one line. */
export function heardWords({ lost, repaired, concealed, bytesPerPacket }: Hearing): string {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  return `${percent(lost)} lost, ${repaired} repaired by FEC, ${percent(concealed)} made up, ${Math.round(bytesPerPacket)} bytes a packet`;
}
