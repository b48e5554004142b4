//! One layer of a publisher's track: its numbering, its ring, its losses, its measurements. Packet path.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rtp::codec::{Codec, MediaKind};
use rtp::extension::Extension;
use rtp::negotiation::Format;
use rtp::payload::{self, Descriptor, TemplateTable, red};
use rtp::{ExtSeq, MonoTime, NtpTime, RtpTimestamp, Ssrc};

use super::clock::PublisherClock;
use super::formats::Formats;
use super::keyframe::KeyframeRequests;
use super::meter::Meter;
use super::nack::{Filled, Nack, Pace};
use super::numbering::{Numbering, Place};
use super::report::Reception;
use super::stats::LayerStats;
use crate::drop_reason::DropReason;
use crate::packet::{CARRIED, Parts};
use crate::ring::{GOP_MAX, Inserted, Limits, Page, RingWriter};
use crate::track::{LayerIndex, LayerInfo, Timing};

/// How long a video layer without media counts as active.
const ACTIVITY: Duration = Duration::from_secs(2);

/// A bitrate is worth telling viewers' shards when it has changed by this factor; smaller changes travel along
/// with whatever else changes.
const BITRATE_FACTOR: u64 = 2;

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) kind: MediaKind,
    pub(super) index: LayerIndex,
    pub(super) numbering: Numbering,
    pub(super) reception: Reception,
    pub(super) nack: Nack,
    pub(super) keyframes: KeyframeRequests,
    /// The media source that holds the layer.
    pub(super) ssrc: Option<Ssrc>,
    /// The format of the newest packet, as an index into the track's formats.
    pub(super) format: Option<usize>,
    /// The commands of full intra requests are numbered (RFC 5104 §4.3.1).
    pub(super) fir_command: u8,
    rid: Option<String>,
    ring: RingWriter,
    templates: TemplateTable,
    meter: Meter,
    stats: LayerStats,
    active: bool,
    last_media: Option<MonoTime>,
    newest_timestamp: Option<RtpTimestamp>,
    size: Option<Size>,
    sender_report: Option<SenderReport>,
    gop: Gop,
    /// The bitrate that viewers were told last.
    told_bitrate_bps: u64,
}

/// What is known of the newest group of pictures.
#[derive(Clone, Copy, Debug, Default)]
struct Gop {
    /// The packet that began it, and when that came.
    keyframe: Option<(ExtSeq, MonoTime)>,
    /// Whether the ring still holds it whole.
    kept: bool,
    /// Whether one has outgrown the ring while media came.
    outgrew: Outgrew,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outgrew {
    #[default]
    Never,
    /// And the driver has not heard of it.
    News,
    Told,
}

/// The picture's size, and the spatial layer that showed it.
#[derive(Clone, Copy, Debug)]
struct Size {
    pixels: (u16, u16),
    spatial: u8,
}

/// One instant in the publisher's clock and in the layer's time line.
#[derive(Clone, Copy, Debug)]
struct SenderReport {
    rtp: RtpTimestamp,
    ntp: NtpTime,
}

/// A packet with its place, not yet described.
#[derive(Clone, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) place: Place,
    pub(super) marker: bool,
    pub(super) payload: &'a [u8],
    pub(super) carried: [Option<&'a [u8]>; CARRIED.len()],
    /// The payload type's format, as an index into the track's formats.
    pub(super) format: usize,
    pub(super) codec: Codec,
}

/// What storing a packet brought.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) seq: ExtSeq,
    pub(super) content: Content,
    pub(super) page: Option<Arc<Page>>,
    pub(super) filled: Filled,
    /// Viewers need to hear of a change.
    pub(super) changed: bool,
}

/// What a stored packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Media,
    Padding,
    /// The payload contradicts its codec; it was stored empty, so that viewers' numbering closes over it.
    Unreadable,
}

