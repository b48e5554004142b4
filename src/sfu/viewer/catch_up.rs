//! Brings a viewer from the newest keyframe of a packet ring to the live edge.
//!
//! Packet path. A decoder can only begin at a keyframe, and the next one may be seconds away. So the viewer gets the
//! newest one that is kept and everything since, faster than it was made: as a paced burst whose timestamps are drawn
//! together ([`Squeeze`]) so that the keyframe stands where the newest frame stands now and each later frame is due when
//! it is sent. When the burst reaches the packets that are just arriving, timestamps run on as for a viewer who was
//! there before: no latency is left behind. What arrives during the burst follows it in order, from the ring.
//!
//! **Invariants.** A burst is to last [`BURST_MAX`] at most, or as long as a path needs that is known to be slow; on such a
//! path not even its keyframe leaves faster than that takes it. On one of which nothing is known it is held back by what
//! arrives (`burst_window`), and lasts longer. A frame's outgoing timestamp is a pure function of its own, so
//! that a retransmission says the same. Timestamps rise strictly from frame to frame.
//!
//! Start reading at [`CatchUp`]; which layer, and whether at all, is `subscription`'s to say, by [`Cache`].

use std::time::Duration;

use rtp::{ExtSeq, MonoTime, RtpTimestamp};

use crate::ring::gop::{frame_start, lacks_beginning};
use crate::ring::{GOP_MAX, Gop, Ring};
use crate::{Bitrate, Packet};

/// A burst in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchUp {
    began: MonoTime,
    /// When the viewer was at the live edge last, or joined: a burst may give way to the next one.
    behind_since: MonoTime,
    first: RtpTimestamp,
    squeeze: Squeeze,
    /// How long it takes to the live edge.
    lasts: Duration,
    /// The packet of the ring that comes next.
    pub(crate) next: ExtSeq,
}

impl CatchUp {
    /// Plans the burst of a cached group of pictures, to take so long.
    pub(crate) fn new(now: MonoTime, cache: &Cache<'_>, lasts: Duration) -> Self {
        let backlog = cache.backlog();
        let squeeze = Squeeze::new(cache.newest.timestamp, ticks(backlog), ticks(lasts));
        let (first, next) = (cache.first.timestamp, cache.first.seq);
        Self { began: now, behind_since: now, first, squeeze, lasts, next }
    }

    /// Says that it takes the place of another burst.
    pub(crate) fn instead_of(self, other: Option<Self>) -> Self {
        Self { behind_since: other.map_or(self.behind_since, |other| other.behind_since), ..self }
    }

    /// Returns what draws the timestamps together.
    pub(crate) const fn squeeze(&self) -> Squeeze {
        self.squeeze
    }

    /// Returns when the burst reaches the live edge.
    pub(crate) fn end(&self) -> MonoTime {
        self.began + self.lasts
    }

    /// Says whether a packet belongs to the keyframe that the burst began with.
    pub(crate) fn is_first(&self, packet: &Packet) -> bool {
        packet.timestamp == self.first
    }

    /// Says whether a publisher who answers a request is sooner there.
    pub(crate) fn is_slow(&self) -> bool {
        self.lasts > SLOW
    }

    /// Says whether burst follows burst: only a faster path may end that.
    pub(crate) fn goes_on(&self, now: MonoTime) -> bool {
        self.is_slow() && now.since(self.behind_since) > LASTS_MAX
    }

    /// Says whether the path has not carried the burst, long after its end.
    pub(crate) fn is_late(&self, now: MonoTime) -> bool {
        now.since(self.end()) > LATE_MAX
    }

    /// Returns when a packet of the layer is due.
    pub(crate) fn due(&self, packet: &Packet) -> MonoTime {
        let shifted = |timestamp: RtpTimestamp| timestamp.plus(self.squeeze.shift(timestamp));
        let ahead = shifted(packet.timestamp).distance(shifted(self.first));
        let ahead = u64::try_from(ahead).unwrap_or(0);
        (self.began + Duration::from_nanos(ahead.saturating_mul(NANOS_PER_SECOND) / CLOCK_RATE))
            .min(self.end())
    }
}

/// Holds a burst to what a known path takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    opened: MonoTime,
    /// `None` where nobody knows what the path takes.
    rate: Option<Bitrate>,
    sent: u64,
}

impl Tap {
    /// Opens it for a burst.
    pub(crate) const fn open(now: MonoTime, rate: Option<Bitrate>) -> Self {
        Self { opened: now, rate, sent: 0 }
    }

    /// Takes note of a packet that was sent.
    pub(crate) fn note_sent(&mut self, packet: &Packet) {
        self.sent = self.sent.saturating_add(u64::try_from(packet.wire_len()).unwrap_or(0));
    }

