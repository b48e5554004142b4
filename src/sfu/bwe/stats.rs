//! Counters of one estimator, in plain numbers.

/// What feedback said, and what of it was believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Feedback packets that came.
    pub feedbacks: u64,
    /// Packets reported as received, for the first time.
    pub received: u64,
    /// Their bytes on the wire.
    pub received_bytes: u64,
    /// Packets reported as lost, for the first time.
    pub lost: u64,
    /// Statuses of packets that were reported before.
    pub repeated: u64,
    /// Statuses of packets too old to be known, or never sent.
    pub stale: u64,
    /// Feedback packets that spoke of packets not sent yet.
    pub from_the_future: u64,
    /// Times at which the peer's clock leapt, and arrivals that cannot be.
    pub implausible: u64,
    /// Feedback packets beyond what a session may cost.
    pub over_budget: u64,
    /// Receiver's estimates that were nought.
    pub remb_zero: u64,
    /// Probes asked for, those that proved their rate, and those that measured a bottleneck.
    pub probes: u64,
    /// See [`Stats::probes`].
    pub probes_carried: u64,
    /// See [`Stats::probes`].
    pub probes_saturated: u64,
    /// How often the estimate fell because a queue grew.
    pub overuses: u64,
    /// How often it fell because nothing was acknowledged any more.
    pub silences: u64,
    /// How often it went over to what else there is, because arrivals were never reported.
    pub fallbacks: u64,
}

impl Stats {
    /// Returns how often feedback was not believed, for this reason.
    #[must_use]
    pub const fn disbelieved(&self, why: Disbelief) -> u64 {
        match why {
            Disbelief::Repeated => self.repeated,
            Disbelief::Stale => self.stale,
            Disbelief::Future => self.from_the_future,
            Disbelief::Implausible => self.implausible,
            Disbelief::OverBudget => self.over_budget,
            Disbelief::RembZero => self.remb_zero,
        }
    }
}

/// Why feedback, or a part of it, was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disbelief {
    /// It speaks of a packet that was reported before.
    Repeated,
    /// It speaks of a packet too old to be known, or never sent.
    Stale,
    /// It speaks of packets not sent yet.
    Future,
    /// Its clock leapt, or an arrival cannot be.
    Implausible,
    /// It came beyond what a session's feedback may cost.
    OverBudget,
    /// It says that the path carries nothing.
    RembZero,
}

impl Disbelief {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Repeated, Self::Stale, Self::Future, Self::Implausible, Self::OverBudget, Self::RembZero];

    /// Returns the reason's label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::Implausible => "implausible",
            Self::OverBudget => "over_budget",
            Self::RembZero => "remb_zero",
        }
    }
}
