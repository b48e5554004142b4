//! The pictures and sounds that are published: small files inside the binary, cut into frames.
//!
//! A [`Clip`] is a keyframe and the frames of one round behind it; the last frame of a round shows what the
//! keyframe shows, so a round follows a round without another keyframe. How the files were made, and what of
//! them this relies on, is told beside them, in `fixtures/README.md`.

use anyhow::{Context as _, Result, bail, ensure};
use rtp::Codec;

/// One scene in one size: a keyframe, then frames that may follow it round after round.
#[derive(Clone, Debug)]
pub struct Clip {
    /// What a keyframe needs in front of its picture: the parameter sets of H.264, nothing for VP8.
    pub parameter_sets: Vec<&'static [u8]>,
    /// The frame that depends on none: in H.264 one slice without start code.
    pub keyframe: &'static [u8],
    /// The frames of a round, each predicted from the one before it.
    pub round: Vec<&'static [u8]>,
}

impl Clip {
    /// Loads the scene, `halvings` times halved from 1280×720.
    ///
    /// # Errors
    ///
    /// When there is no such codec or size, or its file is not what the publisher relies on.
    pub fn load(codec: Codec, halvings: usize) -> Result<Self> {
        let files = match codec {
            Codec::H264 => H264_FILES,
            Codec::Vp8 => VP8_FILES,
            other => bail!("there are pictures in H264 and VP8, not in {}", other.name()),
        };
        let file = files.get(halvings).with_context(|| {
            format!("there are {} sizes of the picture, not {}", files.len(), halvings.saturating_add(1))
        })?;
        if codec == Codec::H264 { Self::from_h264(file) } else { Self::from_vp8(file) }
    }

    fn from_h264(file: &'static [u8]) -> Result<Self> {
        let units = annex_b(file);
        let is_slice = |unit: &&[u8]| unit.first().is_some_and(|header| matches!(header & 0x1f, 1..=5));
        let first_slice = units.iter().position(is_slice).unwrap_or(units.len());
        let (parameter_sets, slices) = units.split_at(first_slice);
        ensure!(slices.iter().all(is_slice), "there must be nothing between the slices");
        Self::new(parameter_sets.to_vec(), slices)
    }

    fn from_vp8(file: &'static [u8]) -> Result<Self> {
        Self::new(Vec::new(), &ivf(file)?)
    }

    fn new(parameter_sets: Vec<&'static [u8]>, frames: &[&'static [u8]]) -> Result<Self> {
        let (keyframe, round) = frames.split_first().context("there must be a frame")?;
        ensure!(!round.is_empty(), "there must be frames behind the keyframe");
        Ok(Self { parameter_sets, keyframe, round: round.to_vec() })
    }
}

/// Loads the packets of the tone, 20 ms each, to be sent round and round.
///
/// # Errors
///
/// When the file is not Ogg, or a packet continues on another page.
pub fn tone() -> Result<Vec<&'static [u8]>> {
    let packets = ogg(TONE)?;
    // The first two say what follows (RFC 7845 §3).
    let sound = packets.get(2..).unwrap_or_default();
    ensure!(!sound.is_empty(), "there must be a packet of sound");
    Ok(sound.to_vec())
}

/// Splits a byte stream at its start codes (ITU-T H.264 annex B).
fn annex_b(bytes: &'static [u8]) -> Vec<&'static [u8]> {
    let starts = bytes.windows(START_CODE.len()).enumerate().filter(|(_, window)| *window == START_CODE);
    let mut units = Vec::new();
    let mut begin = None;
    for (at, _) in starts {
        units.extend(begin.and_then(|begin| bytes.get(begin..at)));
        begin = Some(at.saturating_add(START_CODE.len()));
    }
    units.extend(begin.and_then(|begin| bytes.get(begin..)));
    units.into_iter().map(without_zeros).collect()
}

/// The unit without the zero in front of a longer start code.
fn without_zeros(mut unit: &'static [u8]) -> &'static [u8] {
    while let [rest @ .., 0] = unit {
        unit = rest;
    }
    unit
}

/// Splits an IVF file: a header that tells its length, then frames behind their length and time.
fn ivf(bytes: &'static [u8]) -> Result<Vec<&'static [u8]>> {
    let header = bytes.first_chunk::<8>().context("an IVF file begins with its header")?;
    let &[b'D', b'K', b'I', b'F', _, _, low, high] = header else { bail!("not an IVF file") };
    let mut rest = bytes.get(usize::from(u16::from_le_bytes([low, high]))..).context("a cut header")?;
    let mut frames = Vec::new();
    while let Some((&[l0, l1, l2, l3, ..], following)) = rest.split_first_chunk::<12>() {
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3]))?;
        let (frame, following) = following.split_at_checked(length).context("a cut frame")?;
        frames.push(frame);
        rest = following;
    }
    Ok(frames)
}