impl Layer {
    pub(super) fn new(kind: MediaKind, index: LayerIndex, rid: Option<String>) -> Self {
        Self {
            kind,
            index,
            numbering: Numbering::default(),
            reception: Reception::default(),
            nack: Nack::new(),
            keyframes: KeyframeRequests::default(),
            ssrc: None,
            format: None,
            fir_command: 0,
            rid,
            ring: RingWriter::new(Limits::default()),
            templates: TemplateTable::new(),
            meter: Meter::default(),
            stats: LayerStats::default(),
            active: false,
            last_media: None,
            newest_timestamp: None,
            size: None,
            sender_report: None,
            gop: Gop::default(),
            told_bitrate_bps: 0,
        }
    }

    /// Stores a packet; `Ok(None)` when it is there already.
    ///
    /// # Errors
    /// Why the ring has no place for it.
    pub(super) fn store(
        &mut self,
        now: MonoTime,
        formats: &Formats,
        mut incoming: Incoming<'_>,
    ) -> Result<Option<Stored>, DropReason> {
        if self.ring.packet(incoming.place.seq).is_some() {
            return Ok(None);
        }
        let mut content = if incoming.payload.is_empty() { Content::Padding } else { Content::Media };
        let (descriptor, primary) = self.describe(formats, &incoming).unwrap_or_else(|| {
            content = Content::Unreadable;
            incoming.payload = &[];
            (Descriptor::default(), None)
        });
        let parts = Parts {
            seq: incoming.place.seq,
            timestamp: incoming.place.timestamp,
            marker: incoming.marker,
            codec: incoming.codec,
            arrival: now,
            descriptor,
            payload: incoming.payload,
            primary,
            carried: incoming.carried,
        };
        let page = match self.ring.insert(&parts) {
            Inserted::New { page } => page,
            Inserted::Duplicate => return Ok(None),
            Inserted::TooOld => return Err(DropReason::TooOld),
            Inserted::TooLarge => return Err(DropReason::TooLarge),
        };
        let filled = self.nack.handle_packet(now, incoming.place.seq);
        let mut changed = self.measure(now, &incoming, &descriptor);
        if page.is_some() {
            changed |= self.watch_gop(now);
        }
        Ok(Some(Stored { seq: incoming.place.seq, content, page, filled, changed }))
    }

    /// Forgets what was known of the source, because another one continues the layer.
    pub(super) fn begin_source(&mut self) {
        self.nack.restart();
        self.reception = Reception::default();
        self.templates = TemplateTable::new();
        self.keyframes.request();
    }

    /// Takes a sender report of the layer's media source.
    pub(super) fn handle_sender_report(&mut self, now: MonoTime, ntp: NtpTime, rtp: RtpTimestamp) {
        self.reception.handle_sender_report(now, ntp);
        self.sender_report = Some(SenderReport { rtp: self.numbering.timestamp(rtp), ntp });
    }

    /// Takes the source's farewell; true when viewers need to hear of it.
    pub(super) const fn handle_bye(&mut self) -> bool {
        std::mem::replace(&mut self.active, false)
    }

    /// Does what is due; true when viewers need to hear of a change.
    pub(super) fn handle_timeout(&mut self, now: MonoTime) -> bool {
        let mut changed = false;
        if self.meter.handle_timeout(now) {
            let (told, measured) = (self.told_bitrate_bps, self.meter.bitrate_bps());
            changed |= measured > told.saturating_mul(BITRATE_FACTOR)
                || told > measured.saturating_mul(BITRATE_FACTOR);
        }
        changed |= self.watch_gop(now);
        if self.silent_at().is_some_and(|silent| silent <= now) {
            self.active = false;
            changed = true;
        }
        changed
    }

    /// Says, once, that a group of pictures has outgrown the ring: joining viewers have to wait for keyframes.
    pub(super) fn take_outgrown(&mut self) -> bool {
        let is_news = self.gop.outgrew == Outgrew::News;
        if is_news {
            self.gop.outgrew = Outgrew::Told;
        }
        is_news
    }

