//! A publisher session on a bench: packets in, arrivals, tracks and feedback out.

use rtp::codec::Codec;
use rtp::extension::{ExtensionMap, ExtensionWriter};
use rtp::negotiation::Format;
use rtp::rtcp::{SenderInfo, Writer};
use rtp::{ExtSeq, OutgoingHeader, PayloadType};

pub(super) use super::super::*;
pub(super) use crate::ring::Rings;
pub(super) use crate::track::LayerInfo;

pub(super) const VP8: u8 = 96;
pub(super) const VP8_RTX: u8 = 97;
pub(super) const H264: u8 = 98;
pub(super) const H264_RTX: u8 = 99;
pub(super) const OPUS: u8 = 111;
pub(super) const RED: u8 = 63;

pub(super) const OURS: Ssrc = Ssrc(0xffff_0001);

const MID_ID: u8 = 1;
const RID_ID: u8 = 2;
const REPAIRED_ID: u8 = 3;
const TRANSPORT_ID: u8 = 4;
pub(super) const AUDIO_LEVEL_ID: u8 = 5;
pub(super) const DEPENDENCY_ID: u8 = 6;
pub(super) const CAPTURE_ID: u8 = 7;

/// A session with its outputs collected.
pub(super) struct Bench {
    pub(super) publisher: Publisher,
    pub(super) rings: Rings,
    pub(super) tracks: Vec<TrackInfo>,
    /// Layers whose group of pictures outgrew the ring.
    pub(super) outgrown: Vec<LayerIndex>,
    /// What went back to the publisher.
    pub(super) compounds: Vec<Vec<u8>>,
}

impl Bench {
    pub(super) fn new(tracks: Vec<PublishedTrack>) -> Self {
        let config = PublisherConfig {
            epoch: Epoch(3),
            tracks,
            rtcp_ssrc: OURS,
            cname: "nearcast".to_owned(),
            clock: media_clock(),
        };
        let mut bench = Self {
            publisher: Publisher::new(config, at(0), 1),
            rings: Rings::new(),
            tracks: Vec::new(),
            outgrown: Vec::new(),
            compounds: Vec::new(),
        };
        bench.drain(0);
        bench
    }

    /// A video track with these RIDs.
    pub(super) fn simulcast(rids: &[&str]) -> Self {
        let rids = rids.iter().map(|rid| (*rid).to_owned()).collect();
        Self::new(vec![audio(), PublishedTrack { rids, ..video() }])
    }

    pub(super) fn send(&mut self, now: u64, sent: &Sent) -> Result<Option<Arrival>, DropReason> {
        let outcome = self.publisher.handle_rtp(at(now), &sent.packet());
        self.drain(now);
        outcome
    }

    /// Sends a packet that has to be stored, and returns its arrival.
    pub(super) fn store(&mut self, now: u64, sent: &Sent) -> Arrival {
        self.send(now, sent).unwrap().unwrap()
    }

    /// Lets time pass in steps of a millisecond, as a driver does.
    pub(super) fn pass(&mut self, from: u64, to: u64) {
        for now in from..to {
            if self.publisher.next_timeout().is_some_and(|due| due <= at(now)) {
                self.publisher.handle_timeout(at(now));
                self.drain(now);
            }
        }
    }

    pub(super) fn sender_report(&mut self, now: u64, ssrc: u32, ntp: NtpTime, rtp: u32) {
        let mut out = [0; 100];
        let mut writer = Writer::new(&mut out);
        let info = SenderInfo { ssrc: Ssrc(ssrc), ntp, rtp: RtpTimestamp(rtp), packets: 1, octets: 1 };
        assert!(writer.sender_report(info, &[]));
        let length = writer.finish();
        self.publisher.handle_rtcp(at(now), &out[..length]);
        self.drain(now);
    }

    pub(super) fn payload(&self, arrival: Arrival) -> Vec<u8> {
        self.rings.get(arrival.kind, arrival.layer).packet(arrival.seq).unwrap().payload().to_vec()
    }

    pub(super) fn is_stored(&self, layer: u8, seq: ExtSeq) -> bool {
        self.rings.get(MediaKind::Video, LayerIndex(layer)).packet(seq).is_some()
    }

    pub(super) fn layer(&self, layer: usize) -> LayerInfo {
        self.publisher.track_info(MediaKind::Video).unwrap().layers[layer].clone()
    }

    /// Returns the numbers asked for since the last call, with the SSRC that lost them.
    pub(super) fn take_nacked(&mut self) -> Vec<(u32, u16)> {
        let mut nacked = Vec::new();
        for compound in self.compounds.drain(..) {
            for packet in rtcp::packets(&compound) {
                if let Packet::Nack { media, lost } = packet.unwrap() {
                    nacked.extend(lost.map(|seq| (media.0, seq.0)));
                }
            }
        }
        nacked
    }

    /// Returns the SSRCs asked for a keyframe since the last call: by PLI, and by FIR.
    pub(super) fn take_keyframe_requests(&mut self) -> (Vec<u32>, Vec<u32>) {
        let (mut plis, mut firs) = (Vec::new(), Vec::new());
        for compound in self.compounds.drain(..) {
            for packet in rtcp::packets(&compound) {
                match packet.unwrap() {
                    Packet::Pli { media } => plis.push(media.0),
                    Packet::Fir { targets } => firs.extend(targets.map(|ssrc| ssrc.0)),
                    _ => {}
                }
            }
        }
        (plis, firs)
    }

