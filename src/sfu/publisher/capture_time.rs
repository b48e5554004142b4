//! The absolute capture time of a packet, moved to the server media clock. Packet path.
//!
//! A publisher stamps frames with its own wall clock. Viewers get sender reports in the server media clock, so
//! the capture time has to be in that clock as well, and needs no offset any more.

use rtp::NtpTime;

use super::clock::PublisherClock;

/// Returns the value of the extension in the server media clock; `None` when the value is cut short or no sender
/// report has come yet.
///
/// A second field, if the publisher sends it, is what its clock is ahead of the capturing system's, in 32.32
/// fixed point.
pub(super) fn translate(clock: &PublisherClock, value: &[u8]) -> Option<[u8; 8]> {
    let (captured, rest) = value.split_first_chunk()?;
    let offset = rest.first_chunk().map_or(0, |offset| i64::from_be_bytes(*offset));
    let captured = NtpTime(u64::from_be_bytes(*captured).wrapping_add_signed(offset));
    clock.server_time(captured).map(|time| time.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use rtp::MonoTime;

    use super::*;

    const SECOND: u64 = 1 << 32;

    #[test]
    fn capture_time_moves_by_the_difference_of_the_clocks() {
        let clock = clock_that_is_100_seconds_behind();

        let translated = translate(&clock, &(7 * SECOND).to_be_bytes()).unwrap();

        assert_eq!(u64::from_be_bytes(translated), 107 * SECOND);
    }

    #[test]
    fn offset_to_the_capturing_system_is_added_first() {
        let clock = clock_that_is_100_seconds_behind();
        let mut value = [0; 16];
        value[..8].copy_from_slice(&(7 * SECOND).to_be_bytes());
        value[8..].copy_from_slice(&(-2 * SECOND.cast_signed()).to_be_bytes());

        let translated = translate(&clock, &value).unwrap();

        assert_eq!(u64::from_be_bytes(translated), 105 * SECOND);
    }

    #[test]
    fn capture_time_is_left_out_while_the_clocks_are_unrelated_or_the_value_is_short() {
        assert_eq!(translate(&PublisherClock::default(), &[0; 8]), None);
        assert_eq!(translate(&clock_that_is_100_seconds_behind(), &[0; 7]), None);
    }

    fn clock_that_is_100_seconds_behind() -> PublisherClock {
        let mut clock = PublisherClock::default();
        clock.handle_sender_report(MonoTime::ZERO, NtpTime(1_100 * SECOND), NtpTime(1_000 * SECOND));
        clock
    }
}
