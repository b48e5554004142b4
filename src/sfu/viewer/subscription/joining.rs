//! How the target of a subscription can be joined: from which layer's ring, and how long something better is waited for.

use std::time::Duration;

use rtp::{MediaKind, MonoTime};

use super::{FALL_INTERVAL, KEYFRAME_LATE, REQUEST_INTERVAL, Subscription, WANTED_INTERVAL};
use crate::ring::GOP_MAX;
use crate::viewer::catch_up::{Cache, SLOW};
use crate::viewer::selector;
use crate::{Bitrate, LayerIndex, Rings};

impl Subscription {
    /// Until when a keyframe of the target may be waited for while another layer is shown.
    ///
    /// A viewer that was started low is in no hurry: while the ring holds a group of pictures of the target, the
    /// publisher is known to begin a new one soon, and is left in peace.
    pub(super) fn wait_shown(&self, now: MonoTime, rings: &Rings, target: LayerIndex) -> Option<MonoTime> {
        let ring = rings.get(self.kind, target);
        let due = ring.next_keyframe().map(|due| due + KEYFRAME_LATE).filter(|late| *late > now);
        if !self.starts_low {
            return due.filter(|late| late.since(now) <= SHOWN_PATIENCE + KEYFRAME_LATE);
        }
        let expiry = Cache::find(now, ring).map(|cache| cache.first.arrival + GOP_MAX + KEYFRAME_LATE);
        due.max(expiry).filter(|until| *until > now)
    }

    /// Returns the layer that the viewer can be given from its ring at once.
    pub(super) fn startable(&self, now: MonoTime, rings: &Rings, target: LayerIndex) -> Option<LayerIndex> {
        let info = self.info.as_ref()?;
        let cache = |layer| Cache::find(now, rings.get(self.kind, layer));
        let of_target = cache(target).map(|cache| cache.backlog());
        if self.is_shown() {
            let patience = self.fall_patience(of_target);
            if self.falls_since.is_some_and(|since| now.since(since) >= patience) {
                // No keyframe came. What is shown breaks soon: rather go back a little.
                return of_target.map(|_| target);
            }
            let source = self.source(info.epoch, target);
            let fresh = cache(target).filter(|cache| self.outgoing.may_join(source, cache.first.seq));
            return fresh.is_some_and(|cache| cache.backlog() <= SWITCH_BACKLOG_MAX).then_some(target);
        }
        if self.barred.is_some_and(|(epoch, until)| epoch == info.epoch && now < until) {
            return None;
        }
        if of_target.is_some_and(|backlog| backlog <= DIRECT_BACKLOG_MAX) {
            return Some(target);
        }
        let formats = self.outgoing.formats();
        // What the path does not carry is not begun once more.
        let falls_from = self.current().filter(|_| self.falls_since.is_some());
        let is_too_much = |layer| self.falls_since.is_some() && self.rate_of(layer) > self.rate_of(target);
        let cached = info.layers.iter().filter(|layer| {
            let usable = layer.active && formats.decodes(layer.index);
            let fits = falls_from != Some(layer.index) && !is_too_much(layer.index);
            usable && fits && cache(layer.index).is_some()
        });
        selector::lowest(cached, None).map(|layer| layer.index)
    }

    /// Returns how long a viewer whose path does not carry what it sees waits for a keyframe of a lower layer, before it is
    /// given what the ring has of that, so far back.
    fn fall_patience(&self, backlog: Option<Duration>) -> Duration {
        if !self.is_overfull() {
            FALL_MAX
        } else if backlog.is_some_and(|backlog| backlog <= FALL_BACKLOG_MAX) {
            Duration::ZERO
        } else {
            FALL_FULL_MAX
        }
    }

    /// Returns when to see again how the target can be joined.
    pub(super) fn next_look(&self, now: MonoTime) -> MonoTime {
        let Some(since) = self.falls_since else { return now + REQUEST_INTERVAL };
        let soon = now + FALL_INTERVAL;
        Some(since + self.fall_patience(None)).filter(|at| *at > now).map_or(soon, |at| at.min(soon))
    }

    /// Says whether the path takes no more than what is under way.
    pub(super) fn is_overfull(&self) -> bool {
        self.is_full
    }

    /// Returns how long a burst of a layer takes to the live edge.
    pub(super) fn lasts(&self, cache: &Cache<'_>, layer: LayerIndex) -> Duration {
        cache.lasts(self.rate_of(layer), self.path)
    }

    /// Returns how fast a known path takes a burst of a layer. What is known may be too little, of a path that was cut:
    /// it carries the layer, or nothing helps.
    pub(super) fn pace(&self, layer: LayerIndex) -> Option<Bitrate> {
        self.path.map(|path| path.max(self.rate_of(layer).scaled(PACE_MIN)))
    }

    pub(super) fn rate_of(&self, layer: LayerIndex) -> Bitrate {
        let mut layers = self.info.iter().flat_map(|info| &info.layers);
        Bitrate::from_bps(layers.find(|info| info.index == layer).map_or(0, |info| info.bitrate_bps))
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
            Some(due) if due + KEYFRAME_LATE > now => {
                (due.since(now) < lasts.min(STILL_MAX)).then(|| due + KEYFRAME_LATE)
            }
            _ => (lasts > SLOW && self.ask_seldom(now, rings, target)).then(|| now + WANTED_INTERVAL),
        }
    }
}

/// Until when a keyframe of the target is waited for while nothing is shown, because it should come in a moment.
pub(super) fn wait_dark(now: MonoTime, rings: &Rings, target: LayerIndex) -> Option<MonoTime> {
    let due = rings.get(MediaKind::Video, target).next_keyframe()?;
    (due.since(now) <= DARK_PATIENCE && due + KEYFRAME_LATE > now).then(|| due + KEYFRAME_LATE)
}

/// How near the next keyframe must be for a viewer without a picture to wait for it.
const DARK_PATIENCE: Duration = Duration::from_millis(100);
/// A target whose keyframe is at most this old is joined at once, without a lower layer first: its burst is short.
const DIRECT_BACKLOG_MAX: Duration = Duration::from_millis(500);
/// When a lower layer that the path asks for is taken from the ring, however old.
const FALL_MAX: Duration = Duration::from_millis(600);
/// The same when the path is full: what is shown breaks now.
const FALL_FULL_MAX: Duration = Duration::from_millis(250);
/// A group of pictures that is shorter is taken from the ring at once then.
const FALL_BACKLOG_MAX: Duration = Duration::from_millis(800);
/// How much faster than it was made a burst may go at least.
const PACE_MIN: f64 = 1.2;
/// How long a viewer whose path does not carry what it sees waits for a keyframe rather than for a burst.
const FALL_WAIT_MAX: Duration = Duration::from_millis(400);
/// For how long a picture may stand still rather than go on slowly from an older one.
pub(super) const STILL_MAX: Duration = Duration::from_millis(500);
/// The same for a viewer that sees another layer meanwhile: then it is asked for.
const SHOWN_PATIENCE: Duration = Duration::from_millis(200);
/// How far a switch may go back while another layer is shown: what the viewer does not see as a leap.
const SWITCH_BACKLOG_MAX: Duration = Duration::from_millis(100);
