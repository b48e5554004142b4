//! One track of a viewer: its sources, what arrives of them, and how its frames are measured.

use super::delay::DelayProbe;
use super::keyframe::FirstKeyframe;
use super::reception::Reception;
use crate::signal;
use rtp::{Codec, MediaKind, MonoTime, PayloadType, RtpTimestamp, SeqNo, Ssrc};

/// One track.
#[derive(Debug)]
pub(super) struct Track {
    agreed: signal::Track,
    /// What the server sends with; learned from the first packet when the answer does not say.
    pub(super) source: Option<Reception>,
    pub(super) rtx: Option<Ssrc>,
    pub(super) keyframe: FirstKeyframe,
    pub(super) delay: DelayProbe,
    pub(super) last_timestamp: Option<RtpTimestamp>,
    /// Sequence numbers to ask for although they came, and those that were asked for.
    pub(super) asked: Asked,
    /// Packets since one was opened: the rollover counter must not get out of sight.
    pub(super) unopened: u16,
}

/// What is asked for again on purpose, to load the server's retransmission.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) next: Vec<SeqNo>,
    sent: Vec<SeqNo>,
}

impl Track {
    pub(super) fn new(agreed: signal::Track) -> Self {
        let declared = agreed.ssrcs.first().copied();
        let clock_rate = agreed.kind.clock_rate();
        Self {
            source: declared.map(|pair| Reception::new(pair.media, clock_rate)),
            rtx: declared.and_then(|pair| pair.rtx),
            agreed,
            keyframe: FirstKeyframe::default(),
            delay: DelayProbe::default(),
            last_timestamp: None,
            asked: Asked::default(),
            unopened: 0,
        }
    }

    pub(super) fn is_video(&self) -> bool {
        self.agreed.kind == MediaKind::Video
    }

    /// Returns the codec of a payload type; that of retransmissions stands for what they repair.
    pub(super) fn codec(&self, payload_type: PayloadType) -> Option<Codec> {
        self.agreed.format(payload_type).map(|(format, _)| format.codec)
    }

    /// Says whether no picture could be shown yet.
    pub(super) fn wants_keyframe(&self) -> bool {
        self.is_video() && !self.keyframe.is_complete()
    }

    /// Says whether lost packets may be asked for.
    pub(super) fn asks(&self) -> bool {
        self.agreed.formats.iter().any(|format| format.nack)
    }

    /// Says whether the track carries this packet, and whether as a retransmission; takes up a source that the answer
    /// left open.
    pub(super) fn owns(&mut self, ssrc: Ssrc, payload_type: PayloadType) -> Option<Kind> {
        if self.source.as_ref().is_some_and(|source| source.ssrc() == ssrc) {
            return Some(Kind::Media);
        }
        if self.rtx == Some(ssrc) {
            return Some(Kind::Rtx);
        }
        let (_, is_rtx) = self.agreed.format(payload_type)?;
        match (is_rtx, &self.source, self.rtx) {
            (false, None, _) => {
                self.source = Some(Reception::new(ssrc, self.agreed.kind.clock_rate()));
                Some(Kind::Media)
            }
            (true, Some(_), None) => {
                self.rtx = Some(ssrc);
                Some(Kind::Rtx)
            }
            _ => None,
        }
    }

    /// Notes the timestamp of a packet in order; `false` when time went back.
    pub(super) fn note_timestamp(&mut self, timestamp: RtpTimestamp) -> bool {
        let before = self.last_timestamp.replace(timestamp);
        before.is_none_or(|before| timestamp.distance(before) >= 0)
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        self.source.as_ref().and_then(|source| source.next_timeout(self.asks()))
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Media,
    Rtx,
}

impl Asked {
    /// Takes what is to be asked for, in rising order, and remembers it; returns how much it is.
    pub(super) fn take(&mut self, out: &mut Vec<SeqNo>) -> usize {
        let surplus = self.sent.len().saturating_sub(REMEMBERED_MAX);
        self.sent.drain(..surplus);
        self.sent.extend(&self.next);
        let count = self.next.len();
        out.append(&mut self.next);
        count
    }

    /// Says whether a retransmission answers what was asked for.
    pub(super) fn answers(&mut self, seq: SeqNo) -> bool {
        let found = self.sent.iter().position(|sent| *sent == seq);
        found.map(|index| self.sent.swap_remove(index)).is_some()
    }
}

trait ClockRate {
    fn clock_rate(self) -> u32;
}

impl ClockRate for MediaKind {
    fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => Codec::Opus.clock_rate(),
            Self::Video => Codec::H264.clock_rate(),
        }
    }
}

/// Unanswered questions are forgotten then.
const REMEMBERED_MAX: usize = 64;
