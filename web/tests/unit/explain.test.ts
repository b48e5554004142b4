import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { agoWords, joinSteps, levelOf, pairWords } from '../../pages/page-kit/explanation.ts';
import { layerCells, rows as publisherRows } from '../../pages/studio/arrivals.ts';
import { rows as viewerRows } from '../../pages/viewer/explanation-panel.ts';
import { decodeExplanation, type PublishExplanation, type WatchExplanation } from '../../sdk/explain.ts';

/** What the server's own tests say that it writes. */
async function golden(name: string): Promise<unknown> {
  return JSON.parse(
    await readFile(new URL(`../../../tests/golden/room/${name}.json`, import.meta.url), 'utf8'),
  );
}

async function viewer(): Promise<WatchExplanation> {
  const explanation = decodeExplanation(await golden('viewer'));
  if (explanation?.role !== 'viewer') throw new Error('not a viewer');
  return explanation;
}

async function publisher(): Promise<PublishExplanation> {
  const explanation = decodeExplanation(await golden('publisher'));
  if (explanation?.role !== 'publisher') throw new Error('not a publisher');
  return explanation;
}

test('a viewer is told what the server wrote', async () => {
  const explanation = await viewer();

  expect(explanation).toMatchObject({
    session: 's000002',
    room: 'demo',
    connected: true,
    reason: 'path',
    rttMs: 23.1,
    lossRatio: 0.004,
    lastPliMs: 7901.2,
    lastKeyframeMs: 812.5,
    pair: { protocol: 'udp', local: '192.0.2.1:8080', remote: '198.51.100.7:50123' },
    desired: { id: 'f', height: 720 },
    current: { id: 'h', height: 360, bitrate: 480_000 },
    estimate: { bitrate: 900_000, limiter: 'delay' },
  });
  expect(explanation.join.totalMs).toBe(146.3);
});

test('a publisher is told what the server wrote', async () => {
  const explanation = await publisher();

  expect(explanation.pair).toBeNull();
  expect(explanation.rttMs).toBeNull();
  expect(explanation.join).toMatchObject({ httpMs: 2.8, iceMs: null, totalMs: null });
  expect(explanation.layers.map(({ id, reason }) => [id, reason])).toEqual([
    ['h', 'arrives'],
    ['f', 'never-sent'],
  ]);
  expect(explanation.layers[1]).toMatchObject({ height: null, active: false, lastPliMs: null });
  expect(explanation.feedback.recovered).toBe(11);
});

test('what is no explanation is told from one, and a new word does no harm', async () => {
  for (const body of [null, [], 'x', {}, { session: 's1' }, { session: 's1', role: 'spy' }])
    expect(decodeExplanation(body)).toBeNull();
  const newer = { ...((await golden('viewer')) as object), reason: 'solar-flare', video: 7, join: null };
  expect(decodeExplanation(newer)).toMatchObject({
    reason: 'unknown',
    current: null,
    join: { httpMs: null },
  });
});

test('the viewer reads what it gets, what it wanted and what the path carries', async () => {
  const rows = new Map(viewerRows(await viewer()));

  expect(rows.get('Layer')).toBe('360p · 480 kbit/s');
  expect(rows.get('Wanted')).toBe('720p · 1.5 Mbit/s');
  expect(rows.get('Path carries')).toBe('900 kbit/s. With more, a queue grows on the way to you.');
  expect(rows.get('Keyframe')).toBe('sent 0.8 s ago, asked for 7.9 s ago');
  expect(rows.get('Path')).toBe('UDP 198.51.100.7:50123 → 192.0.2.1:8080');
});

test('a keyframe that was never sent or asked for is said in words', async () => {
  const explanation = { ...(await viewer()), lastKeyframeMs: null, lastPliMs: null };

  expect(new Map(viewerRows(explanation)).get('Keyframe')).toBe('none sent yet, never asked for');
});

test('a wish that is met is not repeated', async () => {
  const explanation = await viewer();

  const rows = viewerRows({ ...explanation, desired: explanation.current });

  expect(rows.map(([term]) => term)).not.toContain('Wanted');
});

test('the host reads what arrives of each layer', async () => {
  const { layers, ...head } = await publisher();

  expect(layers.map(layerCells)).toEqual([
    ['360p', '480 kbit/s', '0.0 %', '0.4 s ago'],
    ['f', '–', '–', '–'],
  ]);
  expect(new Map(publisherRows({ layers, ...head })).get('Packets')).toBe('12 asked for again, 11 repaired');
});

test('reasons worry as much as they should', () => {
  const level = (reason: WatchExplanation['reason']) => levelOf({ reason, text: '', hint: '' });

  expect([level('best'), level('arrives')]).toEqual(['good', 'good']);
  expect([level('wish'), level('not-wanted'), level('unknown')]).toEqual(['fair', 'fair', 'fair']);
  expect([level('path'), level('loss'), level('never-sent')]).toEqual(['poor', 'poor', 'poor']);
});

test('times and paths are written for people', () => {
  expect([agoWords(null), agoWords(812), agoWords(12_400), agoWords(200_000)]).toEqual([
    'never',
    '0.8 s ago',
    '12 s ago',
    '3 min ago',
  ]);
  expect(pairWords(null)).toBe('none yet');
  const open = { dtlsMs: null, firstPacketMs: null, firstKeyframeMs: null, totalMs: null };
  expect(joinSteps({ httpMs: 3, iceMs: 60, ...open })).toEqual([
    ['Request', 3],
    ['ICE', 60],
  ]);
});
