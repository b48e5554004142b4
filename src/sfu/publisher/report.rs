//! What a receiver report says of one source: loss, jitter and the echo of its sender report. Packet path.
//!
//! The arithmetic is that of RFC 3550: appendix A.3 for loss, A.8 for jitter, §6.4.1 for the echo. Only the
//! media source counts; what retransmissions repair stays lost here, because the publisher's encoder has to know
//! what its path loses.

use std::time::Duration;

use rtp::rtcp::ReportBlock;
use rtp::{ExtSeq, MonoTime, NtpTime, RtpTimestamp, SeqNo, SeqUnwrapper, Ssrc};

/// The reception of one source.
#[derive(Debug, Default)]
pub(super) struct Reception {
    unwrapper: SeqUnwrapper,
    first: Option<ExtSeq>,
    received: u64,
    /// Expected and received packets when the last report was made.
    reported: (u64, u64),
    fraction_lost: u8,
    transit: Option<u32>,
    /// Sixteen times the interarrival jitter, in timestamp ticks.
    jitter_scaled: u32,
    last_sr: Option<(u32, MonoTime)>,
}

impl Reception {
    /// Takes note of a packet of the source.
    pub(super) fn handle_packet(&mut self, now: MonoTime, seq: SeqNo, timestamp: RtpTimestamp, rate: u32) {
        let seq = self.unwrapper.unwrap(seq);
        let first = *self.first.get_or_insert(seq);
        self.first = Some(first.min(seq));
        self.received = self.received.saturating_add(1);

        let arrival = u128::from(now.as_nanos()).saturating_mul(u128::from(rate)) / 1_000_000_000;
        let arrival = u32::try_from(arrival & u128::from(u32::MAX)).unwrap_or_default();
        let transit = arrival.wrapping_sub(timestamp.0);
        if let Some(previous) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(previous).cast_signed().unsigned_abs();
            let decay = self.jitter_scaled.saturating_add(8) >> 4;
            self.jitter_scaled = self.jitter_scaled.saturating_add(difference).saturating_sub(decay);
        }
    }

    /// Takes note of a sender report of the source.
    pub(super) const fn handle_sender_report(&mut self, now: MonoTime, ntp: NtpTime) {
        self.last_sr = Some((ntp.middle(), now));
    }

    /// Makes the report block since the last one; `None` before the first packet.
    pub(super) fn report(&mut self, now: MonoTime, ssrc: Ssrc) -> Option<ReportBlock> {
        let highest = self.unwrapper.highest()?;
        let expected = self.expected();
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, self.received);
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(sr, at)| (sr, in_65536ths(now.since(at))));
        self.fraction_lost =
            fraction(expected.saturating_sub(expected_before), self.received.saturating_sub(received_before));
        Some(ReportBlock {
            ssrc,
            fraction_lost: self.fraction_lost,
            cumulative_lost: self.lost(),
            highest_seq: wire_highest(highest),
            jitter: self.jitter(),
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    /// True when there is something to report.
    pub(super) const fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    /// Returns the interarrival jitter in timestamp ticks.
    pub(super) const fn jitter(&self) -> u32 {
        self.jitter_scaled >> 4
    }

    /// Returns the share of lost packets that was reported last, in 256ths.
    pub(super) const fn fraction_lost(&self) -> u8 {
        self.fraction_lost
    }

    /// Returns how many packets are missing in all; negative when duplicates outnumber them.
    pub(super) fn lost(&self) -> i32 {
        let lost = i128::from(self.expected()).saturating_sub(i128::from(self.received));
        // 24 bits go on the wire (RFC 3550 §6.4.1).
        i32::try_from(lost.clamp(-0x80_0000, 0x7f_ffff)).unwrap_or_default()
    }

    fn expected(&self) -> u64 {
        match (self.unwrapper.highest(), self.first) {
            (Some(highest), Some(first)) => highest.since(first).saturating_add(1),
            _ => 0,
        }
    }
}

/// Returns the highest number with its cycles since the first packet, in 32 bits.
fn wire_highest(highest: ExtSeq) -> u32 {
    // The unwrapper begins one cycle up.
    let counted = highest.0.saturating_sub(1 << 16) & u64::from(u32::MAX);
    u32::try_from(counted).unwrap_or_default()
}

/// Returns the share of lost packets in 256ths.
fn fraction(expected: u64, received: u64) -> u8 {
    let lost = expected.saturating_sub(received);
    let share = lost.saturating_mul(256).checked_div(expected).unwrap_or_default();
    u8::try_from(share).unwrap_or(u8::MAX)
}

fn in_65536ths(duration: Duration) -> u32 {
    let units = (duration.as_nanos() << 16) / 1_000_000_000;
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_of_the_packets_lost_reads_as_64_of_256() {
        let mut reception = Reception::default();
        // The last of each four is lost, but the last of all arrives, so that the gaps can be known.
        for seq in (0_u16..401).filter(|seq| seq % 4 != 3) {
            receive(&mut reception, seq.wrapping_add(65_400));
        }

        let block = reception.report(at(1_000), Ssrc(7)).unwrap();

        assert_eq!(block.cumulative_lost, 100);
        assert_eq!(block.fraction_lost, 63); // 100 of 401
        assert_eq!(block.highest_seq, (1 << 16) + 264);
        assert_eq!(block.ssrc, Ssrc(7));
    }

    #[test]
    fn fraction_counts_since_the_last_report_and_the_sum_since_the_start() {
        let mut reception = Reception::default();
        for seq in [1, 2, 4, 5] {
            receive(&mut reception, seq);
        }
        reception.report(at(1_000), Ssrc(7)).unwrap();
        for seq in 6..16 {
            receive(&mut reception, seq);
        }

        let block = reception.report(at(2_000), Ssrc(7)).unwrap();

        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1));
    }

    #[test]
    fn sender_report_is_echoed_with_the_time_since_its_arrival() {
        let mut reception = Reception::default();
        receive(&mut reception, 1);
        reception.handle_sender_report(at(500), NtpTime(0x1234_5678_9abc_def0));

        let block = reception.report(at(750), Ssrc(7)).unwrap();

        assert_eq!(block.last_sr, 0x5678_9abc);
        assert_eq!(block.delay_since_last_sr, 65_536 / 4);
    }

    #[test]
    fn before_any_sender_report_the_echo_is_zero() {
        let mut reception = Reception::default();
        assert!(reception.report(at(1), Ssrc(7)).is_none());
        receive(&mut reception, 1);

        let block = reception.report(at(1_000), Ssrc(7)).unwrap();

        assert_eq!((block.last_sr, block.delay_since_last_sr), (0, 0));
    }

    #[test]
    fn steady_arrivals_have_no_jitter_and_alternating_ones_approach_their_difference() {
        let mut steady = Reception::default();
        let mut uneven = Reception::default();
        for index in 0..500_u16 {
            let timestamp = RtpTimestamp(u32::from(index) * 900);
            let due = u64::from(index) * 10;
            steady.handle_packet(at(due), SeqNo(index), timestamp, 90_000);
            uneven.handle_packet(at(due + u64::from(index % 2) * 5), SeqNo(index), timestamp, 90_000);
        }

        assert_eq!(steady.jitter(), 0);
        assert!((430..=450).contains(&uneven.jitter()), "{}", uneven.jitter());
    }

    #[test]
    fn duplicates_make_the_loss_negative_as_the_rfc_wants_it() {
        let mut reception = Reception::default();
        for seq in [1, 1, 1, 2] {
            receive(&mut reception, seq);
        }

        let block = reception.report(at(1_000), Ssrc(7)).unwrap();

        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
    }

    fn receive(reception: &mut Reception, seq: u16) {
        reception.handle_packet(at(0), SeqNo(seq), RtpTimestamp(0), 90_000);
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }
}
