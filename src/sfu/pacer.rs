//! When packets leave for one viewer: spread over the path, audio in front, never an old queue. Packet path.
//!
//! Think of a short waiting room in front of the rewriter. While it is open ([`Pacer::room`]) packets pass by it and
//! are only counted ([`Pacer::spend`]): that is how nearly all leave. Else they are pushed as they arrive and released
//! at [`SPEED`] times the estimate, so that a keyframe does not fill the viewer's path at once; audio waits for nobody.
//! A keyframe on a path without room, or one that begins another layer, leaves at [`SPEED_KEYFRAME`] times the estimate:
//! others who share the path go up at the same one.
//! While a probe is under way the release follows the probe's rate, marks what leaves, and asks for padding where
//! media is missing.
//!
//! **Never an old queue.** Nothing waits longer than [`WAIT_MAX`]. When video would, whole frames go: those before a
//! newer keyframe that already waits, or else all that have not begun, and then everything up to the next keyframe,
//! which [`Pacer::wants_keyframe`] asks for. A frame that has begun is finished. A keyframe is never dropped for being
//! large: it speeds up instead, so that it is out in time.
//!
//! **Invariants.** The order within audio and of the frames of video is kept. Queues are bounded ([`VIDEO_MAX`],
//! [`AUDIO_MAX`]); they take memory while something waits, and most viewers' never do. It is put in front of the
//! numbering, so that a drop is no gap: what is released says behind which drop it comes.

use std::collections::VecDeque;
use std::time::Duration;

use rtp::{MediaKind, MonoTime, RtpTimestamp};

use crate::bwe::{Cluster, Probe};
use crate::{Bitrate, LayerIndex};

/// How much faster than the estimate packets leave.
pub const SPEED: f64 = 2.5;

/// The same when more comes than the path carries.
pub const SPEED_SHORT: f64 = 1.15;

/// The same of a keyframe that may fill the path's queue alone.
pub const SPEED_KEYFRAME: f64 = 1.25;

/// The longest that anything waits.
pub const WAIT_MAX: Duration = Duration::from_millis(200);

/// What may not be dropped is out within this: some steps less, because steps come late at times.
const OUT_WITHIN: Duration = Duration::from_millis(180);

/// A frame that has waited no longer than this may begin, however large it is.
const FRESH: Duration = Duration::from_millis(40);

/// The most video packets that wait: 200 ms at 30 Mbit/s. Beyond, video is dropped as if it had waited too long.
pub const VIDEO_MAX: usize = 640;

/// The most audio packets that wait; beyond, the oldest goes.
pub const AUDIO_MAX: usize = 64;

/// What an idle moment may save up: a burst is at most so long, but always one packet.
const BURST: Duration = Duration::from_millis(5);

/// The same where the path has room: at [`SPEED`] more than a usual frame, so that frames leave in one piece and cost
/// one call to the kernel.
const BURST_RELAXED: Duration = Duration::from_millis(25);

/// What one step may release at most, of a queue.
const BUSY_BURST: Duration = Duration::from_millis(20);

/// What audio, retransmissions and what else a report sets off, asking nobody, may put off video for.
const DEBT_MAX: Duration = Duration::from_millis(100);

/// Packets are released in steps of this, so that a step makes a run.
const STEP: Duration = Duration::from_millis(5);

/// The slowest release: a packet in 100 ms, whatever the estimate.
const RATE_MIN: Bitrate = Bitrate::from_kbps(120);

/// Below this a queue that ran empty keeps its memory, so that a path that is now and then slow does not allocate.
const KEPT_CAPACITY: usize = 64;

/// A padding packet's bytes.
const PADDING_BYTES: u16 = 1_000;

/// What a probe pays off before it begins: one packet, so that it is not late.
const PROBE_DEBT_MAX: f64 = 1_500.0;

/// How long a probe may take, whatever happens to the release.
const PROBE_MAX: Duration = Duration::from_millis(500);

