//! The report of a run of viewers: one JSON object for programs, a table for people.
//!
//! Names and units of the JSON are an interface: others compare servers with them. What was not measured is left out.

mod histogram;
mod table;

pub use histogram::Histogram;
pub use table::print;

use std::collections::BTreeMap;
use std::time::Duration;

/// What a run of viewers came to.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Viewers that were asked for.
    pub viewers: u64,
    /// Viewers that connected and stayed.
    pub viewers_connected: u64,
    /// Viewers that did not.
    pub viewers_failed: u64,
    /// Those by reason.
    pub failures: BTreeMap<String, u64>,
    /// Connected viewers that never got a packet of media.
    pub viewers_without_media: u64,
    /// Viewers whose picture stood still for over a second: between two frames, before the first or after the last of
    /// the measurement. Loss does not show it: what a server withholds leaves no hole. Absent with `--silent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers_frozen: Option<u64>,
    /// Viewers whose data channel is open.
    pub data_channels_open: u64,
    /// From the offer to the first packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_ms: Option<Percentiles>,
    /// From the offer to the first complete keyframe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_keyframe_ms: Option<Percentiles>,
    /// From the publisher's sending to the arrival of a frame's last packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_delay_ms: Option<Percentiles>,
    /// Frames that this was measured of.
    pub added_delay_frames: u64,
    /// Joins a second while the viewers joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joins_per_s: Option<f64>,
    /// How long was measured.
    pub measured_s: f64,
    /// RTP packets received while measuring.
    pub packets_received: u64,
    /// Packets that never came, after repair.
    pub packets_lost: u64,
    /// The share of them in per cent; absent when nothing came that could have been lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_percent: Option<f64>,
    /// Received packets a second.
    pub packets_per_s: f64,
    /// Received megabits a second, as UDP carried them.
    pub mbit_per_s: f64,
    /// Packets that came with one receive call on average: how well the server gathers them, where GRO shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_per_receive: Option<f64>,
    /// Packets that came after a later one.
    pub out_of_order: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that were opened and found right.
    pub verified_packets: u64,
    /// Packets that were not.
    pub verify_failures: u64,
    /// Packets in order whose timestamp went back.
    pub timestamp_errors: u64,
    /// Packets that no track of the answer owns, and that are not padding alone.
    pub unknown_packets: u64,
    /// Retransmissions received.
    pub rtx_packets: u64,
    /// Packets asked for.
    pub nacks_sent: u64,
    /// Of those, packets asked for by `--nack` although they had come.
    pub nacks_on_purpose: u64,
    /// Packets asked for by `--nack` that came again.
    pub nacks_answered: u64,
    /// The share of them in per cent. What is asked for at the end is answered after it, as at the begin: over some
    /// seconds that is little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nacks_answered_percent: Option<f64>,
    /// Keyframes asked for.
    pub plis_sent: u64,
    /// Transport-wide feedbacks sent.
    pub feedbacks_sent: u64,
    /// Datagrams that the kernel did not take.
    pub send_errors: u64,
    /// This program's own CPU time while measuring, in nanoseconds for each received packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_cpu_ns_per_packet: Option<f64>,
    /// This program's own CPU time while measuring.
    pub load_cpu_s: f64,
    /// What the server's process used, when it could be looked at.
    #[serde(flatten)]
    pub server: Option<Server>,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Server {
    /// CPU time while measuring.
    pub server_cpu_s: f64,
    /// The same, in nanoseconds for each packet that was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_ns_per_packet: Option<f64>,
    /// CPU time while the viewers joined, in milliseconds for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_cpu_ms: Option<f64>,
    /// Memory above that before the first join, for each connected viewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_kb_per_viewer: Option<f64>,
    /// Memory at the end.
    pub server_rss_kb: u64,
    /// Threads at the end.
    pub server_threads: u64,
    /// Open descriptors at the end.
    pub server_descriptors: u64,
}

/// Three percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Percentiles {
    /// Half are not longer.
    pub p50: f64,
    /// 95 % are not longer.
    pub p95: f64,
    /// 99 % are not longer.
    pub p99: f64,
}

impl Percentiles {
    /// Reads a histogram; `None` when it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let at =
            |share| histogram.per_mille(share).map(|duration: Duration| duration.as_secs_f64() * 1_000.0);
        Some(Self { p50: at(500)?, p95: at(950)?, p99: at(990)? })
    }
}
