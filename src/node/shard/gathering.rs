//! How long what arrived waits for more, so that one call to the kernel carries it all. Packet path.
//!
//! A viewer's datagrams cost a quarter when eight leave together. While the shard has time nothing waits. As it gets
//! busy a room's packets wait for the end of their frame, bounded by a few milliseconds, and sound that comes between
//! two frames waits for the next one: alone it costs as much as a whole frame. One packet of sound rides in the run of a
//! frame; a second one, whose size is another, is a run of its own. So where two have come it waits once more, for a third:
//! those two leave together.

use std::time::Duration;

use rtp::{MediaKind, MonoTime};

use super::load::Busy;

/// What waits in one room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathering {
    /// Since when a part of a frame waits.
    video: Option<MonoTime>,
    /// Since when sound waits.
    audio: Option<MonoTime>,
    /// When the newest packet of it came, and how many wait.
    newest_audio: MonoTime,
    sounds: usize,
    frame_ended: bool,
}

impl Gathering {
    /// Notes a packet that arrived.
    pub(super) fn note(&mut self, now: MonoTime, kind: MediaKind, marker: bool) {
        match kind {
            MediaKind::Video => {
                self.video.get_or_insert(now);
                self.frame_ended |= marker;
            }
            MediaKind::Audio => {
                self.audio.get_or_insert(now);
                self.newest_audio = now;
                self.sounds = self.sounds.saturating_add(1);
            }
        }
    }

    /// Begins anew with what is sent now. Says whether the newest packet of sound stays behind, to leave with the next
    /// frame.
    pub(super) fn begin(&mut self, now: MonoTime, busy: Busy) -> bool {
        let may_wait = now.since(self.newest_audio) + FRAME_INTERVAL <= patience(busy, SOUND_MAX);
        let stays = self.frame_ended && self.sounds == 2 && may_wait;
        let newest_audio = self.newest_audio;
        *self = Self::default();
        if stays {
            self.note(newest_audio, MediaKind::Audio, false);
        }
        stays
    }

    /// Returns when what waits must go; `None` when nothing waits.
    pub(super) fn due(&self, busy: Busy) -> Option<MonoTime> {
        let video =
            self.video.map(|since| if self.frame_ended { since } else { since + patience(busy, FRAME_MAX) });
        let audio = self.audio.map(|since| since + patience(busy, SOUND_MAX));
        match (video, audio) {
            (Some(video), Some(audio)) => Some(video.min(audio)),
            (video, audio) => video.or(audio),
        }
    }
}

/// Returns how much of `most` a shard waits: nothing while it has time, all of it when it is busy.
fn patience(busy: Busy, most: Duration) -> Duration {
    let above = busy.0.saturating_sub(PATIENT_FROM).min(PATIENT_RANGE);
    most * u32::from(above) / u32::from(PATIENT_RANGE)
}

/// Where waiting begins, in thousandths of a shard's time.
const PATIENT_FROM: u16 = 300;
/// How much further it has grown to the full.
const PATIENT_RANGE: u16 = 400;
/// An unfinished frame waits at most this long.
const FRAME_MAX: Duration = Duration::from_millis(4);
/// Sound waits at most this long: until the next frame but one, at 30 a second. Receivers take it for a path that is so
/// much less steady.
const SOUND_MAX: Duration = Duration::from_millis(55);
/// How far away the next frame is at most, at 30 a second.
const FRAME_INTERVAL: Duration = Duration::from_millis(34);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonoTime = MonoTime::from_millis(1_000);

    fn waiting(kind: MediaKind, marker: bool) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.note(NOW, kind, marker);
        gathering
    }

    fn wait_of(gathering: &Gathering, busy: u16) -> Duration {
        gathering.due(Busy(busy)).unwrap().since(NOW)
    }

    #[test]
    fn a_shard_with_time_sends_at_once() {
        for kind in [MediaKind::Video, MediaKind::Audio] {
            assert_eq!(wait_of(&waiting(kind, false), 0), Duration::ZERO);
            assert_eq!(wait_of(&waiting(kind, false), 300), Duration::ZERO);
        }
    }

    #[test]
    fn waiting_grows_with_load_up_to_its_bound() {
        let (video, audio) = (waiting(MediaKind::Video, false), waiting(MediaKind::Audio, true));

        assert_eq!(wait_of(&video, 500), FRAME_MAX / 2);
        assert_eq!(wait_of(&audio, 500), SOUND_MAX / 2);
        for busy in [700, 1_000] {
            assert_eq!(wait_of(&video, busy), FRAME_MAX);
            assert_eq!(wait_of(&audio, busy), SOUND_MAX);
        }
    }

    #[test]
    fn a_frame_that_ended_waits_for_nothing() {
        assert_eq!(wait_of(&waiting(MediaKind::Video, true), 1_000), Duration::ZERO);
    }

    #[test]
    fn sound_leaves_with_the_frame_that_ends_while_it_waits() {
        let mut gathering = waiting(MediaKind::Audio, true);

        gathering.note(NOW + Duration::from_millis(7), MediaKind::Video, true);

        assert_eq!(wait_of(&gathering, 900), Duration::from_millis(7));
    }

    /// Frames come every 33 ms, sound every 20, for 300 ms; returns how many packets of sound leave with each frame.
    fn sounds_with_frames(busy: u16) -> Vec<usize> {
        let mut gathering = Gathering::default();
        let mut left_with = Vec::new();
        for at in 0..300 {
            let now = NOW + Duration::from_millis(at);
            if at % 20 == 5 {
                gathering.note(now, MediaKind::Audio, true);
            }
            if at % 33 == 32 {
                gathering.note(now, MediaKind::Video, true);
            }
            if gathering.due(Busy(busy)).is_some_and(|due| due <= now) {
                let waited = gathering.sounds;
                assert!(gathering.audio.is_none_or(|since| now.since(since) <= SOUND_MAX));
                let stays = gathering.begin(now, Busy(busy));
                left_with.push(waited - usize::from(stays));
            }
        }
        left_with
    }

    #[test]
    fn on_a_busy_shard_sound_leaves_by_one_or_by_three_with_a_frame() {
        assert_eq!(sounds_with_frames(700), [1, 3, 1, 1, 1, 3, 1, 1, 3]);
    }

    #[test]
    fn sound_stays_behind_no_frame_where_there_is_time() {
        let with_time = sounds_with_frames(600);

        assert!(with_time.contains(&2), "{with_time:?}");
        assert_eq!(with_time.iter().sum::<usize>(), 15);
    }

    #[test]
    fn nothing_is_due_where_nothing_waits() {
        assert_eq!(Gathering::default().due(Busy(0)), None);
    }
}