/// The waiting room of one viewer. `T` names a packet; the pacer does not look into it. Its fields are in the order that
/// [`crate::viewer::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub struct Pacer<T> {
    /// Bytes that may leave now; below zero after audio or a last large packet.
    credit: f64,
    refilled: MonoTime,
    /// The usual rate of release, and what it is at least.
    usual: Bitrate,
    is_short: bool,
    /// Whether the frame that has begun is the first of another layer than the one before.
    goes_over: bool,
    /// Whether video is dropped until a keyframe begins.
    waiting: bool,
    video: VecDeque<Waiting<T>>,
    audio: VecDeque<Item<T>>,
    /// The rate of release of a keyframe that may fill the path's queue alone.
    careful: Bitrate,
    /// Whether the path has room for a whole frame at once.
    is_relaxed: bool,
    probe: Option<Running>,
    /// The frame whose first packets have left.
    begun: Option<Frame>,
    video_bytes: u64,
    /// The last packet that was dropped behind all that wait.
    dropped: Option<Item<T>>,
    drops: Drops,
}

/// A packet in the waiting room, and the last one that was dropped before it.
#[derive(Clone, Copy, Debug)]
struct Waiting<T> {
    item: Item<T>,
    after: Option<Item<T>>,
}

impl<T> Waiting<T> {
    /// Says whether what came before this was dropped, and a packet is of that.
    fn follows_a_drop_of(&self, item: &Item<T>) -> bool {
        let of_layer = self.after.as_ref().is_some_and(|after| after.frame.layer == item.frame.layer);
        of_layer && self.item.frame != item.frame && item.order < self.item.order
    }
}

/// What the release follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What the path carries.
    pub estimate: Bitrate,
    /// What the rate of release is at least.
    pub floor: Bitrate,
    /// Whether the path has room for a whole frame at once.
    pub relaxed: bool,
    /// Whether what comes is more than the path carries: then it is here that frames are dropped, whole, rather than on
    /// the path.
    pub is_short: bool,
}

/// A frame's name: layers may count their time alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The layer.
    pub layer: LayerIndex,
    /// Its timestamp there.
    pub timestamp: RtpTimestamp,
}

/// A packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// The packet.
    pub what: T,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its place among the packets of its layer.
    pub order: u64,
    /// The frame that it belongs to, of its layer.
    pub frame: Frame,
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
        /// The last packet of its kind that was dropped since the one that left before.
        after: Option<T>,
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
    /// Bytes still to send; below nought after a last large packet.
    left: i64,
}

impl<T: Copy> Pacer<T> {
    /// Makes an empty pacer.
    #[must_use]
    pub fn new(estimate: Bitrate, now: MonoTime) -> Self {
        Self {
            audio: VecDeque::new(),
            video: VecDeque::new(),
            video_bytes: 0,
            usual: estimate.scaled(SPEED).max(RATE_MIN),
            careful: estimate.scaled(SPEED_KEYFRAME).max(RATE_MIN),
            is_relaxed: false,
            is_short: false,
            goes_over: false,
            credit: 0.0,
            refilled: now,
            probe: None,
            begun: None,
            waiting: false,
            dropped: None,
            drops: Drops::default(),
        }
    }

    /// Sets what the release follows.
    pub fn set_pace(&mut self, now: MonoTime, pace: Pace) {
        self.refill(now);
        let speed = if pace.is_short { SPEED_SHORT } else { SPEED };
        let rate = |speed| pace.estimate.scaled(speed).max(pace.floor).max(RATE_MIN);
        self.usual = rate(speed);
        self.careful = rate(speed.min(SPEED_KEYFRAME));
        self.is_short = pace.is_short;
        self.is_relaxed = pace.relaxed;
    }

