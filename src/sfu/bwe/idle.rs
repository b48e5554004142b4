//! Whether so little is sent that no queue could come of it. What looks like one then is the path itself.

use crate::Bitrate;

/// Judges what is sent by itself, and by what the path took when it was last full.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// What arrived while more was sent than that, until more than that arrives.
    full: Option<Bitrate>,
}

impl Idle {
    /// Takes what was sent and what arrived over the last moments, and whether a queue grew meanwhile; returns whether the
    /// path is idle.
    pub(super) fn update(&mut self, sent: Option<Bitrate>, arrived: Option<Bitrate>, grows: bool) -> bool {
        let Some(sent) = sent else { return false };
        if grows && sent >= LITTLE {
            self.full = arrived.or(self.full);
        }
        self.full = self.full.filter(|full| arrived.is_none_or(|arrived| arrived < full.scaled(SURPASSED)));
        sent < LITTLE && self.full.is_none_or(|full| sent < full.scaled(FILLED))
    }
}

/// Sound alone takes less.
const LITTLE: Bitrate = Bitrate::from_kbps(90);

/// Above this part of what a path takes a queue that is there hardly drains.
const FILLED: f64 = 0.75;

/// A path that takes so much more than when it was full has become faster.
const SURPASSED: f64 = 1.3;

#[cfg(test)]
mod tests {
    use super::*;

    const fn kbps(rate: u64) -> Option<Bitrate> {
        Some(Bitrate::from_kbps(rate))
    }

    #[test]
    fn sound_alone_is_little_unless_the_path_hardly_takes_that() {
        let mut idle = Idle::default();
        assert!(!idle.update(None, None, false));
        assert!(idle.update(kbps(55), kbps(55), false));
        assert!(!idle.update(kbps(300), kbps(300), false));

        // A picture filled a path that takes little more than sound.
        assert!(!idle.update(kbps(300), kbps(70), true));
        assert!(!idle.update(kbps(55), kbps(55), true));
        assert!(!idle.update(kbps(55), kbps(55), false));

        assert!(!idle.update(kbps(200), kbps(200), false));
        assert!(idle.update(kbps(55), kbps(55), false));
    }

    #[test]
    fn a_path_that_took_much_when_it_seemed_full_is_idle_with_sound_alone() {
        let mut idle = Idle::default();
        assert!(!idle.update(kbps(1_500), kbps(1_400), true));

        assert!(idle.update(kbps(55), kbps(55), false));
    }
}
