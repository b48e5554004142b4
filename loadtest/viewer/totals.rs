//! What the viewers of one thread count together.

use crate::report::Histogram;

/// Counters since the start, and the delays since they were last taken.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// RTP packets received, retransmissions included.
    pub packets: u64,
    /// Calls that received something: fewer than packets where runs are coalesced.
    pub receives: u64,
    /// Their bytes, as UDP carried them.
    pub bytes: u64,
    /// Retransmissions among them.
    pub rtx_packets: u64,
    /// Packets that were missing and came by retransmission.
    pub repaired: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after a later one.
    pub out_of_order: u64,
    /// Packets that came twice, or after they were given up.
    pub surplus: u64,
    /// Packets that were opened and found right.
    pub verified: u64,
    /// Packets that could not be opened, or that are not what they should be.
    pub verify_failures: u64,
    /// Packets in order whose timestamp went back.
    pub timestamp_errors: u64,
    /// Packets of a source or format that the answer does not name, but for those of padding alone, or that are no RTP.
    pub strangers: u64,
    /// Viewers whose picture stood still for over a second, once in each span between two snapshots.
    pub frozen: u64,
    /// Sequence numbers asked for, whether missing or by request.
    pub nacks_sent: u64,
    /// Those by request.
    pub nacks_on_purpose: u64,
    /// Packets asked for by request that came again.
    pub nacks_answered: u64,
    /// Requests for keyframes.
    pub plis_sent: u64,
    /// Transport-wide feedback packets.
    pub feedbacks_sent: u64,
    /// Datagrams that the kernel did not take.
    pub send_errors: u64,
    /// What the server added to frames' delay.
    pub delay: Histogram,
}

impl Totals {
    /// Counts a viewer whose picture froze, if it did.
    pub(super) fn note_frozen(&mut self, froze: bool) {
        self.frozen = self.frozen.saturating_add(u64::from(froze));
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: &Self) {
        let sum = |one: &mut u64, more: u64| *one = one.saturating_add(more);
        sum(&mut self.packets, other.packets);
        sum(&mut self.receives, other.receives);
        sum(&mut self.bytes, other.bytes);
        sum(&mut self.rtx_packets, other.rtx_packets);
        sum(&mut self.repaired, other.repaired);
        sum(&mut self.lost, other.lost);
        sum(&mut self.out_of_order, other.out_of_order);
        sum(&mut self.surplus, other.surplus);
        sum(&mut self.verified, other.verified);
        sum(&mut self.verify_failures, other.verify_failures);
        sum(&mut self.timestamp_errors, other.timestamp_errors);
        sum(&mut self.strangers, other.strangers);
        sum(&mut self.frozen, other.frozen);
        sum(&mut self.nacks_sent, other.nacks_sent);
        sum(&mut self.nacks_on_purpose, other.nacks_on_purpose);
        sum(&mut self.nacks_answered, other.nacks_answered);
        sum(&mut self.plis_sent, other.plis_sent);
        sum(&mut self.feedbacks_sent, other.feedbacks_sent);
        sum(&mut self.send_errors, other.send_errors);
        self.delay.merge(&other.delay);
    }
}
