//! Whether so little is sent that no queue could come of it, so that what looks like one is the path itself, and whether
//! even that keeps a path's queue full.

use crate::Bitrate;

/// What the path took when it was last full, which what is sent is held against.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// What arrived while more was sent than that, until more than that arrives.
    full: Option<Bitrate>,
}

impl Idle {
    /// Takes what was sent and what arrived over the last moments, and whether a queue grew meanwhile.
    pub(super) fn update(&mut self, sent: Option<Bitrate>, arrived: Option<Bitrate>, grows: bool) {
        if grows && sent.is_some_and(|sent| sent >= LITTLE) {
            self.full = arrived.or(self.full);
        }
        self.full = self.full.filter(|full| arrived.is_none_or(|arrived| arrived < full.scaled(SURPASSED)));
    }

    /// Says whether little is sent, and yet so much for this path that one that was full stays full.
    pub(super) fn keeps_full(&self, sent: Option<Bitrate>) -> bool {
        is_little(sent) && sent.zip(self.full).is_some_and(|(sent, full)| sent >= full.scaled(FILLED))
    }
}

/// Says whether so little is sent that hardly any path makes a queue of it.
pub(super) fn is_little(sent: Option<Bitrate>) -> bool {
    sent.is_some_and(|sent| sent < LITTLE)
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
    fn sound_alone_is_little_and_keeps_a_path_full_that_hardly_takes_it() {
        let mut idle = Idle::default();
        let mut after = |sent, arrived, grows| {
            idle.update(sent, arrived, grows);
            (is_little(sent), idle.keeps_full(sent))
        };
        assert_eq!(after(None, None, false), (false, false));
        assert_eq!(after(kbps(55), kbps(55), false), (true, false));

        // A picture filled a path that takes little more than sound.
        assert_eq!(after(kbps(300), kbps(70), true), (false, false));
        assert_eq!(after(kbps(55), kbps(55), true), (true, true));
        assert_eq!(after(kbps(55), kbps(55), false), (true, true));

        assert_eq!(after(kbps(200), kbps(200), false), (false, false));
        assert_eq!(after(kbps(55), kbps(55), false), (true, false));
    }

    #[test]
    fn a_path_that_took_much_when_it_was_full_is_not_kept_so_by_sound_alone() {
        let mut idle = Idle::default();
        idle.update(kbps(1_500), kbps(1_400), true);

        idle.update(kbps(55), kbps(55), false);

        assert!(is_little(kbps(55)) && !idle.keeps_full(kbps(55)));
    }
}
