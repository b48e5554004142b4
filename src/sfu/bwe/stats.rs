//! Counters of one estimator, in plain numbers.

/// What feedback said, and what of it was believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Feedback packets that came.
    pub feedbacks: u64,
    /// Packets reported as received, for the first time.
    pub received: u64,
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
}
