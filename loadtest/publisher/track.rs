//! One source of RTP: numbers, header extensions, retransmissions, reports.
//!
//! The names of a track and layer ride in each packet until the receiver reports on the source, as a browser does
//! it; in retransmissions they always ride, with the layer as the repaired one (RFC 8852 §3).

use rtp::rtcp::SenderInfo;
use rtp::{
    Extension, ExtensionMap, ExtensionWriter, MonoTime, NtpTime, OutgoingHeader, PayloadType, RtpTimestamp,
    SeqNo, Ssrc,
};

use super::history::History;

/// What a source is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number.
    pub ssrc: Ssrc,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Number and payload type of its retransmissions, when they were agreed (RFC 4588).
    pub rtx: Option<(Ssrc, PayloadType)>,
    /// The agreed header extensions.
    pub extensions: ExtensionMap,
    /// The media identification.
    pub mid: String,
    /// The layer's name, with simulcast.
    pub rid: Option<String>,
    /// Where its numbers begin.
    pub first_seq: SeqNo,
}

/// One packet to write.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The marker bit.
    pub marker: bool,
    /// The timestamp.
    pub timestamp: RtpTimestamp,
    /// The payload.
    pub payload: &'a [u8],
}

/// One instant of sending: the time, and the session's count of packets over all sources.
#[derive(Debug)]
pub struct Departure<'a> {
    /// The present.
    pub now: MonoTime,
    /// The next transport-wide number.
    pub transport_seq: &'a mut SeqNo,
}

/// One source.
#[derive(Clone, Debug)]
pub struct Track {
    config: Config,
    next_seq: SeqNo,
    next_rtx_seq: SeqNo,
    /// Whether the receiver knows whose packets these are.
    acknowledged: bool,
    packets: u32,
    octets: u32,
    history: History,
}

impl Track {
    /// Makes a source.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            next_seq: config.first_seq,
            next_rtx_seq: config.first_seq,
            acknowledged: false,
            packets: 0,
            octets: 0,
            history: History::new(),
            config,
        }
    }

    /// Writes the next packet and keeps its payload.
    pub fn send(&mut self, packet: Packet<'_>, departure: &mut Departure<'_>) -> Vec<u8> {
        let Packet { marker, timestamp, payload } = packet;
        let (ssrc, payload_type, seq) = (self.config.ssrc, self.config.payload_type, self.next_seq);
        let header = OutgoingHeader { payload_type, marker, seq, timestamp, ssrc };
        let named = (!self.acknowledged).then_some(Extension::Rid);
        let bytes = self.write(header, named, &[payload], departure);
        if self.config.rtx.is_some() {
            self.history.keep(seq, marker, timestamp, payload);
        }
        self.next_seq = seq.plus(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        bytes
    }

    /// Writes a packet once more, with the retransmissions' number; `None` when it is forgotten, or no
    /// retransmissions were agreed: the same number sealed twice would use a nonce twice.
    pub fn send_again(&mut self, lost: SeqNo, departure: &mut Departure<'_>) -> Option<Vec<u8>> {
        let (ssrc, payload_type) = self.config.rtx?;
        let sent = self.history.find(lost)?;
        let (marker, timestamp, seq) = (sent.marker, sent.timestamp, self.next_rtx_seq);
        let header = OutgoingHeader { payload_type, marker, seq, timestamp, ssrc };
        let parts = [&lost.0.to_be_bytes()[..], &sent.payload];
        let bytes = self.write(header, Some(Extension::RepairedRid), &parts, departure);
        self.next_rtx_seq = seq.plus(1);
        Some(bytes)
    }

    /// Notes that the receiver reported on the source.
    pub const fn acknowledge(&mut self) {
        self.acknowledged = true;
    }

    /// Returns what a sender report says; `rtp` is the present in the source's timestamps.
    #[must_use]
    pub const fn sender_info(&self, ntp: NtpTime, rtp: RtpTimestamp) -> SenderInfo {
        SenderInfo { ssrc: self.config.ssrc, ntp, rtp, packets: self.packets, octets: self.octets }
    }

    /// Returns the source's number.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.config.ssrc
    }

    /// Says whether a packet was sent.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.packets > 0
    }

    fn write(
        &self,
        header: OutgoingHeader,
        named: Option<Extension>,
        parts: &[&[u8]],
        departure: &mut Departure<'_>,
    ) -> Vec<u8> {
        let mut head = [0; HEAD_BYTES_MAX];
        let (fixed, block) = head.split_at_mut(OutgoingHeader::LENGTH);
        let extended = self.write_extensions(named, block, departure);
        let fixed = header.write(extended > 0, false, fixed).unwrap_or(0);
        let payload_bytes: usize = parts.iter().map(|part| part.len()).sum();
        // The tag of the seal fits, so that the packet is not moved for it.
        let mut bytes =
            Vec::with_capacity(HEAD_BYTES_MAX.saturating_add(payload_bytes).saturating_add(TAG_BYTES_MAX));
        bytes.extend_from_slice(head.get(..fixed.saturating_add(extended)).unwrap_or_default());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Writes what was agreed; the names only when `named` says how the layer is called.
    fn write_extensions(
        &self,
        named: Option<Extension>,
        out: &mut [u8],
        departure: &mut Departure<'_>,
    ) -> usize {
        let mut writer = ExtensionWriter::new(out);
        let mut push = |extension, value: &[u8]| {
            self.config.extensions.id(extension).is_some_and(|id| writer.push(id, value))
        };
        let [_, t0, t1, t2] = send_time(departure.now).to_be_bytes();
        push(Extension::AbsSendTime, &[t0, t1, t2]);
        if push(Extension::TransportCc, &departure.transport_seq.0.to_be_bytes()) {
            *departure.transport_seq = departure.transport_seq.plus(1);
        }
        if let Some(layer) = named {
            push(Extension::Mid, self.config.mid.as_bytes());
            if let Some(rid) = &self.config.rid {
                push(layer, rid.as_bytes());
            }
        }
        writer.finish()
    }
}