    /// Returns when the path has taken what was sent, but for what may wait in its queue: nothing is due before.
    pub(crate) fn free_at(&self) -> MonoTime {
        let taken = self.rate.map_or(Duration::ZERO, |rate| rate.time_for(self.sent));
        self.opened + taken.saturating_sub(AHEAD_MAX)
    }
}

/// Draws the timestamps of a group of pictures together, up to a point from which on they stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Squeeze {
    /// Timestamps from here on stay.
    until: RtpTimestamp,
    /// Which part of the distance to `until` remains, in 1/65,536.
    keep: u32,
}

impl Squeeze {
    /// Draws a backlog that ends at `newest` together to the place of `newest`, to end `lasts` ticks later.
    fn new(newest: RtpTimestamp, backlog: u32, lasts: u32) -> Self {
        let whole = u64::from(backlog).saturating_add(u64::from(lasts));
        let keep = (u64::from(lasts) << 16).checked_div(whole).unwrap_or(1 << 16);
        Self { until: newest.plus(lasts), keep: u32::try_from(keep).unwrap_or(1 << 16) }
    }

    /// Returns by how many ticks a timestamp moves towards the end.
    pub(crate) fn shift(self, timestamp: RtpTimestamp) -> u32 {
        let behind = u64::try_from(self.until.distance(timestamp)).unwrap_or(0);
        let kept = behind.saturating_mul(u64::from(self.keep)) >> 16;
        u32::try_from(behind.saturating_sub(kept)).unwrap_or(0)
    }

    /// Says whether a timestamp lies behind the end, where nothing is drawn together any more.
    pub(crate) const fn is_past(self, timestamp: RtpTimestamp) -> bool {
        timestamp.distance(self.until) >= 0
    }
}

/// A group of pictures that a viewer can be given from a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'a> {
    /// The first packet of the keyframe's frame.
    pub(crate) first: &'a Packet,
    /// The newest packet of the layer.
    pub(crate) newest: &'a Packet,
}

impl<'a> Cache<'a> {
    /// Finds the newest group of pictures, if a viewer can be given it whole: nothing of it was given up as lost, and
    /// it is not longer than [`GOP_MAX`].
    pub(crate) fn find(now: MonoTime, ring: &'a Ring) -> Option<Self> {
        let gop = ring.gop()?;
        let packet = |seq| ring.packet(seq);
        let start = frame_start(packet, gop.keyframe);
        let newest = ring.packet(ring.newest()?)?;
        let cache = Self { first: ring.packet(start)?, newest };
        let usable = now.since(gop.arrival) <= GOP_MAX
            && cache.backlog() <= GOP_MAX
            && now.since(newest.arrival) <= SILENCE_MAX
            && !lacks_beginning(packet, start)
            && !has_lasting_hole(now, ring, &gop, newest.seq);
        usable.then_some(cache)
    }

    /// Returns how far the keyframe lies behind the newest packet.
    pub(crate) fn backlog(&self) -> Duration {
        let ticks = u64::try_from(self.newest.timestamp.distance(self.first.timestamp)).unwrap_or(0);
        Duration::from_nanos(ticks.saturating_mul(NANOS_PER_SECOND) / CLOCK_RATE)
    }

    /// Returns how long its burst takes to the live edge: an eighth of what lies behind, and at most [`BURST_MAX`]. On a
    /// path that is known it takes as long as that needs for it beside what is made meanwhile, at `rate`: a burst that
    /// overflows the path's queue is no picture, and takes the next one with it.
    pub(crate) fn lasts(&self, rate: Bitrate, path: Option<Bitrate>) -> Duration {
        time_to_the_edge(self.backlog(), rate, path)
    }
}

fn time_to_the_edge(backlog: Duration, rate: Bitrate, path: Option<Bitrate>) -> Duration {
    let quick = (backlog / SPEED).min(BURST_MAX);
    let Some(path) = path else { return quick };
    let spare = path.scaled(PATH_PART).as_bps().saturating_sub(rate.as_bps());
    let spare = Bitrate::from_bps(spare).max(path.scaled(SPARE_MIN));
    quick.max(spare.time_for(rate.bytes_in(backlog + KEYFRAME)).min(LASTS_MAX))
}

/// Says whether a packet since the keyframe is missing for longer than its repair may take.
fn has_lasting_hole(now: MonoTime, ring: &Ring, gop: &Gop, newest: ExtSeq) -> bool {
    if gop.whole >= newest {
        return false;
    }
    let behind = (2..HOLE_WALK_MAX).find_map(|step| ring.packet(gop.whole.plus(step)));
    behind.is_none_or(|packet| now.since(packet.arrival) > REPAIR_MAX)
}

