//! When packets leave for one viewer: spread over the path, audio in front, never an old queue. Packet path.
//!
//! Think of a short waiting room in front of the rewriter. Packets are pushed as they arrive and released at
//! [`SPEED`] times the estimate, so that a keyframe does not fill the viewer's path at once; audio waits for nobody.
//! While a probe is under way the release follows the probe's rate, marks what leaves, and asks for padding where
//! media is missing.
//!
//! **Never an old queue.** Nothing waits longer than [`WAIT_MAX`]. When video would, whole frames go: those before a
//! newer keyframe that already waits, or else all that have not begun, and then everything up to the next keyframe,
//! which [`Pacer::wants_keyframe`] asks for. A frame that has begun is finished. A keyframe is never dropped for being
//! large: it speeds up instead, so that it is out in time.
//!
//! **Invariants.** The order within audio and within video is kept. Queues are bounded ([`VIDEO_MAX`],
//! [`AUDIO_MAX`]) and nothing is allocated after construction. It is put in front of the numbering, so that a drop
//! is no gap.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::{MediaKind, MonoTime, RtpTimestamp};

use crate::Bitrate;
use crate::bwe::{Cluster, Probe};

/// How much faster than the estimate packets leave.
pub const SPEED: f64 = 2.5;

/// The longest that anything waits.
pub const WAIT_MAX: Duration = Duration::from_millis(200);

/// The most video packets that wait: 200 ms at 30 Mbit/s. Beyond, video is dropped as if it had waited too long.
pub const VIDEO_MAX: usize = 640;

/// The most audio packets that wait; beyond, the oldest goes.
pub const AUDIO_MAX: usize = 64;

/// What an idle moment may save up: a burst is at most so long, but always one packet.
const BURST: Duration = Duration::from_millis(5);

/// Packets are released in steps of this, so that a step makes a run.
const STEP: Duration = Duration::from_millis(5);

/// The slowest release: a packet in 100 ms, whatever the estimate.
const RATE_MIN: Bitrate = Bitrate::from_kbps(120);

/// A padding packet's bytes.
const PADDING_BYTES: u16 = 1_000;

/// How long a probe may take, whatever happens to the release.
const PROBE_MAX: Duration = Duration::from_millis(500);

/// The waiting room of one viewer. `T` names a packet; the pacer does not look into it.
#[derive(Debug)]
pub struct Pacer<T> {
    audio: VecDeque<Item<T>>,
    video: VecDeque<Item<T>>,
    video_bytes: u64,
    estimate: Bitrate,
    /// Bytes that may leave now; below zero after audio or a last large packet.
    credit: f64,
    refilled: MonoTime,
    probe: Option<Running>,
    /// The frame whose first packets have left.
    begun: Option<RtpTimestamp>,
    /// Whether video is dropped until a keyframe begins.
    waiting: bool,
    drops: Drops,
}

/// A packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// The packet.
    pub what: T,
    /// Audio or video.
    pub kind: MediaKind,
    /// The frame that it belongs to.
    pub frame: RtpTimestamp,
    /// Whether that frame is a keyframe.
    pub keyframe: bool,
    /// Bytes on the wire.
    pub size: u16,
    /// When it was pushed.
    pub at: MonoTime,
}

/// What leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release<T> {
    /// Send this packet.
    Media {
        /// The packet.
        what: T,
        /// The probe that it belongs to.
        probe: Option<Cluster>,
    },
    /// Send so many bytes of padding.
    Padding {
        /// Bytes on the wire.
        size: u16,
        /// The probe that it belongs to.
        probe: Cluster,
    },
}

/// Packets that never left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Video packets of frames that would have come late.
    pub stale_video: u64,
    /// Video packets between a drop and the next keyframe.
    pub undecodable_video: u64,
    /// Audio packets that waited too long.
    pub stale_audio: u64,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    probe: Probe,
    began: MonoTime,
    left: u64,
}

impl<T: Copy> Pacer<T> {
    /// Makes an empty pacer.
    #[must_use]
    pub fn new(estimate: Bitrate, now: MonoTime) -> Self {
        Self {
            audio: VecDeque::with_capacity(AUDIO_MAX),
            video: VecDeque::with_capacity(VIDEO_MAX),
            video_bytes: 0,
            estimate,
            credit: 0.0,
            refilled: now,
            probe: None,
            begun: None,
            waiting: false,
            drops: Drops::default(),
        }
    }

