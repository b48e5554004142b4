//! What one viewer is sent, kept as a book: every number once, none left out, nothing under two names.
//!
//! It reads the packets as they leave the server, before any network, so that whatever is wrong in it is the server's
//! doing.

use std::collections::{BTreeMap, BTreeSet};

use crate::publisher::TRANSPORT_ID;
use crate::receiver::{AUDIO_SSRC, RTX_SSRC, VIDEO_SSRC};
use crate::wire::{Rtp, Stamp, Unwrapper, Vp8};

/// How far back packets are known for retransmission.
const KEPT: usize = 16_384;

/// The book of one viewer.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    video: Numbering,
    audio: Numbering,
    rtx: Option<u16>,
    transport: Option<u16>,
    /// What went out under each number of video.
    sent: BTreeMap<u64, Option<Stamp>>,
    last: Option<Last>,
    /// Whether every frame came whole from the publisher.
    whole_frames: bool,
    pub(crate) faults: Vec<String>,
    pub(crate) packets: u64,
    pub(crate) retransmissions: u64,
    pub(crate) padding: u64,
    pub(crate) bytes: u64,
    pub(crate) repeated_bytes: u64,
}

/// The numbers of one source.
#[derive(Debug, Default)]
struct Numbering {
    unwrapper: Unwrapper,
    highest: Option<u64>,
    holes: BTreeSet<u64>,
}

/// The packet of video with the highest number.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: u64,
    timestamp: u32,
    marker: bool,
    vp8: Vp8,
}

impl Ledger {
    pub(crate) fn new(whole_frames: bool) -> Self {
        Self { whole_frames, ..Self::default() }
    }

    /// Enters a datagram that leaves the server.
    pub(crate) fn enter(&mut self, bytes: &[u8]) {
        if bytes.get(1).is_some_and(|second| (192..224).contains(second)) {
            return;
        }
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        if let Err(fault) = Rtp::read(bytes).and_then(|rtp| self.check(&rtp, bytes.len())) {
            self.faults.push(fault);
        }
    }

    /// Returns how many numbers of video and of audio were left out for good.
    pub(crate) fn holes(&self) -> [usize; 2] {
        [self.video.holes.len(), self.audio.holes.len()]
    }

    fn check(&mut self, rtp: &Rtp<'_>, length: usize) -> Result<(), String> {
        if let Some(number) = rtp.number(TRANSPORT_ID) {
            let before = self.transport.replace(number);
            if before.is_some_and(|before| before.wrapping_add(1) != number) {
                return Err(format!("transport-wide number {number} follows {before:?}"));
            }
        }
        match rtp.header.ssrc {
            VIDEO_SSRC => self.check_video(rtp),
            AUDIO_SSRC => self.audio.take(rtp.header.seq, "audio").map(|_| ()),
            RTX_SSRC => self.check_rtx(rtp, length),
            ssrc => Err(format!("source {ssrc:#x} is nobody's")),
        }
    }

    fn check_video(&mut self, rtp: &Rtp<'_>) -> Result<(), String> {
        let seq = self.video.take(rtp.header.seq, "video")?;
        let vp8 = Vp8::read(rtp.payload);
        let stamp = vp8.and_then(|(_, length)| Stamp::read(rtp.payload.get(length..)?));
        self.sent.insert(seq, stamp);
        while self.sent.len() > KEPT {
            self.sent.pop_first();
        }
        let Some((vp8, _)) = vp8 else {
            return if rtp.payload.is_empty() {
                Ok(())
            } else {
                Err("a payload that no encoder made".to_owned())
            };
        };
        let next = Last { seq, timestamp: rtp.header.timestamp, marker: rtp.header.marker, vp8 };
        let last = self.last.filter(|last| last.seq > seq).unwrap_or(next);
        let Some(before) = self.last.replace(last).filter(|before| before.seq + 1 == seq) else {
            return Ok(());
        };
        follows(&before, &next, self.whole_frames)
    }

