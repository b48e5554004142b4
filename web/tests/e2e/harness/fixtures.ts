import { test as base, type Page } from '@playwright/test';
import type { Lab } from '../../pages/lab.ts';
import { type BrowserOptions, launch } from './browser.ts';
import { type Server, startServer } from './server.ts';
import { type Site, startSite } from './site.ts';

declare global {
  // The page's own declaration is not part of the specs' program.
  interface Window {
    lab: Lab;
  }
}

/** Opens a page in a browser process of its own, which ends with the test. */
export type OpenPage = (options?: BrowserOptions & { readonly url?: string }) => Promise<Page>;

interface TestFixtures {
  readonly open: OpenPage;
  /** A room that no other test uses. */
  readonly room: Room;
}

interface WorkerFixtures {
  readonly server: Server;
  readonly site: Site;
}

/** The addresses of a room. */
export interface Room {
  readonly name: string;
  readonly page: string;
  readonly studio: string;
  readonly whip: string;
  readonly whep: string;
}

let rooms = 0;

/** Playwright's `test` with the real server, the test site, and browsers by role. */
export const test = base.extend<TestFixtures, WorkerFixtures>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of fixtures from this pattern
    async ({}, use) => {
      const server = await startServer();
      await use(server);
      await server.stop();
    },
    { scope: 'worker', timeout: 40_000 },
  ],
  site: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of fixtures from this pattern
    async ({}, use) => {
      const site = await startSite();
      await use(site);
      await site.stop();
    },
    { scope: 'worker' },
  ],
  open: async ({ site }, use) => {
    const browsers: Awaited<ReturnType<typeof launch>>[] = [];
    const complaints: string[] = [];
    await use(async (options = {}) => {
      const browser = await launch(options);
      browsers.push(browser);
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      page.on('pageerror', (error) => complaints.push(`${error.name}: ${error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
      });
      await page.goto(options.url ?? `${site.url}/`);
      return page;
    });
    if (complaints.length > 0)
      base.info().annotations.push({ type: 'console', description: complaints.join('\n') });
    if (base.info().status !== base.info().expectedStatus) console.log(complaints.join('\n'));
    for (const browser of browsers) await browser.close();
  },
  room: async ({ server }, use) => {
    rooms += 1;
    await use(roomOf(server, `room-${rooms}`));
  },
});

export { expect } from '@playwright/test';

/** Prints a measured figure, and keeps it with the test's result. */
export function figure(name: string, text: string): void {
  console.log(`  figure · ${name}: ${text}`);
  base.info().annotations.push({ type: 'figure', description: `${name}: ${text}` });
}

/** The addresses of a room by its name. */
export function roomOf(server: Server, name: string): Room {
  return {
    name,
    page: `${server.url}/r/${name}`,
    studio: `${server.url}/studio/${name}`,
    whip: `${server.url}/whip/${name}`,
    whep: `${server.url}/whep/${name}`,
  };
}
