//! How long what arrived waits for more, so that one call to the kernel carries it all. Packet path.
//!
//! A viewer's datagrams cost a quarter when eight leave together. While the shard has time nothing waits. As it gets
//! busy a room's packets wait for the end of their frame, bounded by a few milliseconds, and sound that comes between
//! two frames waits for the next one: alone it costs as much as a whole frame.

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
            }
        }
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
/// Sound waits at most this long: one packet of it, less than any receiver's jitter buffer.
const SOUND_MAX: Duration = Duration::from_millis(20);

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

    #[test]
    fn nothing_is_due_where_nothing_waits() {
        assert_eq!(Gathering::default().due(Busy(0)), None);
    }
}
