//! The publisher's encoders: one for each layer, all fed by one camera.
//!
//! A frame's size follows the layer's rate, a keyframe is several times as large, and single frames stray. The mean
//! over a group of pictures is the layer's rate, as with a camera at constant bitrate; keyframes that somebody asked
//! for come on top.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// What the layers of one publisher have in common.
#[derive(Clone, Copy, Debug)]
pub struct Camera {
    /// Frames a second.
    pub frames_per_second: u32,
    /// Frames from keyframe to keyframe; `None` when they come on request alone.
    pub group: Option<u32>,
    /// Whether a keyframe comes when one is asked for.
    pub answers_requests: bool,
    /// Whether frames form three temporal layers.
    pub temporal: bool,
    /// How many times larger than the others a keyframe is.
    pub keyframe_factor: u32,
    /// By how much of a hundred single frames stray to either side.
    pub noise_percent: u32,
}

/// One layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerPlan {
    /// The mean rate of its payload.
    pub kbps: u32,
    /// Width and height.
    pub size: (u16, u16),
}

/// One layer's encoder.
#[derive(Debug)]
pub(crate) struct Encoder {
    camera: Camera,
    plan: LayerPlan,
    since_keyframe: u32,
    requested: bool,
    begun: bool,
    picture: u16,
    tl0: u8,
}

/// A coded frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coded {
    pub(crate) keyframe: bool,
    pub(crate) bytes: usize,
    pub(crate) picture: u16,
    pub(crate) tl0: u8,
    pub(crate) temporal: u8,
    pub(crate) sync: bool,
}

impl Encoder {
    pub(crate) fn new(camera: Camera, plan: LayerPlan, dice: &mut ChaCha8Rng) -> Self {
        let picture = (dice.next_u32() & 0x7fff) as u16;
        let tl0 = dice.next_u32() as u8;
        Self { camera, plan, since_keyframe: 0, requested: false, begun: false, picture, tl0 }
    }

    /// Asks for a keyframe.
    pub(crate) fn request_keyframe(&mut self) {
        self.requested |= self.camera.answers_requests;
    }

    /// Codes the next frame.
    pub(crate) fn encode(&mut self, dice: &mut ChaCha8Rng) -> Coded {
        let due = self.camera.group.is_some_and(|group| self.since_keyframe >= group);
        let keyframe = !self.begun || due || std::mem::take(&mut self.requested);
        self.begun = true;
        if keyframe {
            self.since_keyframe = 0;
        }
        let place = if self.camera.temporal { self.since_keyframe % 4 } else { 0 };
        self.since_keyframe += 1;
        self.picture = (self.picture + 1) & 0x7fff;
        let (temporal, sync, share) = match place {
            0 => (0, false, if self.camera.temporal { 1.6 } else { 1.0 }),
            1 => (2, true, 0.8),
            2 => (1, true, 0.8),
            _ => (2, false, 0.8),
        };
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let noise = f64::from(self.camera.noise_percent);
        let stray = 1.0 + noise / 100.0 * (f64::from(dice.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0);
        let factor = if keyframe { f64::from(self.camera.keyframe_factor) } else { share };
        let bytes = (self.delta_bytes() * factor * stray).max(40.0) as usize;
        Coded { keyframe, bytes, picture: self.picture, tl0: self.tl0, temporal, sync }
    }

    /// The mean size of a frame that is no keyframe.
    fn delta_bytes(&self) -> f64 {
        let mean = f64::from(self.plan.kbps) * 125.0 / f64::from(self.camera.frames_per_second);
        let extra = f64::from(self.camera.keyframe_factor) - if self.camera.temporal { 1.6 } else { 1.0 };
        self.camera.group.map_or(mean, |group| mean * f64::from(group) / (f64::from(group) + extra))
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        self.plan.size
    }
}