    /// Reads what [`Self::room`] and [`Self::spend`] read; see [`crate::viewer::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let here = [self.video.is_empty(), self.probe.is_some(), self.waiting, self.begun.is_some()];
        here.into_iter().fold(self.credit.to_bits(), |read, here| read ^ u64::from(here))
    }

    /// Returns how many bytes of video may leave without waiting: none while something waits. The last packet may
    /// exceed it. What left is to be counted by [`Self::spend`].
    pub fn room(&mut self, now: MonoTime) -> u32 {
        if !self.video.is_empty() || self.probe.is_some() || self.waiting {
            return 0;
        }
        self.refill(now);
        // Saturates; what is left of a byte is a byte.
        self.credit.ceil() as u32
    }

    /// Counts bytes that left without waiting.
    pub fn spend(&mut self, now: MonoTime, bytes: usize) {
        self.refill(now);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.credit = (self.credit - f64::from(bytes)).max(-(self.usual.bytes_in(DEBT_MAX) as f64));
        if let Some(running) = &mut self.probe {
            running.left = running.left.saturating_sub(i64::from(bytes));
        }
    }

    /// Corrects what a release of padding counted: `sent` bytes left instead.
    pub fn correct(&mut self, released: u16, sent: usize) {
        let sent = u32::try_from(sent).unwrap_or(u32::MAX);
        self.credit += f64::from(released) - f64::from(sent);
        if let Some(running) = &mut self.probe {
            running.left = running.left.saturating_add(i64::from(released)).saturating_sub(i64::from(sent));
        }
    }

    /// Takes note that the first packets of a frame have left without waiting: what follows of it is not dropped.
    pub fn note_begun(&mut self, frame: Frame) {
        self.goes_over &= self.begun == Some(frame);
        self.begun = Some(frame);
    }

    /// Returns the mark of the probe that is under way.
    #[must_use]
    pub fn cluster(&self) -> Option<Cluster> {
        self.probe.map(|running| running.probe.cluster)
    }

    /// Begins a probe; one that is under way ends.
    pub fn begin_probe(&mut self, now: MonoTime, probe: Probe) {
        self.refill(now);
        self.credit = self.credit.clamp(-PROBE_DEBT_MAX, 0.0);
        let left = i64::try_from(probe.bytes).unwrap_or(i64::MAX);
        self.probe = Some(Running { probe, began: now, left });
    }

    /// Puts a packet into the waiting room, and makes room for it by dropping what is stale.
    pub fn push(&mut self, now: MonoTime, item: Item<T>) {
        self.refill(now);
        match item.kind {
            MediaKind::Audio => self.push_audio(item),
            MediaKind::Video => self.push_video(now, item),
        }
    }

    /// Takes the first video packet out, whatever the time.
    pub fn take_video(&mut self) -> Option<T> {
        self.pop_video().map(|waiting| waiting.item.what)
    }

    /// Forgets all video that waits: another layer or publisher begins.
    pub fn clear_video(&mut self) {
        self.video.clear();
        self.video_bytes = 0;
        self.begun = None;
        self.waiting = false;
        self.dropped = None;
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
            self.spend(now, usize::from(item.size));
            return Some(Release::Media { what: item.what, after: None, probe: cluster });
        }
        self.drop_stale(now);
        if self.credit <= 0.0 {
            return None;
        }
        if let Some(Waiting { item, after }) = self.pop_video() {
            self.spend(now, usize::from(item.size));
            return Some(Release::Media { what: item.what, after: after.map(|it| it.what), probe: cluster });
        }
        let probe = cluster?;
        self.spend(now, usize::from(PADDING_BYTES));
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
        let audio = self.audio.front().map_or(Duration::ZERO, |item| now.since(item.at));
        let video = self.video.front().map_or(Duration::ZERO, |waiting| now.since(waiting.item.at));
        audio.max(video)
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
        let is_begun = self.begun == Some(item.frame);
        // One of its packets that comes late finds the others, and what came behind them, and opens nothing.
        let opens = item.keyframe && !is_begun && !self.holds_frame(item.frame);
        if self.waiting && !opens && !is_begun {
            self.drops.undecodable_video = self.drops.undecodable_video.saturating_add(1);
            self.dropped = later(self.dropped, item);
            return;
        }
        self.waiting &= !opens;
        if opens && self.is_late(now) {
            // What waits in front of a keyframe is not worth its delay.
            self.drop_frames(|waiting| !waiting.keyframe);
        }
        if self.video.len() >= VIDEO_MAX {
            self.drop_frames(|_| true);
            let follows = is_begun || item.keyframe;
            if !follows || self.video.len() >= VIDEO_MAX {
                self.waiting = true;
                self.drops.undecodable_video = self.drops.undecodable_video.saturating_add(1);
                self.dropped = later(self.dropped, item);
                return;
            }
        }
        let at = self.place_of(&item);
        if self.video.get(at).is_some_and(|next| next.follows_a_drop_of(&item)) {
            self.drops.undecodable_video = self.drops.undecodable_video.saturating_add(1);
            return;
        }
        self.video_bytes = self.video_bytes.saturating_add(u64::from(item.size));
        // What was dropped before a keyframe is told with it; what belongs to a frame that has begun lies before that.
        let after = if opens && at == self.video.len() { self.dropped.take() } else { None };
        self.video.insert(at, Waiting { item, after });
    }

    /// Returns where a packet waits: in the order of its layer, as what is numbered before it makes it a hole that a drop
    /// would leave open; one that comes late belongs to its frame, or the frame could go without it.
    fn place_of(&self, item: &Item<T>) -> usize {
        let of_layer = |waiting: &Waiting<T>| waiting.item.frame.layer == item.frame.layer;
        let behind = self.video.len();
        if self.video.back().is_none_or(|last| of_layer(last) && last.item.order < item.order) {
            return behind;
        }
        let newer = |waiting: &Waiting<T>| of_layer(waiting) && waiting.item.order > item.order;
        if let Some(newer) = self.video.iter().position(newer) {
            return newer;
        }
        let newest = self.video.iter().rposition(|waiting| waiting.item.frame == item.frame);
        let of_frame = newest.map(|at| at.saturating_add(1));
        of_frame.unwrap_or(if self.begun == Some(item.frame) { 0 } else { behind })
    }

    fn pop_video(&mut self) -> Option<Waiting<T>> {
        let waiting = self.video.pop_front()?;
        self.video_bytes = self.video_bytes.saturating_sub(u64::from(waiting.item.size));
        self.goes_over = self.goes_over(waiting.item.frame);
        self.begun = Some(waiting.item.frame);
        if self.video.is_empty() && self.video.capacity() > KEPT_CAPACITY {
            self.video.shrink_to(0);
        }
        Some(waiting)
    }

    /// Says whether a frame is the first of another layer than the one before.
    fn goes_over(&self, frame: Frame) -> bool {
        self.begun
            .is_some_and(|begun| if begun == frame { self.goes_over } else { begun.layer != frame.layer })
    }

    fn holds_frame(&self, frame: Frame) -> bool {
        self.video.iter().rev().any(|waiting| waiting.item.frame == frame)
    }

    /// Says whether what waits takes longer than it may at the usual speed.
    fn is_late(&self, now: MonoTime) -> bool {
        let oldest = self.video.front().map_or(Duration::ZERO, |waiting| now.since(waiting.item.at));
        oldest.saturating_add(self.usual.time_for(self.video_bytes)) > WAIT_MAX
    }

    /// Drops whole frames when the first packet has waited too long.
    fn drop_stale(&mut self, now: MonoTime) {
        let Some(Waiting { item: first, .. }) = self.video.front() else { return };
        if first.keyframe || self.begun == Some(first.frame) {
            return;
        }
        // A frame that begins is finished, whatever that takes. Where the path carries less than comes, it does not begin
        // when that would be too much.
        let waited = now.since(first.at);
        let is_late =
            self.is_short && waited > FRESH && waited + self.usual.time_for(self.front_bytes()) > WAIT_MAX;
        if waited <= WAIT_MAX && !is_late {
            return;
        }
        let items = || self.video.iter().map(|waiting| &waiting.item);
        let newest_keyframe = items().rev().find(|item| item.keyframe).map(|item| item.frame);
        match newest_keyframe {
            Some(keyframe) => {
                let behind = items().position(|item| item.frame == keyframe).unwrap_or(0);
                self.drop_first(behind);
            }
            None => {
                self.drop_frames(|_| true);
                self.waiting = true;
            }
        }
    }

    fn drop_first(&mut self, count: usize) {
        let mut last = None;
        for _ in 0..count {
            if let Some(Waiting { item, after }) = self.video.pop_front() {
                self.video_bytes = self.video_bytes.saturating_sub(u64::from(item.size));
                self.drops.stale_video = self.drops.stale_video.saturating_add(1);
                last = later(after.map_or(last, |after| later(last, after)), item);
            }
        }
        if let Some(first) = self.video.front_mut() {
            first.after = first.after.map_or(last, |after| later(last, after));
        }
    }

    /// Drops the waiting packets that `stale` names, but for the frame that has begun.
    fn drop_frames(&mut self, stale: impl Fn(&Item<T>) -> bool) {
        let begun = self.begun;
        let (mut kept_bytes, before) = (0_u64, self.video.len());
        let mut dropped: Option<Item<T>> = None;
        self.video.retain_mut(|Waiting { item, after }| {
            let keep = begun == Some(item.frame) || !stale(item);
            let opens = item.keyframe && begun != Some(item.frame);
            if keep {
                kept_bytes = kept_bytes.saturating_add(u64::from(item.size));
                if opens {
                    *after = after.map_or(dropped, |after| later(dropped, after));
                    dropped = None;
                }
            } else {
                dropped = later(after.map_or(dropped, |after| later(dropped, after)), *item);
            }
            keep
        });
        self.dropped = self.dropped.map_or(dropped, |before| later(dropped, before));
        self.video_bytes = kept_bytes;
        let dropped = before.saturating_sub(self.video.len()) as u64;
        self.drops.stale_video = self.drops.stale_video.saturating_add(dropped);
    }

    /// Returns the rate of release in bits per second: the probe's, or the usual one, or what it takes to be in
    /// time with what may not be dropped.
    fn rate(&self, now: MonoTime) -> u64 {
        let usual = self.probe.map_or(self.usual, |running| running.probe.target);
        let Some(Waiting { item: first, .. }) = self.video.front() else { return usual.as_bps() };
        if !first.keyframe && self.begun != Some(first.frame) {
            return usual.as_bps();
        }
        let is_careful =
            first.keyframe && self.probe.is_none() && (!self.is_relaxed || self.goes_over(first.frame));
        let usual = if is_careful { self.careful } else { usual };
        let bytes = self.front_bytes();
        let time_left = OUT_WITHIN.saturating_sub(now.since(first.at)).max(STEP);
        usual.max(Bitrate::of(bytes, time_left)).as_bps()
    }

    /// Returns the bytes that wait of the first frame.
    fn front_bytes(&self) -> u64 {
        let first = self.video.front().map(|waiting| waiting.item.frame);
        let of_frame = self.video.iter().take_while(|waiting| Some(waiting.item.frame) == first);
        of_frame.map(|waiting| u64::from(waiting.item.size)).sum()
    }

    fn refill(&mut self, now: MonoTime) {
        let elapsed = now.since(self.refilled);
        if elapsed.is_zero() {
            return;
        }
        let rate = Bitrate::from_bps(self.rate(now));
        let earned = rate.as_bps() as f64 / 8.0 * elapsed.as_secs_f64();
        let burst = if self.is_relaxed { BURST_RELAXED } else { BURST };
        let most = rate.bytes_in(burst).max(1) as f64;
        let idle = self.is_empty() && self.probe.is_none();
        // A late call makes up for at most so much.
        let busy_most = rate.bytes_in(BUSY_BURST) as f64;
        self.credit =
            if idle { (self.credit + earned).min(most) } else { self.credit + earned.min(busy_most) };
        self.refilled = now;
    }

    fn end_probe(&mut self, now: MonoTime) {
        if self.probe.is_some_and(|running| running.left <= 0 || now.since(running.began) > PROBE_MAX) {
            self.probe = None;
            self.credit = self.credit.min(0.0);
        }
    }
}

/// Returns the later of two dropped packets of a layer; of two layers the newer drop.
fn later<T>(before: Option<Item<T>>, dropped: Item<T>) -> Option<Item<T>> {
    match before {
        Some(before) if before.frame.layer == dropped.frame.layer && before.order > dropped.order => {
            Some(before)
        }
        _ => Some(dropped),
    }
}

#[cfg(test)]
mod tests;
