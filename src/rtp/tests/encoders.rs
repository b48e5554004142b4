//! What a real encoder sends is described as what it is: the packets of FFmpeg in `encoders.txt`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may end its process"
)]

use std::collections::BTreeSet;

use rtp::Codec;
use rtp::payload::{Descriptor, describe};

#[test]
fn keyframes_are_the_frames_that_the_encoder_was_told_to_make() {
    for codec in CODECS {
        let keyframes: BTreeSet<u32> = packets(codec)
            .iter()
            .filter(|packet| packet.descriptor.keyframe)
            .map(|packet| packet.frame)
            .collect();

        assert_eq!(keyframes, BTreeSet::from([0, 6]), "{codec:?}");
    }
}

#[test]
fn the_first_packet_of_every_frame_is_a_start() {
    for codec in CODECS {
        let packets = packets(codec);
        let mut last = None;
        for packet in &packets {
            let is_first = last != Some(packet.frame);
            assert!(!is_first || packet.descriptor.frame_start, "{codec:?}, frame {}", packet.frame);
            last = Some(packet.frame);
        }
        assert!(last >= Some(10), "{codec:?}: the recording is shorter than it was");
    }
}

#[test]
fn no_later_packet_of_a_vp8_or_vp9_frame_is_a_start() {
    for codec in [Codec::Vp8, Codec::Vp9] {
        let packets = packets(codec);
        let starts = packets.iter().filter(|packet| packet.descriptor.frame_start).count();
        let frames: BTreeSet<u32> = packets.iter().map(|packet| packet.frame).collect();

        assert_eq!(starts, frames.len(), "{codec:?}");
    }
}

#[test]
fn every_keyframe_shows_the_size_of_the_picture() {
    for codec in CODECS {
        for frame in [0, 6] {
            let packets = packets(codec);
            let sizes: BTreeSet<(u16, u16)> = packets
                .iter()
                .filter(|packet| packet.frame == frame)
                .filter_map(|packet| packet.descriptor.size)
                .collect();

            assert_eq!(sizes, BTreeSet::from([(322, 182)]), "{codec:?}, frame {frame}");
        }
    }
}

struct Sent {
    frame: u32,
    descriptor: Descriptor,
}

fn packets(codec: Codec) -> Vec<Sent> {
    let lines = include_str!("encoders.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| Codec::from_name(fields[0]) == Some(codec))
        .map(|fields| Sent {
            frame: fields[1].parse().unwrap(),
            descriptor: describe(codec, &bytes(fields[3])).expect("a real packet is well-formed"),
        })
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

const CODECS: [Codec; 4] = [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9];
