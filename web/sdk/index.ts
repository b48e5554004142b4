/**
 * The seed of Nearcast's SDK: go live by WHIP, watch by WHEP. No run-time dependency, and no browser global is touched
 * on import.
 */
export { type CameraAsk, camera, type Device, devices, microphone, screen } from './devices.ts';
export { type DiscoverOptions, discover, type Quality, type RoomInfo } from './discovery.ts';
export type { CodecPick, Layer } from './encodings.ts';
export { type ErrorCode, isLiveError, LiveError, type LiveErrorFields } from './error.ts';
export type {
  ArrivingLayer,
  CandidatePair,
  ExplainReason,
  Explanation,
  ExplanationHead,
  JoinSteps,
  LayerBrief,
  PublishExplanation,
  WatchExplanation,
  Why,
} from './explain.ts';
export { FailureEvent, type State, StateEvent } from './handle.ts';
export type { TokenSource } from './http.ts';
export type { Latency, LatencyMethod } from './latency.ts';
export type { Autoplay, Playback } from './player.ts';
export { Publish, type PublishEvents, type PublishOptions, PublishStatsEvent, publish } from './publish.ts';
export type { QualityPick } from './quality-pick.ts';
export { type ReconnectPolicy, type RetryContext, reconnectDefault } from './retry.ts';
export type { LayerStats, PublishStats, WatchStats } from './stats.ts';
export { Watch, type WatchEvents, type WatchOptions, watch } from './watch.ts';
export { PlaybackEvent, QualitiesEvent, RoomEvent, WatchStatsEvent } from './watch-events.ts';
