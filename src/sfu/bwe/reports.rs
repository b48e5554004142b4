//! The estimate by receiver reports: for a viewer that agreed to report arrivals and never does.
//!
//! Think of the oldest way to share a path: hardly anything is lost, so a little more is tried; much is lost, so the
//! estimate falls by half of that, from what is being sent. Between the two it stands. Nothing proves what it rises to, so it
//! rises slowly, and no further than a few times what is sent.
//!
//! **Limit.** Numbers are kept for what is lost on the way in, so what a publisher loses and nobody repairs counts here as
//! lost on the way to the viewer. Reports of arrivals know better.

use std::time::Duration;

use rtp::MonoTime;

use crate::Bitrate;

/// The estimate's pace; the estimate itself is the caller's.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// When a report counted last, and when one took something away.
    counted_at: Option<MonoTime>,
    fell_at: Option<MonoTime>,
}

impl Reports {
    /// Returns what a report leaves of the estimate, or adds to it: `lost` 256ths of the packets since the last report
    /// did not arrive, and `sent` is what is being sent.
    pub(super) fn next(
        &mut self,
        now: MonoTime,
        lost: u8,
        (estimate, sent): (Bitrate, Option<Bitrate>),
    ) -> Bitrate {
        let since = self.counted_at.replace(now).map_or(Duration::ZERO, |at| now.since(at));
        if lost > MUCH {
            if self.fell_at.is_some_and(|at| now.since(at) < FALL_INTERVAL) {
                return estimate;
            }
            self.fell_at = Some(now);
            let kept = 1.0 - f64::from(lost) / 512.0;
            return sent.map_or(estimate, |sent| estimate.min(sent)).scaled(kept);
        }
        if lost > LITTLE {
            return estimate;
        }
        let risen = estimate.scaled(RISE_PER_SECOND.powf(since.min(RISE_SPAN_MAX).as_secs_f64()));
        let most = sent.map_or(estimate, |sent| sent.scaled(SENT_TIMES).max(TRIED));
        if risen > most { estimate } else { risen }
    }
}

/// Losses of a fiftieth are the path's own, those above a tenth its complaint.
const LITTLE: u8 = 5;
const MUCH: u8 = 25;
/// One burst of losses may stand in the reports of sound and picture, and takes away once.
const FALL_INTERVAL: Duration = Duration::from_millis(500);
/// How much is tried in a second without losses.
const RISE_PER_SECOND: f64 = 1.08;
/// The longest time for which one report counts: the longest interval of RFC 3550 §6.2 in small sessions.
const RISE_SPAN_MAX: Duration = Duration::from_secs(5);
/// As much is tried whatever is sent: who gets sound alone, or nothing, gets its picture back.
const TRIED: Bitrate = Bitrate::from_kbps(600);
/// One layer is about four times another, and steps want more than the next layer's rate.
const SENT_TIMES: f64 = 6.0;

#[cfg(test)]
mod tests {
    use super::*;

    const ESTIMATE: Bitrate = Bitrate::from_kbps(600);

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    #[test]
    fn without_losses_a_twelfth_is_tried_each_second_however_many_reports_say_so() {
        let (mut seldom, mut often) = (Reports::default(), Reports::default());
        let sent = Some(ESTIMATE);
        let (mut by_seldom, mut by_often) = (ESTIMATE, ESTIMATE);

        for millis in (0..=8_000).step_by(4_000) {
            by_seldom = seldom.next(at(millis), 0, (by_seldom, sent));
        }
        for millis in (0..=8_000).step_by(100) {
            by_often = often.next(at(millis), 0, (by_often, sent));
            by_often = often.next(at(millis), LITTLE, (by_often, sent));
        }

        let expected = 600_000.0 * 1.08_f64.powi(8);
        for estimate in [by_seldom, by_often] {
            let error = estimate.as_bps() as f64 / expected - 1.0;
            assert!(error.abs() < 0.001, "{estimate:?}");
        }
    }

    #[test]
    fn losses_take_half_of_themselves_from_what_is_sent_once_a_burst() {
        let mut reports = Reports::default();
        let sent = Some(Bitrate::from_kbps(400));

        let fallen = reports.next(at(0), 128, (ESTIMATE, sent));
        let again = reports.next(at(20), 255, (fallen, sent));
        let later = reports.next(at(1_000), 128, (again, sent));

        assert_eq!(fallen, Bitrate::from_kbps(300));
        assert_eq!(again, fallen);
        assert_eq!(later, Bitrate::from_kbps(225));
    }

    #[test]
    fn losses_between_little_and_much_change_nothing() {
        let mut reports = Reports::default();

        assert_eq!(reports.next(at(0), MUCH, (ESTIMATE, None)), ESTIMATE);
        assert_eq!(reports.next(at(4_000), LITTLE + 1, (ESTIMATE, None)), ESTIMATE);
    }

    #[test]
    fn who_is_sent_next_to_nothing_is_tried_with_a_picture_again() {
        for sent in [Bitrate::ZERO, Bitrate::from_kbps(45)] {
            let mut reports = Reports::default();
            let mut estimate = Bitrate::from_kbps(50);

            for seconds in 0..60 {
                estimate = reports.next(at(seconds * 1_000), 0, (estimate, Some(sent)));
            }

            assert!((500_000..=600_000).contains(&estimate.as_bps()), "{estimate:?}");
        }
    }

    #[test]
    fn the_estimate_rises_to_a_few_times_what_is_sent_and_never_on_nothing() {
        let mut reports = Reports::default();
        let mut estimate = ESTIMATE;

        for seconds in 0..1_000 {
            estimate = reports.next(at(seconds * 1_000), 0, (estimate, Some(Bitrate::from_kbps(200))));
        }

        assert!((1_100_000..=1_200_000).contains(&estimate.as_bps()), "{estimate:?}");
        assert_eq!(reports.next(at(2_000_000), 0, (estimate, None)), estimate);
        assert_eq!(reports.next(at(3_000_000), 0, (estimate, Some(Bitrate::ZERO))), estimate);
    }
}
