//! Limits what a viewer's NACKs may cost (RFC 4585 §6.2.1, RFC 4588).
//!
//! Packet path. A NACK is answered by a packet of the retransmission source: own SSRC, own payload type, own
//! numbers. Bounds, for the whole viewer: [`REQUESTS_PER_SECOND`], and a share of the media bytes, or, once the path is
//! known, what it has besides the media; for one number: once within a round trip. Beyond a bound the request is
//! counted, and what others refer to waits for its turn: who asks gives up after a few round trips, stands still, and
//! says so only seconds later. What waits too long, or too much of it, is a lost picture, and another one is sought.

use std::num::NonZeroU32;
use std::time::Duration;

use rtp::{ExtSeq, MonoTime, SeqNo};

use crate::Bitrate;

/// The retransmission source of one subscription. Whether something is owed is asked with each report, so it stands first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Retransmitter {
    owed: Owed,
    next: SeqNo,
    /// What became of numbers that were asked for, by their low bits. A number that loses its place to another may be
    /// repeated early, which the byte budget bounds.
    recent: Vec<Option<Asked>>,
}

/// A number that was asked for. There are hundreds for each viewer, so that times are short.
#[derive(Clone, Copy, Debug)]
struct Asked {
    out: ExtSeq,
    /// When it was for the first time.
    first: Moment,
    /// When it was sent again last.
    repeated: Option<Moment>,
}

/// A time in tenths of a millisecond; it comes round after five days.
#[derive(Clone, Copy, Debug)]
struct Moment(NonZeroU32);

impl Moment {
    fn of(time: MonoTime) -> Self {
        // Truncation to 32 bits is the coming round, where one moment stands for two.
        let moments = (time.as_nanos() / MOMENT_NANOS) as u32;
        Self(NonZeroU32::MIN.saturating_add(moments))
    }

    fn until(self, now: MonoTime) -> Duration {
        let moments = Self::of(now).0.get().wrapping_sub(self.0.get());
        Duration::from_nanos(u64::from(moments) * MOMENT_NANOS)
    }
}

/// Numbers that were asked for and could not be repeated yet, because too much was asked for at once. Who asks gives up
/// after some tries, within a few round trips.
#[derive(Debug)]
#[repr(C)]
struct Owed {
    count: usize,
    /// Since when the first of them is owed.
    since: MonoTime,
    numbers: [SeqNo; OWED_MAX],
}

impl Retransmitter {
    /// Makes a source whose first packet has this number.
    pub(crate) fn new(first: SeqNo) -> Self {
        let owed = Owed { numbers: [SeqNo(0); OWED_MAX], count: 0, since: MonoTime::ZERO };
        Self { next: first, recent: vec![None; RECENT], owed }
    }

    /// Says whether a number was sent again within the last `interval`.
    pub(crate) fn is_recent(&self, now: MonoTime, out: ExtSeq, interval: Duration) -> bool {
        self.repeated(out).is_some_and(|at| at.until(now) < interval)
    }

    /// Says whether a number was sent again longer than `trip` ago, as far as is remembered.
    pub(crate) fn was_lost(&self, now: MonoTime, out: ExtSeq, trip: Duration) -> bool {
        self.repeated(out).is_some_and(|at| at.until(now) >= trip)
    }

    /// Notes that a number was asked for, and returns for how long it has been.
    pub(crate) fn note_asked(&mut self, now: MonoTime, out: ExtSeq) -> Duration {
        let Some(entry) = self.recent.get_mut(place(out)) else { return Duration::ZERO };
        let known = entry.filter(|asked| asked.out == out);
        let asked = known.unwrap_or(Asked { out, first: Moment::of(now), repeated: None });
        *entry = Some(asked);
        asked.first.until(now)
    }

    /// Notes that a number is sent again and returns the retransmission's own number.
    pub(crate) fn number(&mut self, now: MonoTime, out: ExtSeq) -> SeqNo {
        self.note_asked(now, out);
        if let Some(asked) = self.recent.get_mut(place(out)).and_then(Option::as_mut) {
            asked.repeated = Some(Moment::of(now));
        }
        self.next_number()
    }

    fn repeated(&self, out: ExtSeq) -> Option<Moment> {
        let asked = self.recent.get(place(out)).copied().flatten();
        asked.filter(|asked| asked.out == out).and_then(|asked| asked.repeated)
    }

