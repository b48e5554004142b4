import type { Quality } from './discovery.ts';
import type { Latency } from './latency.ts';
import type { Playback } from './player.ts';
import type { WatchStats } from './stats.ts';

/** The `<video>` began, stopped or changed how it plays. */
export class PlaybackEvent extends Event {
  override readonly type = 'playback';
  readonly playback: Playback;

  constructor(playback: Playback) {
    super('playback');
    this.playback = playback;
  }
}

/** The room's layers have changed. */
export class QualitiesEvent extends Event {
  override readonly type = 'qualities';
  readonly qualities: readonly Quality[];

  constructor(qualities: readonly Quality[]) {
    super('qualities');
    this.qualities = qualities;
  }
}

/** What the room says of itself, every few seconds. */
export class RoomEvent extends Event {
  override readonly type = 'room';
  readonly live: boolean;
  readonly viewers: number;

  constructor(live: boolean, viewers: number) {
    super('room');
    this.live = live;
    this.viewers = viewers;
  }
}

/** A reading of what is being received, once a second. */
export class WatchStatsEvent extends Event {
  override readonly type = 'stats';
  readonly stats: WatchStats;
  readonly latency: Latency | null;

  constructor(stats: WatchStats, latency: Latency | null) {
    super('stats');
    this.stats = stats;
    this.latency = latency;
  }
}
