import { expect, test } from 'vitest';

test('importing the SDK touches no browser global', async () => {
  expect('window' in globalThis).toBe(false);

  const sdk = await import('../../sdk/index.ts');

  expect(Object.keys(sdk)).toEqual(expect.arrayContaining(['publish', 'watch', 'camera', 'LiveError']));
});