    /// Notes that a number has to wait; false when too many do.
    pub(crate) fn owe(&mut self, now: MonoTime, wire: SeqNo) -> bool {
        let Owed { numbers, count, since } = &mut self.owed;
        if numbers.iter().take(*count).any(|known| *known == wire) {
            return true;
        }
        if *count == 0 {
            *since = now;
        }
        let Some(place) = numbers.get_mut(*count) else { return false };
        *place = wire;
        *count += 1;
        true
    }

    /// Returns the number that has waited longest.
    pub(crate) fn first_owed(&self) -> Option<SeqNo> {
        self.owed.numbers.first().copied().filter(|_| self.owed.count > 0)
    }

    /// Takes note that a number waits no more.
    pub(crate) fn settle(&mut self, now: MonoTime, wire: SeqNo) {
        let Owed { numbers, count, since } = &mut self.owed;
        let Some(at) = numbers.iter().take(*count).position(|known| *known == wire) else { return };
        if let Some(rest) = numbers.get_mut(at..*count) {
            rest.rotate_left(1);
        }
        *count -= 1;
        *since = now;
    }

    /// Says whether something waits.
    pub(crate) const fn owes(&self) -> bool {
        self.owed.count > 0
    }

    /// Forgets what waits.
    pub(crate) const fn forget_owed(&mut self) {
        self.owed.count = 0;
    }

    /// Says whether something has waited so long that its viewer has given it up.
    pub(crate) fn is_overdue(&self, now: MonoTime) -> bool {
        self.owed.count > 0 && now.since(self.owed.since) >= OVERDUE
    }

    /// Returns the next number of the source, for a packet that repeats nothing.
    pub(crate) const fn next_number(&mut self) -> SeqNo {
        let number = self.next;
        self.next = self.next.plus(1);
        number
    }
}

/// What one viewer may still ask for. Its fields are in the order that [`super::Viewer`] tells of, and what media earns is
/// in one line of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Budget {
    /// Bytes of retransmission that may go now.
    credit: u64,
    /// Media bytes of the running second, of the one before, and when the running one began.
    second: u64,
    second_before: u64,
    second_began: MonoTime,
    // What a request asks for.
    /// Requests that may come now, and when that was reckoned.
    requests: u64,
    refilled: MonoTime,
    /// What the path carries, once that is known, and the share of it that may go now.
    path: Option<Bitrate>,
    path_credit: u64,
    path_refilled: MonoTime,
}

impl Budget {
    /// Makes a full budget.
    pub(crate) fn new(now: MonoTime) -> Self {
        Self {
            requests: REQUESTS_PER_SECOND,
            refilled: now,
            credit: BYTES_MIN,
            second: 0,
            second_before: 0,
            second_began: now,
            path: None,
            path_credit: BYTES_MIN,
            path_refilled: now,
        }
    }

    pub(crate) const fn warm(&self) -> u64 {
        self.second
    }

    /// Takes what the path carries, once that is known: what is lost because it carries less than was sent is not
    /// brought back by sending more.
    pub(crate) fn set_path(&mut self, now: MonoTime, path: Option<Bitrate>) {
        self.refill_path(now);
        self.path = path;
    }

    /// Notes media bytes, which earn retransmission bytes.
    pub(crate) fn earn(&mut self, now: MonoTime, bytes: usize) {
        let elapsed = now.since(self.second_began);
        if elapsed >= SECOND {
            self.second_before = if elapsed < SECOND * 2 { self.second } else { 0 };
            self.second = 0;
            self.second_began = now;
        }
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.second = self.second.saturating_add(bytes);
        let hundredfold = bytes.saturating_mul(SUSTAINED_PERCENT);
        // Fractions of a byte are given: they are less than 1 % of the smallest packet.
        self.credit = self.credit.saturating_add(hundredfold.div_ceil(100)).min(self.credit_max());
    }

