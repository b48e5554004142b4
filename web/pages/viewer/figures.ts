import type { Latency, WatchStats } from '../../sdk/index.ts';
import type { Row } from '../page-kit/explanation.ts';
import { bitrate, seconds } from '../page-kit/words.ts';

/** How good a latency is, for the colour of its dot. */
export type LatencyLevel = 'good' | 'fair' | 'poor';

/** At most one second is good, at most five fair. */
export function latencyLevel({ ms }: Latency): LatencyLevel {
  if (ms <= 1000) return 'good';
  return ms <= 5000 ? 'fair' : 'poor';
}

/** `0.18 s behind`, with a sign where it is an estimate. */
export function latencyWords(latency: Latency): string {
  return `${latency.method === 'estimate' ? '≈ ' : ''}${seconds(latency.ms)} behind`;
}

const methods: Readonly<Record<Latency['method'], string>> = {
  'capture-time': 'capture time of the frame on screen, by sender reports',
  estimate: 'half the round trip, buffer and decoder',
};

/** What the details list shows, in order. */
export function figures(stats: WatchStats, latency: Latency | null): readonly Row[] {
  return [
    ['Latency', latency ? `${Math.round(latency.ms)} ms ± ${Math.round(latency.accuracyMs)} ms` : '–'],
    ['Measured by', latency ? methods[latency.method] : '–'],
    ['Picture', `${stats.width}×${stats.height} at ${Math.round(stats.fps)} frames/s, ${stats.codec}`],
    ['Rate', bitrate(stats.bitrate)],
    ['Network', `${stats.protocol.toUpperCase()}, round trip ${Math.round(stats.rttMs ?? 0)} ms`],
    ['Loss', `${(stats.lossRatio * 100).toFixed(1)} %`],
    ['Jitter buffer', `${Math.round(stats.bufferMs)} ms`],
    ['Freezes', `${stats.freezeCount}, ${seconds(stats.freezeMs)} in all`],
  ];
}
