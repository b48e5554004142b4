//! How many statuses of feedback are read, whatever comes. Packet path.

use rtp::MonoTime;

/// What feedback may cost.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    refilled: MonoTime,
}

impl Budget {
    pub(super) const fn new(now: MonoTime) -> Self {
        Self { left: STATUSES_PER_SECOND, refilled: now }
    }

    /// Reads what [`Self::take`] reads; see [`crate::viewer::Viewer::warm_report`].
    pub(super) const fn warm(&self) -> u64 {
        self.left
    }

    /// Takes the cost of so many statuses; false when they are too many.
    pub(super) fn take(&mut self, now: MonoTime, statuses: u16) -> bool {
        let millis = u64::try_from(now.since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            self.refilled = now;
            let refill = millis.saturating_mul(STATUSES_PER_SECOND) / 1_000;
            self.left = self.left.saturating_add(refill).min(STATUSES_PER_SECOND);
        }
        // An empty feedback packet costs something as well.
        match self.left.checked_sub(u64::from(statuses.max(FEEDBACK_COST))) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// How many statuses are read in a second: five times the packets of a 30 Mbit/s viewer. Beyond, feedback is
/// ignored and counted.
pub const STATUSES_PER_SECOND: u64 = 16_384;

/// What a feedback packet costs at least, in statuses.
const FEEDBACK_COST: u16 = 16;
