//! One outgoing source: turns packets of changing layers into one unbroken track.
//!
//! Packet path. Numbers, timestamps, picture numbers, temporal layers and payload types each live in their own
//! part; this joins them for one packet. It knows nothing of why a layer was chosen.

use std::time::Duration;

use rtp::negotiation::ViewedTrack;
use rtp::{ExtSeq, MediaKind, MonoTime, NtpTime, OutgoingHeader, RtpTimestamp, SeqNo};

use super::Forward;
use super::catch_up::Squeeze;
use super::format::FormatTable;
use super::pictures::{Numbers, Pictures};
use super::rewriter::{Located, Offsets, Rewriter, Source};
use super::temporal::TemporalFilter;
use super::timeline::{Sample, Timeline};
use crate::track::Timing;
use crate::{DropReason, Packet};

/// The numbering of one subscription's media. Its fields are in the order that [`super::Viewer`] tells of.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Outgoing {
    /// What is being forwarded now.
    source: Option<Source>,
    /// The newest frame that went out, and whether its last packet did.
    frame: Option<(RtpTimestamp, bool)>,
    pictures: Pictures,
    temporal: TemporalFilter,
    timeline: Timeline,
    formats: FormatTable,
    track: ViewedTrack,
    rewriter: Rewriter,
}

impl Outgoing {
    /// Makes a source whose first packet has this number and timestamp.
    pub(crate) fn new(track: ViewedTrack, first: ExtSeq, start: RtpTimestamp) -> Self {
        let (clock_rate, intervals) = match track.kind {
            MediaKind::Audio => (48_000, AUDIO_INTERVALS),
            MediaKind::Video => (90_000, VIDEO_INTERVALS),
        };
        Self {
            formats: FormatTable::new(track.formats.clone()),
            track,
            source: None,
            rewriter: Rewriter::new(first, intervals),
            timeline: Timeline::new(clock_rate, start),
            pictures: Pictures::default(),
            temporal: TemporalFilter::new(),
            frame: None,
        }
    }

    /// Goes over to another layer, whose packet `first` comes next.
    ///
    /// `live` is the packet whose place on the outgoing time line is now: `first` itself, or, when `first` lies in
    /// the past, the newest, up to which `squeeze` draws the timestamps together.
    pub(crate) fn join(
        &mut self,
        source: Source,
        (first, live): (&Packet, &Packet),
        timing: Option<Timing>,
        squeeze: Option<Squeeze>,
    ) {
        let timestamp = self.timeline.join(sample(live), timing);
        let mut offsets = Offsets { timestamp, squeeze, ..Offsets::default() };
        self.pictures.join(Numbers::of(first), &mut offsets);
        self.temporal.reset();
        self.rewriter.close();
        self.rewriter.begin(source, first.seq, offsets);
        self.source = Some(source);
        self.frame = None;
    }

    /// Forwards nothing until the next [`Self::join`]; the numbering stays.
    pub(crate) fn leave(&mut self) {
        self.source = None;
        self.frame = None;
    }

    /// Decides about one packet of a layer; `None` when it has gone out already.
    ///
    /// # Errors
    ///
    /// The reason for which the packet goes no further.
    pub(crate) fn forward(&mut self, source: Source, packet: &Packet) -> Result<Option<Forward>, DropReason> {
        if self.source == Some(source) && self.rewriter.is_new(source, packet.seq) {
            self.forward_new(source, packet)
        } else {
            self.forward_late(source, packet)
        }
    }

    /// Fills the number that was kept for a packet in an earlier pass over its layer.
    pub(crate) fn forward_before(&mut self, source: Source, packet: &Packet) -> Option<Forward> {
        let located = self.rewriter.number_before(source, packet.seq)?;
        self.describe(&located, packet)
    }

    /// Reads what [`Self::forward`] reads; see [`super::Viewer::warm`].
    pub(crate) fn warm(&self) -> u64 {
        let here = [self.source.is_some(), self.frame.is_some(), self.track.transport_cc];
        here.into_iter().fold(u64::from(self.track.ssrc.0), |read, here| read ^ u64::from(here))
            ^ self.rewriter.warm()
            ^ self.timeline.warm()
            ^ self.temporal.warm()
            ^ self.formats.warm()
    }