    pub(super) fn drain(&mut self, now: u64) {
        while let Some(output) = self.publisher.poll_output() {
            match output {
                PublisherOutput::Page { kind, layer, page } => {
                    self.rings.get_mut(kind, layer).add_page(page);
                }
                PublisherOutput::Track(info) => self.tracks.push(info),
                PublisherOutput::GopOutgrewRing(layer) => self.outgrown.push(layer),
            }
        }
        let mut out = [0; 1_200];
        for _ in 0..100 {
            let Some(length) = self.publisher.write_rtcp(at(now), &mut out) else { return };
            self.compounds.push(out[..length].to_vec());
        }
        panic!("feedback never ends");
    }
}

/// A packet that the publisher sends.
#[derive(Clone, Default)]
pub(super) struct Sent {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) mid: &'static str,
    pub(super) rid: &'static str,
    pub(super) repaired_rid: &'static str,
    pub(super) transport_number: Option<u16>,
    pub(super) extension: Option<(u8, Vec<u8>)>,
    pub(super) padding: u8,
    pub(super) payload: Vec<u8>,
}

impl Sent {
    /// A VP8 packet inside a frame.
    pub(super) fn vp8(ssrc: u32, seq: u16) -> Self {
        let timestamp = u32::from(seq) * 3_000;
        let (number, payload) = (seq.to_be_bytes(), [0x10, 0x31, 0, 0]);
        let payload = [payload.as_slice(), &number].concat();
        Self { ssrc, payload_type: VP8, seq, timestamp, marker: true, payload, ..Self::default() }
    }

    /// The first packet of a VP8 keyframe.
    pub(super) fn vp8_keyframe(ssrc: u32, seq: u16, width: u16, height: u16) -> Self {
        let [w0, w1] = width.to_le_bytes();
        let [h0, h1] = height.to_le_bytes();
        let payload = vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, 0, 0];
        Self { payload, ..Self::vp8(ssrc, seq) }
    }

    pub(super) fn opus(ssrc: u32, seq: u16) -> Self {
        let timestamp = u32::from(seq) * 960;
        Self { ssrc, payload_type: OPUS, seq, timestamp, payload: vec![0xfc, 1, 2], ..Self::default() }
    }

    /// The packet as a retransmission (RFC 4588 §4).
    pub(super) fn rtx(&self, ssrc: u32, seq: u16) -> Self {
        let payload = [self.seq.to_be_bytes().as_slice(), &self.payload].concat();
        let payload_type = self.payload_type + 1;
        Self { ssrc, payload_type, seq, payload, rid: "", ..self.clone() }
    }

    pub(super) fn packet(&self) -> Vec<u8> {
        let mut out = vec![0; 1_600];
        let header = OutgoingHeader {
            payload_type: PayloadType(self.payload_type),
            marker: self.marker,
            seq: SeqNo(self.seq),
            timestamp: RtpTimestamp(self.timestamp),
            ssrc: Ssrc(self.ssrc),
        };
        let mut writer = ExtensionWriter::new(&mut out[12..]);
        for (id, value) in [(MID_ID, self.mid), (RID_ID, self.rid), (REPAIRED_ID, self.repaired_rid)] {
            if !value.is_empty() {
                assert!(writer.push(id, value.as_bytes()));
            }
        }
        if let Some(number) = self.transport_number {
            assert!(writer.push(TRANSPORT_ID, &number.to_be_bytes()));
        }
        if let Some((id, value)) = &self.extension {
            assert!(writer.push(*id, value));
        }
        let extension = writer.finish();
        header.write(extension > 0, self.padding > 0, &mut out).unwrap();
        out.truncate(12 + extension);
        out.extend(&self.payload);
        if self.padding > 0 {
            out.extend(std::iter::repeat_n(0, usize::from(self.padding) - 1));
            out.push(self.padding);
        }
        out
    }
}

pub(super) fn video() -> PublishedTrack {
    PublishedTrack {
        mid: "1".to_owned(),
        kind: MediaKind::Video,
        formats: vec![format(VP8, Codec::Vp8, Some(VP8_RTX)), format(H264, Codec::H264, Some(H264_RTX))],
        extensions: extensions(),
        rids: Vec::new(),
        ssrcs: Vec::new(),
        transport_cc: true,
        cname: "theirs".to_owned(),
    }
}

pub(super) fn audio() -> PublishedTrack {
    let opus = Format { nack: false, pli: false, ..format(OPUS, Codec::Opus, None) };
    let red = Format { nack: false, pli: false, ..format(RED, Codec::Red, None) };
    PublishedTrack { mid: "0".to_owned(), kind: MediaKind::Audio, formats: vec![opus, red], ..video() }
}

pub(super) fn format(payload_type: u8, codec: Codec, rtx: Option<u8>) -> Format {
    Format {
        payload_type: PayloadType(payload_type),
        codec,
        parameters: format!("x-test={payload_type}"),
        rtx: rtx.map(PayloadType),
        nack: true,
        pli: true,
        fir: true,
    }
}

fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::new();
    for (id, extension) in [
        (MID_ID, Extension::Mid),
        (RID_ID, Extension::Rid),
        (REPAIRED_ID, Extension::RepairedRid),
        (TRANSPORT_ID, Extension::TransportCc),
        (AUDIO_LEVEL_ID, Extension::AudioLevel),
        (DEPENDENCY_ID, Extension::DependencyDescriptor),
        (CAPTURE_ID, Extension::AbsCaptureTime),
    ] {
        assert!(map.insert(id, extension));
    }
    map
}

pub(super) fn media_clock() -> MediaClock {
    MediaClock::new(NtpTime(1 << 42), MonoTime::ZERO)
}

pub(super) fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}