    fn check_rtx(&mut self, rtp: &Rtp<'_>, length: usize) -> Result<(), String> {
        self.repeated_bytes += length as u64;
        let before = self.rtx.replace(rtp.header.seq);
        if before.is_some_and(|before| before.wrapping_add(1) != rtp.header.seq) {
            return Err(format!("retransmission {} follows {before:?}", rtp.header.seq));
        }
        let Some((original, payload)) = rtp.payload.split_first_chunk() else {
            self.padding += 1;
            return if rtp.payload.is_empty() {
                Ok(())
            } else {
                Err("a retransmission of nothing".to_owned())
            };
        };
        self.retransmissions += 1;
        let mut unwrapper = self.video.unwrapper;
        let seq = unwrapper.unwrap(u16::from_be_bytes(*original), 16);
        let stamp = Vp8::read(payload).and_then(|(_, length)| Stamp::read(payload.get(length..)?));
        match self.sent.get(&seq) {
            None => Err(format!("number {seq} is repeated and was never sent")),
            Some(sent) if *sent != stamp => {
                Err(format!("number {seq} was {sent:?} and is repeated as {stamp:?}"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Says what is wrong about two packets whose numbers are neighbours.
fn follows(before: &Last, next: &Last, whole_frames: bool) -> Result<(), String> {
    let ahead = next.timestamp.wrapping_sub(before.timestamp);
    if ahead >= 1 << 31 {
        return Err(format!("timestamp {} follows {}", next.timestamp, before.timestamp));
    }
    if ahead == 0 && !before.marker {
        let same = before.vp8.picture == next.vp8.picture && before.vp8.tl0 == next.vp8.tl0;
        return if same { Ok(()) } else { Err(format!("one frame has two names: {before:?} {next:?}")) };
    }
    let picture = (before.vp8.picture + 1) & 0x7fff;
    let tl0 = before.vp8.tl0.wrapping_add(u8::from(next.vp8.temporal == 0));
    if next.vp8.start && before.marker && (next.vp8.picture, next.vp8.tl0) != (picture, tl0) {
        return Err(format!("pictures are not continuous: {before:?} {next:?}"));
    }
    // What follows a frame that was left must need nothing of it.
    if whole_frames && ahead > 0 && !before.marker && next.vp8.start && !next.vp8.keyframe {
        return Err(format!("a frame was left in the middle: {before:?} {next:?}"));
    }
    Ok(())
}

impl Numbering {
    fn take(&mut self, number: u16, name: &str) -> Result<u64, String> {
        let seq = self.unwrapper.unwrap(number, 16);
        match self.highest {
            Some(highest) if seq <= highest => {
                if !self.holes.remove(&seq) {
                    return Err(format!("number {seq} of {name} was sent twice"));
                }
            }
            Some(highest) => {
                self.holes.extend(highest + 1..seq);
                self.highest = Some(seq);
            }
            None => self.highest = Some(seq),
        }
        Ok(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::VIDEO_TYPE;
    use crate::wire::{self, Header};

    #[test]
    fn a_number_that_is_sent_twice_is_a_fault() {
        let mut ledger = Ledger::default();
        [5, 6, 6].into_iter().for_each(|seq| ledger.enter(&packet(seq, seq, true)));

        assert_eq!(ledger.faults.len(), 1, "{:?}", ledger.faults);
    }

    #[test]
    fn a_hole_is_counted_until_it_is_filled() {
        let mut ledger = Ledger::default();
        [5, 8, 7].into_iter().for_each(|seq| ledger.enter(&packet(seq, seq, true)));

        assert_eq!((ledger.holes(), ledger.faults.len()), ([1, 0], 0));
    }

    #[test]
    fn half_a_frame_and_a_leap_of_the_picture_id_are_faults() {
        let mut half = Ledger::new(true);
        half.enter(&packet(5, 5, false));
        half.enter(&packet(6, 6, true));
        let mut leap = Ledger::default();
        leap.enter(&packet(5, 5, true));
        leap.enter(&packet(6, 7, true));

        assert_eq!((half.faults.len(), leap.faults.len()), (1, 1));
    }

    fn packet(seq: u16, picture: u16, marker: bool) -> Vec<u8> {
        let timestamp = u32::from(picture) * 3_000;
        let header = Header { payload_type: VIDEO_TYPE, marker, seq, timestamp, ssrc: VIDEO_SSRC };
        let vp8 = Vp8 { start: true, picture, tl0: picture as u8, ..Vp8::default() };
        let stamp = Stamp { layer: 0, frame: 1, index: 0, count: 1 };
        wire::write(header, &[], &[&vp8.write((0, 0)), &stamp.write()])
    }
}
