//! What a path that is known to be slow changes about bursts. Packet path.

use std::time::Duration;

use rtp::MonoTime;

use super::{KEYFRAME_LATE, Subscription, WANTED_INTERVAL};
use crate::ring::Ring;
use crate::viewer::ViewerOutput;
use crate::viewer::catch_up::Cache;
use crate::{Bitrate, LayerIndex, Packet, Rings};

impl Subscription {
    /// Returns how long a burst of a layer takes to the live edge.
    pub(super) fn lasts(&self, cache: &Cache<'_>, layer: LayerIndex) -> Duration {
        let mut layers = self.info.iter().flat_map(|info| &info.layers);
        let bps = layers.find(|info| info.index == layer).map_or(0, |info| info.bitrate_bps);
        cache.lasts(Bitrate::from_bps(bps), self.path)
    }

    /// Until when a keyframe is waited for because it is there sooner than a burst would get through.
    pub(super) fn wait_slow(&mut self, now: MonoTime, rings: &Rings, target: LayerIndex) -> Option<MonoTime> {
        self.path?;
        let layer = self.startable(now, rings, target)?;
        let cache = Cache::find(now, rings.get(self.kind, layer))?;
        let mut lasts = self.lasts(&cache, layer);
        if self.falls_since.is_some() {
            // What is shown breaks meanwhile.
            lasts = lasts.min(FALL_WAIT_MAX);
        }
        match rings.get(self.kind, target).next_keyframe() {
            Some(due) if due + KEYFRAME_LATE > now => (due.since(now) < lasts).then(|| due + KEYFRAME_LATE),
            _ if lasts > SLOW && self.last_wanted.is_none_or(|at| now.since(at) >= WANTED_INTERVAL * 2) => {
                self.last_wanted = Some(now);
                self.push(ViewerOutput::RequestKeyframe(target));
                Some(now + WANTED_INTERVAL)
            }
            _ => None,
        }
    }
}

/// Says whether a keyframe has come behind a packet of a burst: worth more, on a path that is slow, than what lies
/// between.
pub(super) fn has_newer_keyframe(ring: &Ring, packet: &Packet) -> bool {
    ring.gop().is_some_and(|gop| gop.keyframe > packet.seq && gop.timestamp != packet.timestamp)
}

/// A burst that takes longer than this is slower than a publisher who answers a request.
const SLOW: Duration = Duration::from_millis(800);
/// How long a viewer whose path does not carry what it sees waits for a keyframe rather than for a burst.
const FALL_WAIT_MAX: Duration = Duration::from_millis(800);