    /// Takes the newest frame for ended, because its layer shows the next one.
    ///
    /// No numbers are kept for what may be missing of it: nobody can tell where the frame ended, and a packet of
    /// a later frame must not come behind the switch that follows.
    pub(crate) fn end_frame(&mut self) {
        self.frame = None;
    }

    /// Goes on behind `upto` with `next`, of a keyframe: what the layer sent up to there was dropped on purpose, and gets
    /// no numbers.
    pub(crate) fn leap(&mut self, source: Source, upto: ExtSeq, next: &Packet) {
        let mut offsets = self.rewriter.offsets();
        self.pictures.join(Numbers::of(next), &mut offsets);
        self.rewriter.leap(source, upto, offsets);
        self.frame = None;
    }

    /// Takes a newer place of the current layer on the server media time line.
    pub(crate) fn set_timing(&mut self, timing: Option<Timing>) {
        self.timeline.set_timing(timing);
    }

    /// Sets the highest temporal layer to send.
    pub(crate) fn set_temporal_limit(&mut self, limit: u8) {
        self.temporal.set_limit(limit);
    }

    /// Gives the payload types, to describe the layers anew.
    pub(crate) fn formats_mut(&mut self) -> &mut FormatTable {
        &mut self.formats
    }

    /// Gives the payload types.
    pub(crate) fn formats(&self) -> &FormatTable {
        &self.formats
    }

    /// Returns what was negotiated.
    pub(crate) fn track(&self) -> &ViewedTrack {
        &self.track
    }

    /// Returns the layer that is being forwarded.
    pub(crate) fn source(&self) -> Option<Source> {
        self.source
    }