/// 24 bits of seconds, 18 of them behind the point.
fn send_time(now: MonoTime) -> u32 {
    let units = (u128::from(now.as_nanos()) << 18) / 1_000_000_000;
    u32::try_from(units & 0xff_ffff).unwrap_or(0)
}

/// The fixed header and the longest block: four elements, of which two are names of at most 16 bytes.
const HEAD_BYTES_MAX: usize = OutgoingHeader::LENGTH + 52;
const TAG_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::RtpView;

    #[test]
    fn a_packet_names_its_track_and_layer_until_the_receiver_reports() {
        let mut track = Track::new(config());
        let mut transport_seq = SeqNo(9);

        let named = send(&mut track, &mut transport_seq, b"one");
        track.acknowledge();
        let known = send(&mut track, &mut transport_seq, b"two");

        let (first, second) = (RtpView::parse(&named).unwrap(), RtpView::parse(&known).unwrap());
        assert_eq!(
            (find(&first, Extension::Mid), find(&first, Extension::Rid)),
            (Some(&b"1"[..]), Some(&b"h"[..]))
        );
        assert_eq!((find(&second, Extension::Mid), find(&second, Extension::Rid)), (None, None));
        assert_eq!(find(&second, Extension::TransportCc), Some(&10_u16.to_be_bytes()[..]));
        assert_eq!((first.payload, second.payload), (&b"one"[..], &b"two"[..]));
        assert_eq!((first.seq, second.seq), (SeqNo(65_535), SeqNo(0)));
    }

    #[test]
    fn a_lost_packet_is_sent_again_as_a_packet_of_the_retransmissions() {
        let mut track = Track::new(config());
        let mut transport_seq = SeqNo(65_535);
        send(&mut track, &mut transport_seq, b"lost");
        track.acknowledge();

        let mut departure = Departure { now: MonoTime::ZERO, transport_seq: &mut transport_seq };
        let again = track.send_again(SeqNo(65_535), &mut departure).unwrap();

        let view = RtpView::parse(&again).unwrap();
        assert_eq!((view.ssrc, view.payload_type), (Ssrc(78), PayloadType(97)));
        assert_eq!((view.marker, view.timestamp), (true, RtpTimestamp(3_000)));
        assert_eq!(view.payload, b"\xff\xfflost");
        assert_eq!(find(&view, Extension::RepairedRid), Some(&b"h"[..]));
        assert_eq!(find(&view, Extension::Mid), Some(&b"1"[..]));
        assert_eq!(find(&view, Extension::TransportCc), Some(&0_u16.to_be_bytes()[..]));
    }

    #[test]
    fn what_was_never_sent_or_agreed_is_not_sent_again() {
        let mut without = Track::new(Config { rtx: None, ..config() });
        let mut transport_seq = SeqNo(0);
        send(&mut without, &mut transport_seq, b"lost");
        let mut with = Track::new(config());
        let mut departure = Departure { now: MonoTime::ZERO, transport_seq: &mut transport_seq };

        assert_eq!(without.send_again(SeqNo(65_535), &mut departure), None);
        assert_eq!(with.send_again(SeqNo(65_535), &mut departure), None);
        assert_eq!(transport_seq, SeqNo(1));
    }

    #[test]
    fn a_report_counts_packets_and_payloads_but_no_retransmissions() {
        let mut track = Track::new(config());
        let mut transport_seq = SeqNo(0);
        send(&mut track, &mut transport_seq, b"four");
        send(&mut track, &mut transport_seq, b"and five");
        let mut departure = Departure { now: MonoTime::ZERO, transport_seq: &mut transport_seq };
        track.send_again(SeqNo(0), &mut departure).unwrap();

        let info = track.sender_info(NtpTime(5), RtpTimestamp(6));

        assert_eq!((info.packets, info.octets, info.ssrc), (2, 12, Ssrc(77)));
    }

    fn send(track: &mut Track, transport_seq: &mut SeqNo, payload: &[u8]) -> Vec<u8> {
        let packet = Packet { marker: true, timestamp: RtpTimestamp(3_000), payload };
        track.send(packet, &mut Departure { now: MonoTime::from_millis(1_500), transport_seq })
    }

    fn find<'a>(view: &RtpView<'a>, extension: Extension) -> Option<&'a [u8]> {
        view.extensions.find(&config().extensions, extension)
    }

    fn config() -> Config {
        let mut extensions = ExtensionMap::new();
        for (id, extension) in [
            (2, Extension::AbsSendTime),
            (3, Extension::TransportCc),
            (4, Extension::Mid),
            (10, Extension::Rid),
            (11, Extension::RepairedRid),
        ] {
            assert!(extensions.insert(id, extension));
        }
        Config {
            ssrc: Ssrc(77),
            payload_type: PayloadType(96),
            rtx: Some((Ssrc(78), PayloadType(97))),
            extensions,
            mid: "1".into(),
            rid: Some("h".into()),
            first_seq: SeqNo(65_535),
        }
    }
}
