//! Sender reports to a viewer, and what its receiver reports tell (RFC 3550 §6.4).

use std::time::Duration;

use rtp::rtcp::{ReferenceAnswer, ReportBlock, SenderInfo, Writer};
use rtp::{MonoTime, NtpTime, RtpTimestamp, Ssrc};

/// What one source has sent, and when it reports next.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    next: Option<MonoTime>,
    /// Whether anything was sent since the last report.
    has_news: bool,
    packets: u32,
    octets: u32,
}

impl Reporter {
    /// Counts a packet that was sent; the first one, and the first after a silence, makes a report due soon.
    pub(crate) fn note_sent(&mut self, now: MonoTime, payload_bytes: usize) {
        if self.next.is_none() {
            self.next = Some(now + FIRST_REPORT);
        }
        self.has_news = true;
        self.packets = self.packets.wrapping_add(1);
        // Truncation to 32 bits is the wrap of the counter.
        self.octets = self.octets.wrapping_add(payload_bytes as u32);
    }

    pub(crate) const fn warm(&self) -> u64 {
        self.packets as u64
    }

    /// Says when the next report is due; `None` before the first packet and in a silence.
    pub(crate) fn next(&self) -> Option<MonoTime> {
        self.next
    }

    /// Takes the report away and puts the next one an interval later. The second one without anything sent is the last: who
    /// has not sent for two intervals is no sender (RFC 3550 §6.3.5, §6.4).
    pub(crate) fn take(&mut self, now: MonoTime) {
        self.next = self.has_news.then_some(now + REPORT_INTERVAL);
        self.has_news = false;
    }

    /// Writes the sender report and the canonical name; `None` when there is no room.
    pub(crate) fn write(&self, report: Report<'_>, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let info = SenderInfo {
            ssrc: report.ssrc,
            ntp: report.ntp,
            rtp: report.timestamp,
            packets: self.packets,
            octets: self.octets,
        };
        let written = writer.sender_report(info, &[])
            && writer.sdes_cname(report.ssrc, report.cname)
            && report.answer.is_none_or(|answer| writer.reference_answer(report.ssrc, answer));
        written.then(|| writer.finish())
    }
}

/// What a sender report says beside the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    /// The source.
    pub(crate) ssrc: Ssrc,
    /// The server media time of the report.
    pub(crate) ntp: NtpTime,
    /// The same instant on the source's time line.
    pub(crate) timestamp: RtpTimestamp,
    /// The canonical name (RFC 7022).
    pub(crate) cname: &'a str,
    /// What answers the viewer's reference time, when one waits.
    pub(crate) answer: Option<ReferenceAnswer>,
}

/// The time that a viewer sent and we have not answered yet (RFC 3611 §4.4). Only the latest waits: it is all that a
/// round trip needs, and the next one comes within seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    /// The viewer's source.
    pub(crate) ssrc: Ssrc,
    /// Its wall time.
    pub(crate) ntp: NtpTime,
    /// When it came.
    pub(crate) arrival: MonoTime,
}

impl Reference {
    /// Returns what answers it at `now`.
    pub(crate) fn answer(self, now: MonoTime) -> ReferenceAnswer {
        let waited = now.since(self.arrival).as_nanos().saturating_mul(1 << 16) / 1_000_000_000;
        ReferenceAnswer {
            ssrc: self.ssrc,
            last_rr: self.ntp.middle(),
            delay_since_last_rr: u32::try_from(waited).unwrap_or(u32::MAX),
        }
    }
}

/// Returns the round trip that a report block shows at the instant `ntp`; `None` when it answers no report of
/// ours, or cannot be true (RFC 3550 §6.4.1).
pub(crate) fn round_trip(ntp: NtpTime, block: &ReportBlock) -> Option<Duration> {
    if block.last_sr == 0 {
        return None;
    }
    let elapsed = ntp.middle().wrapping_sub(block.last_sr);
    let units = elapsed.checked_sub(block.delay_since_last_sr)?;
    let trip = Duration::from_nanos(u64::from(units).saturating_mul(1_000_000_000) >> 16);
    (trip <= ROUND_TRIP_MAX).then_some(trip)
}

/// After the first packet: soon, because a player starts lip sync with it, but behind the first frame.
const FIRST_REPORT: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A longer round trip is a wrong report: nobody watches through it.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_is_what_the_viewer_did_not_wait() {
        let sent = NtpTime::from_unix_nanos(1_795_248_330_123_456_789);
        let block =
            ReportBlock { last_sr: sent.middle(), delay_since_last_sr: 65_536 / 2, ..ReportBlock::default() };

        let trip = round_trip(sent.plus_nanos(580_000_000), &block);

        assert!(
            trip.is_some_and(|trip| trip.abs_diff(Duration::from_millis(80)) < Duration::from_micros(50))
        );
    }

    #[test]
    fn a_report_that_answers_nothing_shows_no_round_trip() {
        let now = NtpTime::from_unix_nanos(1_795_248_330_123_456_789);
        let of = |last_sr, delay_since_last_sr| {
            round_trip(now, &ReportBlock { last_sr, delay_since_last_sr, ..ReportBlock::default() })
        };

        assert_eq!(of(0, 0), None);
        assert_eq!(of(now.middle(), 65_536), None);
        assert_eq!(of(now.middle().wrapping_sub(65_536 * 60), 0), None);
    }

    #[test]
    fn a_viewers_time_is_answered_with_how_long_it_waited() {
        let ntp = NtpTime::from_unix_nanos(1_795_248_330_123_456_789);
        let reference = Reference { ssrc: Ssrc(1), ntp, arrival: MonoTime::from_millis(1_000) };

        let answer = reference.answer(MonoTime::from_millis(1_500));

        assert_eq!(answer.last_rr, ntp.middle());
        assert_eq!(answer.delay_since_last_rr, 65_536 / 2);
    }

    #[test]
    fn reports_follow_the_first_packet_and_then_each_second() {
        let mut reporter = Reporter::default();
        assert_eq!(reporter.next(), None);

        reporter.note_sent(MonoTime::from_millis(1_000), 100);

        assert_eq!(reporter.next(), Some(MonoTime::from_millis(1_050)));
        reporter.take(MonoTime::from_millis(1_050));
        assert_eq!(reporter.next(), Some(MonoTime::from_millis(2_050)));
    }
}
