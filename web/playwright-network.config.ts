import type { PlaywrightTestConfig } from '@playwright/test';
import e2e from './playwright.config.ts';

/** The bench of bad paths: `make bench-network`. */
const config: PlaywrightTestConfig = {
  ...e2e,
  testDir: 'tests/network',
  timeout: 240_000,
  globalSetup: './tests/network/begin.ts',
  globalTeardown: './tests/network/end.ts',
};

export default config;
