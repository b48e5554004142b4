//! Both halves together: what a publisher session stores, a viewer gets.

use rtp::negotiation::{Format, PublishedTrack, SsrcPair};
use rtp::rtcp::{self, Packet};
use rtp::{
    Codec, ExtensionMap, MediaClock, MediaKind, MonoTime, NtpTime, OutgoingHeader, PayloadType, RtpTimestamp,
    SeqNo, Ssrc,
};

use super::harness::{Media, Room, Sent};
use crate::viewer::ViewerOutput;
use crate::{Arrival, Epoch, Publisher, PublisherConfig, PublisherOutput};

#[test]
fn what_a_publisher_sends_reaches_the_viewer_in_one_numbering_over_a_restart() {
    let mut room = Room::new(1);
    let mut sent = Vec::new();

    for epoch in 1..=2 {
        room.reset_rings();
        let mut publisher = publisher(epoch, room.now);
        let mut seq = 65_500;
        for frame in 0..60_u32 {
            for place in 0..3 {
                let media = Media {
                    start: place == 0,
                    marker: place == 2,
                    keyframe: frame % 30 == 3,
                    picture: (frame as u16, true, frame as u8),
                    ..Media::vp8(0, seq, frame * 3_000)
                };
                let arrival = receive(&mut publisher, &mut room, &media);
                sent.extend(room.announce(&[arrival]));
                seq += 1;
            }
            room.advance(33);
        }
    }

    // Three frames are dropped before the first keyframe of each session.
    assert_eq!(sent.len(), 2 * 57 * 3);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.plus(1));
        assert!(!(pair[0].marker && pair[1].marker));
        let step = pair[1].timestamp.distance(pair[0].timestamp);
        assert_eq!(step > 0, pair[0].marker, "a timestamp rises behind each marker only");
    }
    let pictures: Vec<u16> = sent.iter().step_by(3).map(|sent: &Sent| sent.picture.unwrap().0).collect();
    assert!(pictures.windows(2).all(|pair| pair[1] == pair[0] + 1), "{pictures:?}");
}

#[test]
fn viewers_wish_for_a_keyframe_reaches_the_publisher() {
    let mut room = Room::new(1);
    let mut publisher = publisher(1, room.now);
    receive(&mut publisher, &mut room, &Media::vp8(0, 100, 0));

    let wishes = room.outputs();
    assert_eq!(wishes, [ViewerOutput::RequestKeyframe(crate::LayerIndex(0))]);
    publisher.request_keyframe(room.now, crate::LayerIndex(0));

    let mut bytes = [0; 1_200];
    let mut asked = false;
    while let Some(length) = publisher.write_rtcp(room.now, &mut bytes) {
        asked |=
            rtcp::packets(&bytes[..length]).any(|packet| matches!(packet, Ok(Packet::Pli { media: SOURCE })));
    }
    assert!(asked);
}

/// Sends one packet into the publisher session and hands on what comes out of it.
fn receive(publisher: &mut Publisher, room: &mut Room, media: &Media) -> Arrival {
    let mut bytes = vec![0; OutgoingHeader::LENGTH];
    let header = OutgoingHeader {
        payload_type: PayloadType(120),
        marker: media.marker,
        seq: SeqNo(media.seq as u16),
        timestamp: RtpTimestamp(media.timestamp),
        ssrc: SOURCE,
    };
    header.write(false, false, &mut bytes).unwrap();
    bytes.extend(media.payload());
    let arrival = publisher.handle_rtp(room.now, &bytes).unwrap().unwrap();
    while let Some(output) = publisher.poll_output() {
        match output {
            PublisherOutput::Page { kind, layer, page } => room.rings.get_mut(kind, layer).add_page(page),
            PublisherOutput::Track(info) => room.viewer.handle_track(room.now, &info),
            PublisherOutput::GopOutgrewRing(_) => {}
        }
    }
    arrival
}

fn publisher(epoch: u32, now: MonoTime) -> Publisher {
    let format = Format {
        payload_type: PayloadType(120),
        codec: Codec::Vp8,
        parameters: String::new(),
        rtx: None,
        nack: true,
        pli: true,
        fir: false,
    };
    let track = PublishedTrack {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        formats: vec![format],
        extensions: ExtensionMap::new(),
        rids: Vec::new(),
        ssrcs: vec![SsrcPair { media: SOURCE, rtx: None }],
        transport_cc: false,
        cname: String::new(),
    };
    let config = PublisherConfig {
        epoch: Epoch(epoch),
        tracks: vec![track],
        rtcp_ssrc: Ssrc(1),
        cname: "room".to_owned(),
        clock: MediaClock::new(NtpTime::from_unix_nanos(0), MonoTime::ZERO),
    };
    Publisher::new(config, now, u64::from(epoch))
}

const SOURCE: Ssrc = Ssrc(0x7777);