    /// Sets the estimate that the release follows.
    pub fn set_estimate(&mut self, now: MonoTime, estimate: Bitrate) {
        self.refill(now);
        self.estimate = estimate;
    }

    /// Begins a probe; one that is under way ends.
    pub fn begin_probe(&mut self, now: MonoTime, probe: Probe) {
        self.refill(now);
        self.credit = self.credit.min(0.0);
        self.probe = Some(Running { probe, began: now, left: probe.bytes });
    }

    /// Puts a packet into the waiting room, and makes room for it by dropping what is stale.
    pub fn push(&mut self, now: MonoTime, item: Item<T>) {
        self.refill(now);
        match item.kind {
            MediaKind::Audio => self.push_audio(item),
            MediaKind::Video => self.push_video(now, item),
        }
    }

    /// Forgets all video that waits: another layer or publisher begins.
    pub fn clear_video(&mut self) {
        self.video.clear();
        self.video_bytes = 0;
        self.begun = None;
        self.waiting = false;
    }

    /// Returns what leaves now; the driver polls until `None`.
    pub fn poll(&mut self, now: MonoTime) -> Option<Release<T>> {
        self.refill(now);
        self.end_probe(now);
        let cluster = self.probe.map(|running| running.probe.cluster);
        while let Some(item) = self.audio.pop_front() {
            if now.since(item.at) > WAIT_MAX {
                self.drops.stale_audio = self.drops.stale_audio.saturating_add(1);
                continue;
            }
            self.spend(item.size);
            return Some(Release::Media { what: item.what, probe: cluster });
        }
        self.drop_stale(now);
        if self.credit <= 0.0 {
            return None;
        }
        if let Some(item) = self.pop_video() {
            self.spend(item.size);
            return Some(Release::Media { what: item.what, probe: cluster });
        }
        let probe = cluster?;
        self.spend(PADDING_BYTES);
        Some(Release::Padding { size: PADDING_BYTES, probe })
    }

