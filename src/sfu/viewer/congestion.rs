//! What is known of the path to one viewer, for explanations, the API and metrics.

use std::time::Duration;

use crate::allocator::Allocation;
use crate::bwe::{self, Estimate};
use crate::{Bitrate, pacer};

/// The state of a viewer's congestion control at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Congestion {
    /// What the path carries, and why it is not more.
    pub estimate: Estimate,
    /// What the viewer shall get of that, and why it is not more.
    pub allocation: Allocation,
    /// The rate that has to be proved before the next step up; `None` when there is none to take.
    pub wanted: Option<Bitrate>,
    /// What was sent lately; `None` until it was measured.
    pub sent: Option<Bitrate>,
    /// What arrived lately; `None` until the viewer has reported it.
    pub acknowledged: Option<Bitrate>,
    /// The share of packets lost in the last seconds, 0 to 1.
    pub loss: f64,
    /// The shortest round trip lately.
    pub rtt: Option<Duration>,
    /// How much longer packets take than the fastest lately did: the queue on the path.
    pub path_queue: Duration,
    /// How many packets wait here for their turn.
    pub waiting_packets: usize,
    /// Packets that waited here too long, or could not be decoded without those.
    pub pacer_drops: pacer::Drops,
    /// What the viewer's feedback said, and the probes.
    pub counters: bwe::Stats,
}
