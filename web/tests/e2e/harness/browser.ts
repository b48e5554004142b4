import { existsSync } from 'node:fs';
import { type Browser, chromium } from '@playwright/test';

const executablePath = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';

const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--allow-loopback-in-peer-connection',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
];

/** What a browser may be started with beside the usual. */
export interface BrowserOptions {
  /** Flags to leave out. */
  readonly without?: readonly string[];
  /** Flags to add. */
  readonly extra?: readonly string[];
}

/** Starts a browser process for one role: a hidden tab would be throttled, a process of its own is not. */
export async function launch({ without = [], extra = [] }: BrowserOptions = {}): Promise<Browser> {
  if (!existsSync(executablePath))
    throw new Error(`there is no Chromium at ${executablePath}: apt-get install chromium`);
  return chromium.launch({
    executablePath,
    headless: true,
    ignoreDefaultArgs: ['--mute-audio'],
    args: [...args.filter((arg) => !without.includes(arg)), ...extra],
  });
}