    /// Returns when [`Self::poll`] has something again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        if !self.audio.is_empty() {
            return Some(self.refilled);
        }
        let busy = !self.video.is_empty() || self.probe.is_some();
        busy.then(|| {
            let missing =
                Bitrate::from_bps(self.rate(self.refilled)).time_for((-self.credit).max(0.0) as u64);
            self.refilled + missing.max(STEP)
        })
    }

    /// Says whether video is being dropped until a keyframe comes.
    #[must_use]
    pub const fn wants_keyframe(&self) -> bool {
        self.waiting
    }

    /// Returns how long the first packet has waited.
    #[must_use]
    pub fn waited(&self, now: MonoTime) -> Duration {
        let oldest =
            |queue: &VecDeque<Item<T>>| queue.front().map_or(Duration::ZERO, |item| now.since(item.at));
        oldest(&self.audio).max(oldest(&self.video))
    }

    /// Returns how many packets wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.audio.len().saturating_add(self.video.len())
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.audio.is_empty() && self.video.is_empty()
    }

    /// Returns what was dropped.
    #[must_use]
    pub const fn drops(&self) -> Drops {
        self.drops
    }

    fn push_audio(&mut self, item: Item<T>) {
        if self.audio.len() >= AUDIO_MAX {
            self.audio.pop_front();
            self.drops.stale_audio = self.drops.stale_audio.saturating_add(1);
        }
        self.audio.push_back(item);
    }

    fn push_video(&mut self, now: MonoTime, item: Item<T>) {
        if self.waiting && !item.keyframe {
            self.drops.undecodable_video = self.drops.undecodable_video.saturating_add(1);
            return;
        }
        self.waiting = false;
        if item.keyframe && self.is_late(now) {
            // What waits in front of a keyframe is not worth its delay.
            self.drop_frames(|waiting| !waiting.keyframe);
        }
        if self.video.len() >= VIDEO_MAX {
            self.drop_frames(|_| true);
            let follows = self.begun == Some(item.frame) || item.keyframe;
            if !follows || self.video.len() >= VIDEO_MAX {
                self.waiting = true;
                self.drops.undecodable_video = self.drops.undecodable_video.saturating_add(1);
                return;
            }
        }
        self.video_bytes = self.video_bytes.saturating_add(u64::from(item.size));
        self.video.push_back(item);
    }

    fn pop_video(&mut self) -> Option<Item<T>> {
        let item = self.video.pop_front()?;
        self.video_bytes = self.video_bytes.saturating_sub(u64::from(item.size));
        self.begun = Some(item.frame);
        Some(item)
    }

    /// Says whether what waits takes longer than it may at the usual speed.
    fn is_late(&self, now: MonoTime) -> bool {
        let oldest = self.video.front().map_or(Duration::ZERO, |item| now.since(item.at));
        oldest.saturating_add(self.usual_rate().time_for(self.video_bytes)) > WAIT_MAX
    }

    /// Drops whole frames when the first packet has waited too long.
    fn drop_stale(&mut self, now: MonoTime) {
        let Some(first) = self.video.front() else { return };
        if now.since(first.at) <= WAIT_MAX || first.keyframe || self.begun == Some(first.frame) {
            return;
        }
        let newest_keyframe = self.video.iter().rev().find(|item| item.keyframe).map(|item| item.frame);
        match newest_keyframe {
            Some(keyframe) => {
                let behind = self.video.iter().position(|item| item.frame == keyframe).unwrap_or(0);
                self.drop_first(behind);
            }
            None => {
                self.drop_frames(|_| true);
                self.waiting = true;
            }
        }
    }

    fn drop_first(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(item) = self.video.pop_front() {
                self.video_bytes = self.video_bytes.saturating_sub(u64::from(item.size));
                self.drops.stale_video = self.drops.stale_video.saturating_add(1);
            }
        }
    }

    /// Drops the waiting packets that `stale` names, but for the frame that has begun.
    fn drop_frames(&mut self, stale: impl Fn(&Item<T>) -> bool) {
        let begun = self.begun;
        let (mut kept_bytes, before) = (0_u64, self.video.len());
        self.video.retain(|item| {
            let keep = begun == Some(item.frame) || !stale(item);
            kept_bytes = kept_bytes.saturating_add(if keep { u64::from(item.size) } else { 0 });
            keep
        });
        self.video_bytes = kept_bytes;
        let dropped = before.saturating_sub(self.video.len()) as u64;
        self.drops.stale_video = self.drops.stale_video.saturating_add(dropped);
    }

    fn usual_rate(&self) -> Bitrate {
        self.estimate.scaled(SPEED).max(RATE_MIN)
    }

    /// Returns the rate of release in bits per second: the probe's, or the usual one, or what it takes to be in
    /// time with what may not be dropped.
    fn rate(&self, now: MonoTime) -> u64 {
        let usual = self.probe.map_or_else(|| self.usual_rate(), |running| running.probe.target);
        let Some(first) = self.video.front() else { return usual.as_bps() };
        if !first.keyframe && self.begun != Some(first.frame) {
            return usual.as_bps();
        }
        let of_frame = self.video.iter().take_while(|item| item.frame == first.frame);
        let bytes = of_frame.map(|item| u64::from(item.size)).sum();
        let time_left = WAIT_MAX.saturating_sub(now.since(first.at)).max(STEP);
        usual.max(Bitrate::of(bytes, time_left)).as_bps()
    }

    fn refill(&mut self, now: MonoTime) {
        let elapsed = now.since(self.refilled);
        if elapsed.is_zero() {
            return;
        }
        let rate = Bitrate::from_bps(self.rate(now));
        let earned = rate.as_bps() as f64 / 8.0 * elapsed.as_secs_f64();
        let most = (rate.bytes_in(BURST).max(1)) as f64;
        let idle = self.is_empty() && self.probe.is_none();
        self.credit =
            if idle { (self.credit + earned).min(most) } else { self.credit + earned.min(most * 4.0) };
        self.refilled = now;
    }

    fn spend(&mut self, size: u16) {
        self.credit -= f64::from(size);
        if let Some(running) = &mut self.probe {
            running.left = running.left.saturating_sub(u64::from(size));
        }
    }

    fn end_probe(&mut self, now: MonoTime) {
        if self.probe.is_some_and(|running| running.left == 0 || now.since(running.began) > PROBE_MAX) {
            self.probe = None;
            self.credit = self.credit.min(0.0);
        }
    }
}

#[cfg(test)]
mod tests;
