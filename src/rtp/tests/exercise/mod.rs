//! What holds for any input of each parser, whoever sent it. The fuzz targets run the same functions.

use rtp::payload::{TemplateTable, describe, patch_vp8, red};
use rtp::rtcp::{self, Packet};
use rtp::{Codec, Extension, ExtensionMap, MediaKind, RtpView};

/// A received packet.
pub(crate) fn rtp(bytes: &[u8]) {
    let Ok(view) = RtpView::parse(bytes) else { return };

    assert!(HEADER_BYTES + view.payload.len() + usize::from(view.padding) <= bytes.len());
    let carried: usize = view.extensions.iter().map(|(_, value)| value.len() + 1).sum();
    assert!(carried <= bytes.len(), "elements overlap");
    assert_eq!(view.extensions.is_empty(), view.extensions.iter().next().is_none());
    let mut map = ExtensionMap::new();
    for (id, extension) in (1..).zip(Extension::ALL) {
        assert!(map.insert(id, extension));
        let found = view.extensions.find(&map, extension);
        let first = view.extensions.iter().find(|&(carried, _)| carried == id).map(|(_, value)| value);
        assert_eq!(found, first);
    }
}

/// A decrypted compound.
pub(crate) fn rtcp(bytes: &[u8]) {
    let mut packets = 0;
    let mut failed = false;
    for packet in rtcp::packets(bytes) {
        assert!(!failed, "the walk goes on after an error");
        packets += 1;
        match packet {
            Ok(packet) => rtcp_packet(packet, bytes.len()),
            Err(_) => failed = true,
        }
    }
    assert!(packets <= bytes.len().div_ceil(4), "more packets than headers fit");
}

fn rtcp_packet(packet: Packet<'_>, bytes: usize) {
    match packet {
        Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
            assert!(reports.count() * 24 <= bytes);
        }
        Packet::Sdes { cnames } => assert!(cnames.count() * 4 <= bytes),
        Packet::Bye { ssrcs } | Packet::Remb { ssrcs, .. } => assert!(ssrcs.count() * 4 <= bytes),
        Packet::Nack { lost, .. } => assert!(lost.count() <= bytes / 4 * 17),
        Packet::Fir { targets } => assert!(targets.count() * 8 <= bytes),
        Packet::TransportCc(view) => {
            let mut next = view.base;
            let mut statuses = 0;
            let mut arrived = 0;
            for (seq, delta) in view.statuses() {
                assert_eq!(seq, next, "numbers rise by one");
                next = next.plus(1);
                statuses += 1;
                arrived += usize::from(delta.is_some());
            }
            assert!(statuses <= usize::from(view.status_count));
            assert!(arrived <= bytes, "an arrival takes at least a byte");
        }
        Packet::Congestion(view) => assert!(view.reports().count() * 2 <= bytes),
        Packet::Pli { .. } | Packet::Extended { .. } | Packet::Other => {}
    }
}

/// A payload behind one byte that chooses the codec; the last choice is the dependency descriptor.
pub(crate) fn payload(bytes: &[u8]) {
    let Some((&choice, payload)) = bytes.split_first() else { return };
    let Some(&codec) = Codec::ALL.get(usize::from(choice) % (Codec::ALL.len() + 1)) else {
        return dependency_descriptor(payload);
    };
    let Ok(descriptor) = describe(codec, payload) else { return };

    assert_eq!(describe(codec, payload), Ok(descriptor), "the same bytes say the same");
    assert!(!descriptor.keyframe || codec.kind() == MediaKind::Video);
    assert_eq!(descriptor.vp8.is_some(), codec == Codec::Vp8);
    if let Some(fields) = descriptor.vp8 {
        let mut copy = payload.to_vec();
        patch_vp8(&mut copy, &fields, 0x7a5a, 0xa5);
        let patched = describe(codec, &copy).expect("a patch keeps the descriptor readable");
        let wide = |id: u16, wide: bool| if wide { id & 0x7fff } else { id & 0x7f };
        let again = patched.vp8.expect("still VP8");
        assert_eq!(
            again.picture_id.map(|field| field.value),
            fields.picture_id.map(|field| wide(0x7a5a, field.wide))
        );
        assert_eq!(again.tl0_picture_index.map(|field| field.value), fields.tl0_picture_index.map(|_| 0xa5));
        assert_eq!((patched.keyframe, patched.temporal), (descriptor.keyframe, descriptor.temporal));
    }
}

fn dependency_descriptor(bytes: &[u8]) {
    let mut table = TemplateTable::new();
    let Ok(first) = table.read(bytes) else {
        assert_eq!(table.temporal_layer(0), None, "a refused structure leaves no trace");
        return;
    };
    assert_eq!(first.temporal.is_some(), first.spatial.is_some());
    assert!(first.temporal.is_none_or(|layer| layer <= 7) && first.spatial.is_none_or(|layer| layer <= 3));
    let Some(mandatory) = bytes.get(..3) else { return };
    let second = table.read(mandatory).expect("three bytes are a descriptor");
    assert_eq!((second.template_id, second.temporal), (first.template_id, first.temporal));
}

/// A RED payload.
pub(crate) fn red(bytes: &[u8]) {
    let Ok((payload_type, range)) = red::primary(bytes) else { return };

    assert!(payload_type.0 < 128);
    assert!(range.end == bytes.len() && bytes.get(range).is_some(), "the primary block is the last");
}

const HEADER_BYTES: usize = 12;