    /// Says whether the newest frame that went out still lacks its last packet.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.track.kind == MediaKind::Video && self.frame.is_some_and(|(_, ended)| !ended)
    }

    /// Says whether a packet of the current layer shows that the newest frame has ended.
    pub(crate) fn shows_new_frame(&self, source: Source, packet: &Packet) -> bool {
        self.rewriter.is_new(source, packet.seq)
            && self.frame.is_some_and(|(timestamp, _)| timestamp != packet.timestamp)
    }

    /// Says whether a packet belongs to another frame than the newest that went out.
    pub(crate) fn is_other_frame(&self, packet: &Packet) -> bool {
        self.frame.is_none_or(|(timestamp, _)| timestamp != packet.timestamp)
    }

    /// Says whether the packet has a number, given or kept for it.
    pub(crate) fn holds(&self, source: Source, seq: ExtSeq) -> bool {
        self.rewriter.holds(source, seq)
    }

    /// Says whether the layer may be joined at `seq` without sending a packet under a second number.
    pub(crate) fn may_join(&self, source: Source, seq: ExtSeq) -> bool {
        self.rewriter.may_begin(source, seq)
    }

    /// Finds the packet of an outgoing number that was given.
    pub(crate) fn locate(&self, wire: SeqNo) -> Option<Located> {
        self.rewriter.locate(wire)
    }

    /// Finds the packet of the outgoing number that lies `back` before the newest one.
    pub(crate) fn locate_back(&self, back: u64) -> Option<Located> {
        self.rewriter.locate_back(back)
    }

    /// Says whether a packet will be withheld for its temporal layer.
    pub(crate) fn withholds(&self, packet: &Packet) -> bool {
        self.temporal.withholds(&packet.descriptor)
    }

    /// Returns the outgoing timestamp of the instant `now`, `ntp` in server media time.
    pub(crate) fn timestamp_at(&self, now: MonoTime, ntp: NtpTime) -> Option<RtpTimestamp> {
        self.timeline.at(now, ntp, self.rewriter.offsets().timestamp)
    }

    /// Writes down how a located packet goes out; `None` when the viewer has no payload type for it.
    pub(crate) fn describe(&self, located: &Located, packet: &Packet) -> Option<Forward> {
        let choice = self.formats.choice(located.source.layer, packet)?;
        let Numbers { picture, tl0, frame, .. } = Numbers::of(packet).moved(located.offsets);
        let payload_len = match packet.red_primary() {
            Some(primary) if choice.primary_only => primary.len(),
            _ => packet.payload().len(),
        };
        Some(Forward {
            kind: self.track.kind,
            layer: located.source.layer,
            source: located.seq,
            header: OutgoingHeader {
                payload_type: choice.payload_type,
                marker: packet.marker && !located.filler,
                seq: located.out.wire(),
                timestamp: located.offsets.timestamp_of(packet.timestamp),
                ssrc: self.track.ssrc,
            },
            rtx: None,
            probe: None,
            is_padding: false,
            picture: picture.or(tl0.map(|_| 0)).map(|picture| (picture, tl0.unwrap_or_default())),
            frame_number: frame,
            primary_only: choice.primary_only,
            filler: located.filler,
            payload_len,
            carried_len: packet.carried_len(),
            padding: 0,
        })
    }

    fn forward_new(&mut self, source: Source, packet: &Packet) -> Result<Option<Forward>, DropReason> {
        let mut offsets = self.rewriter.offsets();
        if offsets.squeeze.is_some_and(|squeeze| squeeze.is_past(packet.timestamp)) {
            offsets.squeeze = None;
            self.rewriter.turn(source, packet.seq, offsets);
        }
        if let Some(reason) = self.unsendable(source, packet) {
            self.rewriter.skip(source, packet.seq, offsets);
            return Err(reason);
        }
        let numbers = Numbers::of(packet);
        if !self.temporal.admit(source, packet.timestamp, &packet.descriptor) {
            self.pictures.withhold(packet.codec, numbers, &mut offsets);
            self.rewriter.skip(source, packet.seq, offsets);
            return Err(DropReason::TemporalLayer);
        }
        self.pictures.note(numbers, offsets);
        self.frame = Some((packet.timestamp, packet.marker));
        self.number(source, packet, false)
    }

    /// Handles a packet whose number was kept for it when later ones went out. What would have been withheld
    /// goes out empty: the number exists now, and a hole would be asked for again and again.
    fn forward_late(&mut self, source: Source, packet: &Packet) -> Result<Option<Forward>, DropReason> {
        let admitted = self.temporal.admit_late(source, packet.timestamp, &packet.descriptor);
        let filler = !admitted || self.unsendable(source, packet).is_some();
        self.number(source, packet, filler)
    }

    fn number(
        &mut self,
        source: Source,
        packet: &Packet,
        filler: bool,
    ) -> Result<Option<Forward>, DropReason> {
        let Some(numbered) = self.rewriter.number(source, packet.seq, filler)? else { return Ok(None) };
        self.timeline.note(sample_at(packet, numbered.offsets.squeeze), numbered.offsets.timestamp);
        let located =
            Located { source, seq: packet.seq, out: numbered.out, offsets: numbered.offsets, filler };
        Ok(self.describe(&located, packet))
    }

    /// Returns why a packet cannot go out, whatever the temporal layer.
    fn unsendable(&self, source: Source, packet: &Packet) -> Option<DropReason> {
        if packet.is_padding() {
            return Some(DropReason::Padding);
        }
        match self.formats.choice(source.layer, packet) {
            None => Some(DropReason::CodecUnsupported),
            Some(choice) if choice.primary_only && packet.red_primary().is_none() => {
                Some(DropReason::BadPayload)
            }
            Some(_) => None,
        }
    }
}

fn sample(packet: &Packet) -> Sample {
    Sample { timestamp: packet.timestamp, arrival: packet.arrival }
}

/// A packet of the past that goes out as if it had come later counts as sampled and come then.
fn sample_at(packet: &Packet, squeeze: Option<Squeeze>) -> Sample {
    let shift = squeeze.map_or(0, |squeeze| squeeze.shift(packet.timestamp));
    let later = Duration::from_nanos(u64::from(shift).saturating_mul(1_000_000_000) / VIDEO_RATE);
    Sample { timestamp: packet.timestamp.plus(shift), arrival: packet.arrival + later }
}

/// The clock of every video format (RFC 6184 §5.1, RFC 7741 §4.1); audio is never squeezed.
const VIDEO_RATE: u64 = 90_000;
/// Remembered intervals: four seconds of a layer at 30 frames/s of which every second frame is withheld.
const VIDEO_INTERVALS: usize = 64;
/// Audio begins an interval at a restart, a takeover or a withheld packet only.
const AUDIO_INTERVALS: usize = 16;