/// Splits an Ogg file whose packets lie whole in their pages (RFC 3533 §6).
fn ogg(bytes: &'static [u8]) -> Result<Vec<&'static [u8]>> {
    let mut rest = bytes;
    let mut packets = Vec::new();
    while let Some((header, following)) = rest.split_first_chunk::<27>() {
        ensure!(header.starts_with(b"OggS"), "not an Ogg page");
        let (lacing, mut body) = following
            .split_at_checked(usize::from(header.last().copied().unwrap_or(0)))
            .context("a cut segment table")?;
        ensure!(lacing.last() != Some(&0xff), "a packet must not continue on another page");
        for segments in lacing.split_inclusive(|length| *length < 0xff) {
            let length = segments.iter().map(|length| usize::from(*length)).sum();
            let (packet, following) = body.split_at_checked(length).context("a cut packet")?;
            packets.push(packet);
            body = following;
        }
        rest = body;
    }
    Ok(packets)
}

const START_CODE: [u8; 3] = [0, 0, 1];

/// By size, each half of the one before.
const H264_FILES: &[&[u8]] = &[
    include_bytes!("../fixtures/sky-1280x720.h264"),
    include_bytes!("../fixtures/sky-640x360.h264"),
    include_bytes!("../fixtures/sky-320x180.h264"),
];
const VP8_FILES: &[&[u8]] = &[
    include_bytes!("../fixtures/sky-1280x720.ivf"),
    include_bytes!("../fixtures/sky-640x360.ivf"),
    include_bytes!("../fixtures/sky-320x180.ivf"),
];
const TONE: &[u8] = include_bytes!("../fixtures/tone.opus");

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::payload::{Descriptor, describe};

    /// `frame_num` counts modulo 16, so only a round of whole periods may follow itself.
    const FRAME_NUMBERS: usize = 16;

    #[test]
    fn every_picture_is_a_keyframe_of_its_size_and_one_round() {
        for codec in [Codec::H264, Codec::Vp8] {
            for (halvings, size) in [(1280, 720), (640, 360), (320, 180)].into_iter().enumerate() {
                let clip = Clip::load(codec, halvings).unwrap();

                let first = clip.parameter_sets.first().copied().unwrap_or(clip.keyframe);
                assert_eq!(picture(codec, first).size, Some(size), "{codec:?}");
                assert!(picture(codec, clip.keyframe).keyframe, "{codec:?}");
                assert!(clip.round.iter().all(|frame| !picture(codec, frame).keyframe), "{codec:?}");
                assert!(clip.round.iter().all(|frame| picture(codec, frame).frame_start), "{codec:?}");
                assert_eq!(clip.round.len() % FRAME_NUMBERS, 0, "{codec:?}");
            }
        }
    }

    #[test]
    fn the_tone_is_packets_of_twenty_milliseconds() {
        let packets = tone().unwrap();

        assert!(packets.len() >= 100, "{} packets", packets.len());
        for packet in packets {
            // A configuration of 20 ms, and one frame in the packet (RFC 6716 §3.1).
            let (configuration, code) = (packet[0] >> 3, packet[0] & 3);
            assert_eq!(
                (configuration % 4, code),
                (if configuration < 12 { 1 } else { 3 }, 0),
                "{configuration}"
            );
            assert!(packet.len() < 200);
        }
    }

    #[test]
    fn what_there_is_no_picture_of_is_refused() {
        assert!(Clip::load(Codec::Av1, 0).is_err());
        assert!(Clip::load(Codec::H264, 3).is_err());
    }

    #[test]
    fn files_that_are_cut_are_refused() {
        let whole = VP8_FILES[2];
        assert!(ivf(&whole[..whole.len() - 1]).is_err());
        assert!(ivf(b"DKIF").is_err());
        assert!(ivf(b"RIFF\0\0\x20\0").is_err());
        assert!(ogg(&TONE[..TONE.len() - 1]).is_err());
        assert!(ogg(&[0x4f; 40]).is_err());
    }

    fn picture(codec: Codec, frame: &[u8]) -> Descriptor {
        // A VP8 payload begins with its descriptor; this is the smallest.
        let payload = if codec == Codec::Vp8 { [&[0x10], frame].concat() } else { frame.to_vec() };
        describe(codec, &payload).unwrap()
    }
}
