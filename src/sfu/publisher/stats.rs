//! Counters of a publisher session, in plain numbers; the node turns them into metrics.

use std::time::Duration;

use rtp::MonoTime;

use crate::drop_reason::DropCounts;

/// Counters of one publisher session since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublisherStats {
    /// RTP packets that came, whatever became of them.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Packets of padding alone, on media sources and on RTX sources.
    pub padding_packets: u64,
    /// Packets that had been stored before.
    pub duplicates: u64,
    /// Retransmissions that came by RTX.
    pub rtx_packets: u64,
    /// Packets that had been missing and came after all, late or by retransmission.
    pub recovered: u64,
    /// Generic NACKs sent, one per layer and compound.
    pub nacks_sent: u64,
    /// Packets asked for in them, repetitions included.
    pub packets_nacked: u64,
    /// PLIs and FIRs sent.
    pub keyframe_requests_sent: u64,
    /// Transport-wide feedback packets sent.
    pub transport_feedbacks_sent: u64,
    /// Receiver reports with report blocks sent.
    pub receiver_reports_sent: u64,
    /// Sender reports that came.
    pub sender_reports: u64,
    /// RTCP compounds that broke off at a malformed packet.
    pub malformed_rtcp: u64,
    /// How often another SSRC took over a layer.
    pub source_changes: u64,
    /// Packets not stored, by reason; a payload that contradicts its codec is counted here and stored empty.
    pub drops: DropCounts,
}

/// Counters of one layer since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerStats {
    /// Packets stored, padding included.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Keyframes that began.
    pub keyframes: u64,
    /// Packets missing of the present source, before repair; negative when duplicates outnumber them.
    pub lost: i32,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Payload bits per second over the last second.
    pub bitrate_bps: u64,
    /// Frames per second over the last second.
    pub frames_per_second: f32,
    /// Share of packets lost in the last receiver report, before repair, in 1/256 (RFC 3550 §6.4.1).
    pub fraction_lost: u8,
    /// When the first packet with media was stored.
    pub first_packet: Option<MonoTime>,
    /// When the first keyframe began.
    pub first_keyframe: Option<MonoTime>,
    /// When the newest keyframe began.
    pub last_keyframe: Option<MonoTime>,
    /// When the publisher was asked for a keyframe last.
    pub last_keyframe_request: Option<MonoTime>,
    /// True when the publisher answered none of the first NACKs: losses ask for keyframes instead.
    pub unanswered_nacks: bool,
}
