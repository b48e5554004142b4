//! What the node counts, in Prometheus' terms.
//!
//! Shards add to counters once per tick, never per packet. Labels come from closed sets: no session, no address.

use prometheus::{
    Encoder, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::admission::Admission;
use crate::mesh::EndReason;
use crate::registry::ShardId;
use crate::shard::load::Busy;

/// The node's metrics; see [`Metrics::register`].
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) packets_received: IntCounter,
    pub(crate) packets_forwarded: IntCounter,
    pub(crate) bytes_forwarded: IntCounter,
    pub(crate) packets_retransmitted: IntCounter,
    pub(crate) packets_padding: IntCounter,
    pub(crate) layer_changes: IntCounterVec,
    pub(crate) packets_unsent: IntCounter,
    messages_dropped: IntCounter,
    pub(crate) datagrams_handed_over: IntCounter,
    pub(crate) drops: IntCounterVec,
    pub(crate) feedback_ignored: IntCounterVec,
    pub(crate) feedback_fallbacks: IntCounter,
    pub(crate) sessions_ended: IntCounterVec,
    pub(crate) links_connected: IntCounterVec,
    sessions: IntGaugeVec,
    shard_busy: GaugeVec,
    shard_viewers: IntGaugeVec,
    joins_open: IntGauge,
}

impl Metrics {
    /// Makes and registers all metrics of a node.
    ///
    /// # Errors
    /// When two metrics share a name, which is a defect.
    pub(crate) fn register() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let sessions = IntGaugeVec::new(Opts::new("nearcast_sessions", "Sessions by role."), &["role"])?;
        registry.register(Box::new(sessions.clone()))?;
        let shard_busy = GaugeVec::new(
            Opts::new("nearcast_shard_busy_ratio", "Share of the last second that a shard did not sleep."),
            &["shard"],
        )?;
        registry.register(Box::new(shard_busy.clone()))?;
        let shard_viewers =
            IntGaugeVec::new(Opts::new("nearcast_shard_viewers", "Viewers by shard."), &["shard"])?;
        registry.register(Box::new(shard_viewers.clone()))?;
        let joins_open = IntGauge::new(
            "nearcast_joins_open",
            "1 while new viewers are let in, 0 while the node is too busy.",
        )?;
        registry.register(Box::new(joins_open.clone()))?;
        let metrics = Self {
            packets_received: counter("nearcast_rtp_received_packets_total", "RTP packets from publishers.")?,
            packets_forwarded: counter(
                "nearcast_rtp_forwarded_packets_total",
                "RTP packets sent to viewers.",
            )?,
            bytes_forwarded: counter(
                "nearcast_rtp_forwarded_bytes_total",
                "Sealed RTP bytes sent to viewers.",
            )?,
            packets_retransmitted: counter(
                "nearcast_rtp_retransmitted_packets_total",
                "Packets sent again because a viewer asked.",
            )?,
            packets_padding: counter(
                "nearcast_rtp_padding_packets_total",
                "Packets sent to find out what a viewer's path carries; forwarded packets include them.",
            )?,
            layer_changes: counters(
                "nearcast_layer_changes_total",
                "Layers that viewers went over to, by reason.",
                "reason",
            )?,
            packets_unsent: counter(
                "nearcast_udp_unsent_packets_total",
                "Packets that the kernel would not take.",
            )?,
            datagrams_handed_over: counter(
                "nearcast_mesh_datagrams_total",
                "Datagrams that reached another shard than their session's and were handed over.",
            )?,
            drops: counters(
                "nearcast_drops_total",
                "Datagrams and packets not used or not forwarded, by reason.",
                "reason",
            )?,
            feedback_ignored: counters(
                "nearcast_feedback_ignored_total",
                "What viewers reported of their paths and was not believed, by reason.",
                "reason",
            )?,
            feedback_fallbacks: counter(
                "nearcast_feedback_fallbacks_total",
                "Viewers that agreed to report arrivals, never did, and are led by their losses or REMB.",
            )?,
            sessions_ended: counters(
                "nearcast_sessions_ended_total",
                "Sessions that ended, by reason.",
                "reason",
            )?,
            links_connected: counters(
                "nearcast_links_connected_total",
                "Sessions whose DTLS completed, by SRTP profile.",
                "profile",
            )?,
            messages_dropped: counter(
                "nearcast_mesh_messages_dropped_total",
                "Messages to a shard dropped at its full mailbox.",
            )?,
            sessions,
            shard_busy,
            shard_viewers,
            joins_open,
            registry,
        };
        for reason in EndReason::ALL {
            metrics.sessions_ended.with_label_values(&[reason.as_str()]);
        }
        Ok(metrics)
    }

    /// Notes how a shard is doing.
    pub(crate) fn note_shard(&self, shard: ShardId, busy: Busy, viewers: usize) {
        let label = [&*shard.to_string()];
        self.shard_busy.with_label_values(&label).set(f64::from(busy.0) / 1_000.0);
        self.shard_viewers.with_label_values(&label).set(i64::try_from(viewers).unwrap_or(i64::MAX));
    }

    /// Renders Prometheus' text format.
    pub(crate) fn render(
        &self,
        (publishers, viewers): (usize, usize),
        messages_dropped: u64,
        admission: &Admission,
    ) -> String {
        self.joins_open.set(i64::from(admission.check().is_ok()));
        self.sessions.with_label_values(&["publisher"]).set(i64::try_from(publishers).unwrap_or(i64::MAX));
        self.sessions.with_label_values(&["viewer"]).set(i64::try_from(viewers).unwrap_or(i64::MAX));
        self.messages_dropped.inc_by(messages_dropped.saturating_sub(self.messages_dropped.get()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be rendered");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OPERATIONS: &str = include_str!("../../docs/operations.md");

    /// The names in code type in the first column of the table under a heading.
    fn listed(heading: &str) -> BTreeSet<&'static str> {
        let section = OPERATIONS.split(heading).nth(1).expect("the section");
        let rows = section.split("\n#").next().unwrap_or_default().lines();
        rows.filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('|').nth(1))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter_map(|name| name.split('{').next())
            .collect()
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let metrics = Metrics::register().unwrap();
        metrics.note_shard(0, Busy(0), 0);
        metrics.sessions.with_label_values(&["viewer"]);
        for vector in
            [&metrics.layer_changes, &metrics.drops, &metrics.feedback_ignored, &metrics.links_connected]
        {
            vector.with_label_values(&["a label, without which a metric is not shown"]);
        }

        let families = metrics.registry.gather();
        let known: BTreeSet<&str> = families.iter().map(|family| family.name()).collect();

        assert_eq!(listed("## Metrics\n"), known);
    }

    #[test]
    fn the_documentation_lists_every_drop_reason_and_every_end_reason_and_no_other() {
        let datagrams = transport::DropReason::ALL.iter().map(|reason| reason.name());
        let packets = sfu::drop_reason::DropReason::ALL.iter().map(|reason| reason.as_str());
        let ends = EndReason::ALL.iter().map(|reason| reason.as_str());

        assert_eq!(listed("### Drop reasons\n"), datagrams.chain(packets).collect());
        assert_eq!(listed("### End reasons\n"), ends.collect());
    }
}
