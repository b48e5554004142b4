//! One picture in one size, frame by frame: which frame comes next, how large it is, and its payloads.
//!
//! The first frame is a keyframe; then one comes when it is asked for and when the last one is a GOP old. Two
//! keyframes never stand side by side, because H.264 could take them for one (ITU-T H.264 §7.4.3, `idr_pic_id`):
//! one that is asked for just then comes a frame later.

use anyhow::Result;
use rtp::{Codec, MonoTime};

use super::budget::{self, Budget};
use super::clip::Clip;
use super::h264::{self, Picture};
use super::payloads::Payloads;
use super::vp8;

/// What a layer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// H264 or VP8.
    pub codec: Codec,
    /// How often the picture is halved from 1280×720.
    pub halvings: usize,
    /// The sizes of its frames.
    pub budget: budget::Config,
}

/// The frames of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    clip: Clip,
    packetiser: Packetiser,
    budget: Budget,
    gop_frames: u32,
    /// Frames behind the last keyframe; none before the first.
    behind_keyframe: Option<u32>,
    /// Where the clip's round goes on.
    position: usize,
    keyframe_wanted: bool,
    payloads: Payloads,
}

impl Layer {
    /// Makes a layer.
    ///
    /// # Errors
    ///
    /// When there is no clip of the codec and size.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self {
            clip: Clip::load(config.codec, config.halvings)?,
            packetiser: match config.codec {
                Codec::H264 => Packetiser::H264,
                _ => Packetiser::Vp8(vp8::Packetiser::new(FIRST_PICTURE_ID)),
            },
            budget: Budget::new(config.budget),
            gop_frames: config.budget.gop_frames,
            behind_keyframe: None,
            position: 0,
            keyframe_wanted: false,
            payloads: Payloads::new(),
        })
    }

    /// Asks for a keyframe as soon as one may come.
    pub const fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// Makes the next frame, to be sent at `sent`; [`Self::payloads`] has it until the next call. Returns whether
    /// it is a keyframe.
    pub fn next_frame(&mut self, sent: MonoTime) -> bool {
        let keyframe = self.is_keyframe_next();
        let frame = self.advance(keyframe);
        let target = self.budget.next_bytes(keyframe);
        self.payloads.clear();
        match &mut self.packetiser {
            Packetiser::H264 => {
                let parameter_sets = if keyframe { &*self.clip.parameter_sets } else { &[] };
                let picture = Picture { parameter_sets, slice: frame, sent };
                h264::packetise(&picture, target, &mut self.payloads);
            }
            Packetiser::Vp8(packetiser) => packetiser.packetise(frame, sent, target, &mut self.payloads),
        }
        self.budget.spend(self.payloads.total_bytes());
        keyframe
    }

    /// Returns the payloads of the frame that [`Self::next_frame`] made.
    #[must_use]
    pub const fn payloads(&self) -> &Payloads {
        &self.payloads
    }

    fn is_keyframe_next(&self) -> bool {
        match self.behind_keyframe {
            None => true,
            Some(0) => false,
            Some(behind) => self.keyframe_wanted || behind.saturating_add(1) >= self.gop_frames,
        }
    }

    fn advance(&mut self, keyframe: bool) -> &'static [u8] {
        if keyframe {
            self.keyframe_wanted = false;
            self.behind_keyframe = Some(0);
            self.position = 0;
            return self.clip.keyframe;
        }
        self.behind_keyframe = self.behind_keyframe.map(|behind| behind.saturating_add(1));
        let frame = self.clip.round.get(self.position).copied().unwrap_or_default();
        self.position = self.position.saturating_add(1) % self.clip.round.len().max(1);
        frame
    }
}

#[derive(Clone, Debug)]
enum Packetiser {
    H264,
    Vp8(vp8::Packetiser),
}

/// Near the end of 15 bits, so that each run shows a server the wrap after half a minute.
const FIRST_PICTURE_ID: u16 = 0x7fff - 900;

#[cfg(test)]
mod tests;