    /// Takes losses as they are now: gives up what is hopeless and turns that into a wish for a keyframe.
    pub(super) fn tend_losses(&mut self, now: MonoTime, pace: Pace) {
        self.nack.handle_timeout(now, pace);
        if self.nack.take_gave_up() && self.kind == MediaKind::Video {
            self.keyframes.request();
        }
    }

    /// Takes note that viewers are told of the layer as it is now.
    pub(super) const fn handle_told(&mut self) {
        self.told_bitrate_bps = self.meter.bitrate_bps();
    }

    /// Returns when something is due, feedback included.
    pub(super) fn next_timeout(&self, pace: Pace) -> Option<MonoTime> {
        let keyframe = self.keyframes.next_timeout().filter(|_| self.reception.has_begun());
        [
            self.nack.next_timeout(pace),
            keyframe,
            self.meter.next_timeout(),
            self.silent_at(),
            self.outgrown_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// True when a request for a keyframe should go out now; never to a source that has sent nothing yet.
    pub(super) fn wants_keyframe(&self, now: MonoTime) -> bool {
        self.reception.has_begun() && self.keyframes.is_due(now)
    }

    /// True when this is the layer's name on the wire.
    pub(super) fn has_rid(&self, rid: &[u8]) -> bool {
        self.rid.as_ref().is_some_and(|known| known.as_bytes() == rid)
    }

    /// Returns what viewers need to know of the layer.
    pub(super) fn info(&self, format: Option<&Format>, clock: &PublisherClock) -> LayerInfo {
        let fallback = match self.kind {
            MediaKind::Audio => Codec::Opus,
            MediaKind::Video => Codec::Vp8,
        };
        LayerInfo {
            index: self.index,
            rid: self.rid.clone(),
            codec: format.map_or(fallback, |format| format.codec),
            parameters: format.map(|format| format.parameters.clone()).unwrap_or_default(),
            active: self.active,
            size: self.size.map(|size| size.pixels),
            bitrate_bps: self.meter.bitrate_bps(),
            frames_per_second: self.meter.frames_per_second(),
            join_cache: self.gop.kept,
            timing: self
                .sender_report
                .and_then(|report| clock.server_time(report.ntp).map(|ntp| Timing { rtp: report.rtp, ntp })),
        }
    }

    /// Returns the layer's counters.
    pub(super) fn stats(&self, clock_rate: u32) -> LayerStats {
        let jitter = f64::from(self.reception.jitter()) / f64::from(clock_rate.max(1));
        LayerStats {
            lost: self.reception.lost(),
            jitter: Duration::from_secs_f64(jitter),
            bitrate_bps: self.meter.bitrate_bps(),
            frames_per_second: self.meter.frames_per_second(),
            fraction_lost: self.reception.fraction_lost(),
            last_keyframe: self.gop.keyframe.map(|(_, arrival)| arrival),
            last_keyframe_request: self.keyframes.last_sent(),
            unanswered_nacks: self.nack.is_unanswered(),
            ..self.stats
        }
    }

    /// Reads the payload and the dependency descriptor; `None` when the payload contradicts its codec.
    fn describe(
        &mut self,
        formats: &Formats,
        incoming: &Incoming<'_>,
    ) -> Option<(Descriptor, Option<Range<usize>>)> {
        if incoming.payload.is_empty() {
            return Some((Descriptor::default(), None));
        }
        let mut primary = None;
        if incoming.codec == Codec::Red {
            let (payload_type, range) = red::primary(incoming.payload).ok()?;
            if !formats.is_opus(payload_type) {
                return None;
            }
            primary = Some(range);
        }
        let mut descriptor = payload::describe(incoming.codec, incoming.payload).ok()?;
        if let Some(bytes) = carried(incoming, Extension::DependencyDescriptor) {
            self.refine(bytes, &mut descriptor);
        }
        Some((descriptor, primary))
    }

    /// Adds what the dependency descriptor knows better than the payload (AV1 RTP specification, appendix A).
    fn refine(&mut self, bytes: &[u8], descriptor: &mut Descriptor) {
        let Ok(read) = self.templates.read(bytes) else { return };
        descriptor.frame_start = read.start_of_frame;
        descriptor.temporal = read.temporal.unwrap_or(descriptor.temporal);
        descriptor.spatial = read.spatial.unwrap_or(descriptor.spatial);
        descriptor.layer_sync |= read.layer_sync;
        descriptor.size = descriptor.size.or(read.size);
        descriptor.keyframe |= read.has_structure && read.start_of_frame && read.spatial.unwrap_or(0) == 0;
    }

    /// Counts a stored packet; true when viewers need to hear of a change.
    fn measure(&mut self, now: MonoTime, incoming: &Incoming<'_>, descriptor: &Descriptor) -> bool {
        let bytes = incoming.payload.len();
        self.stats.packets = self.stats.packets.saturating_add(1);
        self.stats.bytes = self.stats.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if bytes == 0 {
            return false;
        }
        self.stats.first_packet.get_or_insert(now);
        let mut changed = !std::mem::replace(&mut self.active, true);
        self.last_media = Some(now);
        let place = incoming.place;
        let begins_frame =
            place.newest && self.newest_timestamp.replace(place.timestamp) != Some(place.timestamp);
        self.meter.add(now, bytes, begins_frame);
        if place.newest && self.format != Some(incoming.format) {
            self.format = Some(incoming.format);
            self.size = None;
            changed = true;
        }
        if descriptor.keyframe {
            self.nack.handle_keyframe(place.seq);
            self.keyframes.handle_keyframe();
            let begins = begins_frame || !place.newest;
            self.stats.keyframes = self.stats.keyframes.saturating_add(u64::from(begins));
            changed |= self.begin_gop(now, place.seq);
        }
        changed | self.take_size(descriptor)
    }

    /// Takes note of a keyframe; true when viewers need to hear that they may be started from it.
    fn begin_gop(&mut self, now: MonoTime, seq: ExtSeq) -> bool {
        if self.gop.keyframe.is_some_and(|(known, _)| seq < known) {
            return false;
        }
        self.gop.keyframe = Some((seq, now));
        self.stats.first_keyframe.get_or_insert(now);
        !std::mem::replace(&mut self.gop.kept, true)
    }

    /// Looks whether the ring still keeps the newest group of pictures; true when that has just ended.
    fn watch_gop(&mut self, now: MonoTime) -> bool {
        let Some((keyframe, _)) = self.gop.keyframe.filter(|_| self.gop.kept) else { return false };
        let expired = self.outgrown_at().is_some_and(|at| at <= now);
        if !expired && self.ring.packet(keyframe).is_some() {
            return false;
        }
        self.gop.kept = false;
        if self.active && self.gop.outgrew == Outgrew::Never {
            self.gop.outgrew = Outgrew::News;
        }
        true
    }

    fn outgrown_at(&self) -> Option<MonoTime> {
        self.gop.keyframe.filter(|_| self.gop.kept).map(|(_, arrival)| arrival + GOP_MAX)
    }

    /// Takes the picture's size if the packet shows it; of several spatial layers, the highest counts.
    fn take_size(&mut self, descriptor: &Descriptor) -> bool {
        let Some(pixels) = descriptor.size else { return false };
        if self.size.is_some_and(|size| descriptor.spatial < size.spatial || size.pixels == pixels) {
            return false;
        }
        self.size = Some(Size { pixels, spatial: descriptor.spatial });
        true
    }

    /// When the layer stops to be active, unless media comes. Audio does not: it may be silent on purpose.
    fn silent_at(&self) -> Option<MonoTime> {
        let video = self.kind == MediaKind::Video && self.active;
        self.last_media.filter(|_| video).map(|last| last + ACTIVITY)
    }
}

fn carried<'a>(incoming: &Incoming<'a>, extension: Extension) -> Option<&'a [u8]> {
    let index = CARRIED.iter().position(|carried| *carried == extension)?;
    incoming.carried.get(index).copied().flatten()
}