fn ticks(duration: Duration) -> u32 {
    let ticks = duration.as_nanos().saturating_mul(u128::from(CLOCK_RATE)) / u128::from(NANOS_PER_SECOND);
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Every video format's (RFC 6184 §5.1, RFC 7741 §4.1).
const CLOCK_RATE: u64 = 90_000;
/// How much faster than it was made a backlog is sent, unless [`BURST_MAX`] asks for more: what decoders keep up with.
const SPEED: u32 = 8;
/// A viewer is at the live edge half a second after its first packet. The rest is for a step up on the way, and for
/// timers and paths that are late.
const BURST_MAX: Duration = Duration::from_millis(400);
/// The part of a known path that a burst and what is made meanwhile may take, and what is left for a burst at least.
const PATH_PART: f64 = 0.8;
const SPARE_MIN: f64 = 0.1;
/// How far ahead of what a known path takes a burst may be: a queue that is held by any.
const AHEAD_MAX: Duration = Duration::from_millis(40);
/// What a keyframe is more than the frames around it, in time at the layer's rate.
const KEYFRAME: Duration = Duration::from_millis(200);
/// A burst that takes longer than this is slower than a publisher who answers a request.
pub(crate) const SLOW: Duration = Duration::from_millis(800);
/// No burst takes longer; the next keyframe will have come by then.
const LASTS_MAX: Duration = Duration::from_secs(4);
/// How late a burst may end before another keyframe is sought. It goes on until then, as the ring holds whatever waits.
const LATE_MAX: Duration = Duration::from_secs(2);
/// A layer without media for this long has stopped: what it sent last is not a picture of now.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long the publisher's repair of a lost packet may take.
const REPAIR_MAX: Duration = Duration::from_millis(500);
/// The longest run of missing packets that is looked across.
const HOLE_WALK_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframe_goes_out_as_if_it_were_now_and_the_end_stays_where_it_is() {
        let newest = RtpTimestamp(1_000_000);

        let squeeze = Squeeze::new(newest, 360_000, 40_500);

        let moved = |timestamp: u32| timestamp + squeeze.shift(RtpTimestamp(timestamp));
        assert!((1_000_000..1_000_010).contains(&moved(640_000)), "{}", moved(640_000));
        assert_eq!(moved(1_040_500), 1_040_500);
        assert_eq!(moved(1_100_000), 1_100_000);
        assert!((640_000..1_100_000).step_by(1_000).all(|at| moved(at) < moved(at + 1_000)));
    }

    #[test]
    fn burst_takes_as_long_as_a_known_path_needs_and_an_eighth_of_its_time_on_any_other() {
        let (backlog, rate) = (Duration::from_millis(1_800), Bitrate::from_kbps(500));
        let lasts = |kbps| time_to_the_edge(backlog, rate, Some(Bitrate::from_kbps(kbps)));

        assert_eq!(time_to_the_edge(backlog, rate, None), Duration::from_millis(225));
        assert_eq!(lasts(50_000), Duration::from_millis(225));
        // A megabit beside 500 kbit/s of 1,500 kbit/s, four fifths of which are taken.
        assert_eq!(lasts(1_500).as_millis(), 1_428);
        assert_eq!(lasts(500), LASTS_MAX);
    }

    #[test]
    fn not_even_a_keyframe_leaves_faster_than_a_known_path_takes_it() {
        let opened = MonoTime::from_millis(5_000);
        let free_at = |rate, sent| Tap { sent, ..Tap::open(opened, rate) }.free_at();
        let rate = Some(Bitrate::from_kbps(800));

        assert_eq!(free_at(None, 1_000_000), opened);
        assert_eq!(free_at(rate, 4_000), opened, "what a queue holds goes at once");
        assert_eq!(free_at(rate, 24_000), opened + Duration::from_millis(200));
    }

    #[test]
    fn backlog_of_nothing_changes_nothing() {
        let squeeze = Squeeze::new(RtpTimestamp(5), 0, 0);

        assert_eq!([5, 6, 3_005].map(|at| squeeze.shift(RtpTimestamp(at))), [0, 0, 0]);
        assert!(squeeze.is_past(RtpTimestamp(5)));
    }

    #[test]
    fn timestamps_are_drawn_together_across_their_wrap() {
        let squeeze = Squeeze::new(RtpTimestamp(1_000), 90_000, 9_000);

        let first = RtpTimestamp(1_000).plus(90_000_u32.wrapping_neg());
        let moved = first.plus(squeeze.shift(first));

        assert!((0..10).contains(&moved.distance(RtpTimestamp(1_000))), "{moved:?}");
    }
}
