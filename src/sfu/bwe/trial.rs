//! When a rate is tried that nothing has proved, because no probe can be sent. Packet path.
//!
//! A probe is made of packets that were sent before, and a viewer without retransmissions takes none twice. Such a viewer
//! is given more when its path has been clear for a while: sending it is the probe. A path that does not carry it says so
//! by its queue within a second, and each time it does the next trial waits twice as long.

use std::time::Duration;

use rtp::MonoTime;

/// The trials of one viewer's path.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// When the next may begin; absent until one is asked for.
    due: Option<MonoTime>,
    /// When the last one began.
    tried: Option<MonoTime>,
    failures: u32,
}

impl Trials {
    /// Says whether to try now what is wanted. To be asked again and again while the path is clear.
    pub(super) fn poll(&mut self, now: MonoTime) -> bool {
        let begins = now >= *self.due.get_or_insert(now + CLEAR);
        if begins {
            self.due = Some(now + CLEAR);
            self.tried = Some(now);
        }
        begins
    }

    /// Says that the path carries less than was believed.
    pub(super) fn handle_drop(&mut self, now: MonoTime) {
        if let Some(at) = self.tried.take() {
            // One that lasted shows that the path is another one now.
            let failed = now.since(at) < FAILED_WITHIN;
            self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        }
        let wait = WAIT.saturating_mul(1 << self.failures.min(8)).min(WAIT_MAX);
        self.due = self.due.max(Some(now + wait));
    }
}

/// How long a path has to be clear.
const CLEAR: Duration = Duration::from_secs(2);
/// A drop this soon after a trial is the trial's: the next keyframe may be some seconds away.
const FAILED_WITHIN: Duration = Duration::from_secs(10);
/// The wait after a drop, doubled by each trial that failed, up to the most.
const WAIT: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn first_trial(trials: &mut Trials, from: MonoTime) -> MonoTime {
        let mut now = from;
        while !trials.poll(now) {
            now = now + Duration::from_millis(100);
        }
        now
    }

    #[test]
    fn a_path_is_clear_for_a_while_before_it_is_asked_for_more() {
        let began = MonoTime::from_millis(1_000);

        assert_eq!(first_trial(&mut Trials::default(), began).since(began), CLEAR);
    }

    #[test]
    fn each_trial_in_vain_makes_the_next_one_wait_twice_as_long() {
        let mut trials = Trials::default();
        let mut now = MonoTime::from_millis(1_000);
        let mut waits = Vec::new();

        for _ in 0..6 {
            let dropped = first_trial(&mut trials, now) + Duration::from_secs(1);
            trials.handle_drop(dropped);
            now = first_trial(&mut trials, dropped);
            waits.push(now.since(dropped).as_secs());
        }

        assert_eq!(waits, [10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn a_trial_that_lasted_makes_up_for_those_that_failed() {
        let mut trials = Trials::default();
        let mut now = MonoTime::from_millis(1_000);
        for _ in 0..4 {
            now = first_trial(&mut trials, now) + Duration::from_secs(1);
            trials.handle_drop(now);
        }

        let dropped = first_trial(&mut trials, now) + FAILED_WITHIN;
        trials.handle_drop(dropped);

        assert_eq!(first_trial(&mut trials, dropped).since(dropped), WAIT);
    }

    #[test]
    fn a_drop_that_no_trial_caused_waits_as_ever() {
        let mut trials = Trials::default();
        let dropped = first_trial(&mut trials, MonoTime::from_millis(1_000)) + FAILED_WITHIN;

        trials.handle_drop(dropped);

        assert_eq!(first_trial(&mut trials, dropped).since(dropped), WAIT);
    }
}