    /// Takes one request; false when too many came within the second.
    pub(crate) fn take_request(&mut self, now: MonoTime) -> bool {
        let earned = now.since(self.refilled).as_nanos().saturating_mul(u128::from(REQUESTS_PER_SECOND))
            / SECOND.as_nanos();
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(REQUESTS_PER_SECOND);
            self.requests = self.requests.saturating_add(earned).min(REQUESTS_PER_SECOND);
            self.refilled = now;
        }
        let allowed = self.requests > 0;
        self.requests = self.requests.saturating_sub(1);
        allowed
    }

    /// Takes the bytes of one retransmission; false when they are not there.
    pub(crate) fn take_bytes(&mut self, now: MonoTime, bytes: usize) -> bool {
        self.refill_path(now);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.path.is_some() {
            // What the path carries beside the media is free for this, however much it is.
            let Some(left) = self.path_credit.checked_sub(bytes) else { return false };
            self.path_credit = left;
            self.credit = self.credit.saturating_sub(bytes);
            return true;
        }
        let Some(left) = self.credit.checked_sub(bytes) else { return false };
        self.credit = left;
        true
    }

    fn refill_path(&mut self, now: MonoTime) {
        let Some(path) = self.path else { return };
        let media = Bitrate::of(self.second_before.max(self.second), SECOND);
        let spare = path.scaled(PATH_FILL).as_bps().saturating_sub(media.as_bps());
        let share = path.scaled(PATH_SHARE).max(Bitrate::from_bps(spare));
        let most = path.bytes_in(PATH_BURST).max(PATH_BYTES_MIN);
        let earned = share.bytes_in(now.since(self.path_refilled));
        if earned > 0 {
            self.path_credit = self.path_credit.saturating_add(earned).min(most);
            self.path_refilled = now;
        }
    }

    fn credit_max(&self) -> u64 {
        let busiest = self.second.max(self.second_before);
        (busiest.saturating_mul(BURST_PERCENT) / 100).max(BYTES_MIN)
    }
}

fn place(out: ExtSeq) -> usize {
    usize::try_from(out.0 % RECENT as u64).unwrap_or(0)
}

