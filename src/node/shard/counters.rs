//! What a shard counts on the packet path: plain numbers, flushed into the metrics once a second.

use sfu::bwe::{self, Disbelief};
use sfu::drop_reason::DropCounts;
use transport::DropReason as DatagramDrop;

use super::session::{Media, Session};
use crate::metrics::Metrics;

/// Counts since the last flush.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) packets_received: u64,
    pub(super) packets_forwarded: u64,
    pub(super) packets_retransmitted: u64,
    pub(super) packets_padding: u64,
    pub(super) bytes_forwarded: u64,
    pub(super) packets_unsent: u64,
    pub(super) datagrams_handed_over: u64,
    datagrams: [u64; DatagramDrop::ALL.len()],
    packets: DropCounts,
    disbelieved: [u64; Disbelief::ALL.len()],
    feedback_fallbacks: u64,
}

impl Counters {
    pub(super) fn drop_datagram(&mut self, reason: DatagramDrop) {
        if let Some(count) = self.datagrams.get_mut(reason.index()) {
            *count += 1;
        }
    }

    pub(super) fn drop_packet(&mut self, reason: sfu::drop_reason::DropReason) {
        self.packets.add(reason);
    }

    /// Adds what a session has counted since the last time.
    pub(super) fn add_session(&mut self, session: &mut Session) {
        let Media::Viewer(viewer) = &session.media else { return };
        let [audio, video] = &mut session.counted;
        self.add_drops(&viewer.stats().audio.drops, audio);
        self.add_drops(&viewer.stats().video.drops, video);
        if let Some(feedback) = viewer.feedback() {
            self.add_feedback(feedback, &mut session.feedback_counted);
        }
    }

    /// Adds what a viewer has dropped since `before`, and brings `before` up to it.
    fn add_drops(&mut self, now: &DropCounts, before: &mut DropCounts) {
        for (reason, count) in now.iter() {
            self.packets.add_many(reason, count.saturating_sub(before.get(reason)));
        }
        before.clone_from(now);
    }

    /// Adds what of a viewer's feedback was not believed since `before`, and brings `before` up to it.
    fn add_feedback(&mut self, now: &bwe::Stats, before: &mut bwe::Stats) {
        for (count, why) in self.disbelieved.iter_mut().zip(Disbelief::ALL) {
            *count += now.disbelieved(why).saturating_sub(before.disbelieved(why));
        }
        self.feedback_fallbacks += now.fallbacks.saturating_sub(before.fallbacks);
        *before = *now;
    }

    /// Adds everything to the metrics and starts again from zero.
    pub(super) fn flush(&mut self, metrics: &Metrics) {
        let counts = std::mem::take(self);
        metrics.packets_received.inc_by(counts.packets_received);
        metrics.packets_forwarded.inc_by(counts.packets_forwarded);
        metrics.packets_retransmitted.inc_by(counts.packets_retransmitted);
        metrics.packets_padding.inc_by(counts.packets_padding);
        metrics.bytes_forwarded.inc_by(counts.bytes_forwarded);
        metrics.packets_unsent.inc_by(counts.packets_unsent);
        metrics.datagrams_handed_over.inc_by(counts.datagrams_handed_over);
        for (reason, count) in DatagramDrop::ALL.iter().zip(counts.datagrams).filter(|(_, count)| *count > 0)
        {
            metrics.drops.with_label_values(&[reason.name()]).inc_by(count);
        }
        for (reason, count) in counts.packets.iter().filter(|(_, count)| *count > 0) {
            metrics.drops.with_label_values(&[reason.as_str()]).inc_by(count);
        }
        for (why, count) in Disbelief::ALL.iter().zip(counts.disbelieved).filter(|(_, count)| *count > 0) {
            metrics.feedback_ignored.with_label_values(&[why.as_str()]).inc_by(count);
        }
        metrics.feedback_fallbacks.inc_by(counts.feedback_fallbacks);
    }
}
