import type { PlaywrightTestConfig } from '@playwright/test';

const config: PlaywrightTestConfig = {
  testDir: 'tests/e2e',
  // Encoders and decoders of several browsers share the machine: two tests at once would measure each other.
  workers: 1,
  fullyParallel: false,
  // A test that passes only the second time has failed.
  retries: 0,
  timeout: 120_000,
  reporter: [['list']],
  outputDir: 'test-results',
  forbidOnly: true,
};

export default config;