const MOMENT_NANOS: u64 = 100_000;
const SECOND: Duration = Duration::from_secs(1);
/// Numbers that one viewer may ask for in a second: a 10 Mbit/s layer lost whole.
const REQUESTS_PER_SECOND: u64 = 1_000;
/// Retransmission bytes, of the media bytes, that may go for any length of time.
const SUSTAINED_PERCENT: u64 = 25;
/// Retransmission bytes, of one second's media bytes, that may go after a burst of loss: twice the sustained
/// share.
const BURST_PERCENT: u64 = 50;
/// The part of the path that retransmissions may take, and what of it may be saved up: a moment's loss of everything.
const PATH_SHARE: f64 = 0.3;
/// What of the path media and retransmissions together may take, where that is more.
const PATH_FILL: f64 = 0.85;
const PATH_BURST: Duration = Duration::from_millis(200);
const PATH_BYTES_MIN: u64 = 6_000;
/// Bytes that may always be saved up: half a keyframe, lost right after the join.
const BYTES_MIN: u64 = 32_000;
/// Numbers that wait to be repeated, at most: a blackout of half a second. With more a keyframe is sooner there.
const OWED_MAX: usize = 128;
/// When nothing of what waits could be repeated for so long, it is not repaired any more.
const OVERDUE: Duration = Duration::from_millis(300);
/// Repeated numbers that are remembered: a quarter second of the most that may be asked for.
const RECENT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_repeated_within_the_interval() {
        let mut source = Retransmitter::new(SeqNo(65_535));
        let interval = Duration::from_millis(50);

        assert!(!source.is_recent(MonoTime::ZERO, ExtSeq(7), interval));
        assert_eq!(source.number(MonoTime::ZERO, ExtSeq(7)), SeqNo(65_535));

        assert!(source.is_recent(MonoTime::from_millis(49), ExtSeq(7), interval));
        assert!(!source.is_recent(MonoTime::from_millis(50), ExtSeq(7), interval));
        assert!(!source.is_recent(MonoTime::from_millis(49), ExtSeq(8), interval));
        assert_eq!(source.number(MonoTime::from_millis(50), ExtSeq(7)), SeqNo(0));
    }

    #[test]
    fn how_long_a_number_is_asked_for_is_told_whether_it_was_repeated_or_not() {
        let mut source = Retransmitter::new(SeqNo(0));
        let at = MonoTime::from_millis;

        assert_eq!(source.note_asked(at(100), ExtSeq(7)), Duration::ZERO);
        source.number(at(150), ExtSeq(7));
        assert_eq!(source.note_asked(at(400), ExtSeq(7)), Duration::from_millis(300));
        assert_eq!(source.note_asked(at(400), ExtSeq(8)), Duration::ZERO);
        assert!(source.was_lost(at(400), ExtSeq(7), Duration::from_millis(250)));
        assert!(!source.was_lost(at(400), ExtSeq(8), Duration::ZERO));
    }

    #[test]
    fn short_times_measure_across_their_coming_round() {
        let round = (u64::from(u32::MAX) + 1) * MOMENT_NANOS;
        let early = MonoTime::from_nanos(round - 2_000_000);

        let until = Moment::of(early).until(early + Duration::from_millis(250));

        assert!(until.abs_diff(Duration::from_millis(250)) <= Duration::from_nanos(MOMENT_NANOS));
        assert_eq!(size_of::<Option<Asked>>(), 16);
    }

    #[test]
    fn what_cannot_be_repeated_at_once_waits_in_its_order_and_is_overdue_when_nothing_of_it_could_be() {
        let mut source = Retransmitter::new(SeqNo(0));
        let at = MonoTime::from_millis;
        assert!([7, 8, 7, 9].into_iter().all(|wire| source.owe(at(100), SeqNo(wire))));

        assert!(!source.is_overdue(at(399)) && source.is_overdue(at(400)));
        source.settle(at(390), SeqNo(7));
        assert_eq!(source.first_owed(), Some(SeqNo(8)));
        assert!(!source.is_overdue(at(400)), "one was repeated lately");

        source.settle(at(395), SeqNo(9));
        source.settle(at(395), SeqNo(8));
        assert_eq!(source.first_owed(), None);
        assert!(!source.is_overdue(at(5_000)));
        let kept = (0..1_000).filter(|wire| source.owe(at(5_000), SeqNo(*wire))).count();
        assert_eq!(kept, OWED_MAX);
    }

    #[test]
    fn retransmissions_may_take_what_a_known_path_has_besides_the_media() {
        let mut budget = Budget::new(MonoTime::ZERO);
        budget.set_path(MonoTime::ZERO, Some(Bitrate::from_kbps(10_000)));
        let mut sent = 0;

        // 1,000 kbit/s of media.
        for count in 0..3_000_u64 {
            let now = MonoTime::from_millis(count);
            if count % 8 == 0 {
                budget.earn(now, 1_000);
            }
            sent += usize::from(budget.take_bytes(now, 1_000));
        }

        // 7,500 kbit/s, and what was saved up at first.
        assert!((2_700..=3_000).contains(&sent), "{sent}");
    }

    #[test]
    fn at_most_a_thousand_requests_pass_in_a_second() {
        let mut budget = Budget::new(MonoTime::ZERO);

        let at_once = (0..5_000).filter(|_| budget.take_request(MonoTime::ZERO)).count();
        let later = (0..5_000).filter(|_| budget.take_request(MonoTime::from_millis(500))).count();

        assert_eq!(at_once, 1_000);
        assert_eq!(later, 500);
    }

    #[test]
    fn retransmissions_take_at_most_their_share_for_long_and_half_a_second_in_a_burst() {
        let mut budget = Budget::new(MonoTime::ZERO);
        let (packet, per_second) = (1_000_usize, 300_u64);
        let mut sent = Vec::new();

        for second in 0..20 {
            let mut this_second = 0;
            for count in 0..per_second {
                budget.earn(MonoTime::from_millis(second * 1_000 + count * 3), packet);
                // For ten seconds nothing is asked for, then everything.
                this_second += usize::from(
                    second >= 10
                        && budget.take_bytes(MonoTime::from_millis(second * 1_000 + count * 3), packet),
                );
            }
            sent.push(this_second);
        }

        assert!((150..=230).contains(&sent[10]), "{sent:?}");
        assert!(sent[12..].iter().all(|&count| (74..=76).contains(&count)), "{sent:?}");
    }

    #[test]
    fn retransmissions_take_at_most_a_part_of_a_path_that_is_known_to_be_slow() {
        let mut budget = Budget::new(MonoTime::ZERO);
        budget.set_path(MonoTime::ZERO, Some(Bitrate::from_kbps(800)));
        let mut sent = 0;

        for count in 0..3_000 {
            let now = MonoTime::from_millis(count);
            budget.earn(now, 1_000);
            sent += usize::from(budget.take_bytes(now, 1_000));
        }

        // 30 kB a second, and what was saved up at first.
        assert!((90..=130).contains(&sent), "{sent}");
    }

    #[test]
    fn a_first_burst_of_loss_is_repaired_before_anything_was_earned() {
        let mut budget = Budget::new(MonoTime::ZERO);

        let repaired = (0..100).filter(|_| budget.take_bytes(MonoTime::ZERO, 1_200)).count();

        assert_eq!(repaired, 26);
    }
}
