//! How long what arrived waits for more, so that one call to the kernel carries it all. Packet path.
//!
//! A viewer's datagrams cost an eighth when eight leave together. While the shard has time nothing waits; as it gets
//! busy a room's packets wait for the end of their frame, bounded by a few milliseconds; audio then rides with the
//! video that follows it.

use std::time::Duration;

use rtp::{MediaKind, MonoTime};

use super::load::Busy;

/// What waits in one room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathering {
    since: Option<MonoTime>,
    frame_ended: bool,
}

impl Gathering {
    /// Notes a packet that arrived.
    pub(super) fn note(&mut self, now: MonoTime, kind: MediaKind, marker: bool) {
        self.since.get_or_insert(now);
        self.frame_ended |= kind == MediaKind::Video && marker;
    }

    /// Returns when what waits must go; `None` when nothing waits.
    pub(super) fn due(&self, busy: Busy) -> Option<MonoTime> {
        let since = self.since?;
        if self.frame_ended { Some(since) } else { Some(since + patience(busy)) }
    }
}

/// How long an unfinished frame, or audio alone, waits.
fn patience(busy: Busy) -> Duration {
    match busy.0 {
        0..=300 => Duration::ZERO,
        301..=700 => Duration::from_millis(2),
        _ => Duration::from_millis(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonoTime = MonoTime::from_millis(1_000);

    fn waiting(kind: MediaKind, marker: bool) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.note(NOW, kind, marker);
        gathering
    }

    #[test]
    fn a_shard_with_time_sends_at_once() {
        assert_eq!(waiting(MediaKind::Video, false).due(Busy(300)), Some(NOW));
        assert_eq!(waiting(MediaKind::Audio, true).due(Busy(0)), Some(NOW));
    }

    #[test]
    fn a_busy_shard_waits_for_the_end_of_the_frame_but_not_for_long() {
        assert_eq!(waiting(MediaKind::Video, false).due(Busy(500)), Some(NOW + Duration::from_millis(2)));
        assert_eq!(waiting(MediaKind::Video, false).due(Busy(900)), Some(NOW + Duration::from_millis(5)));
        assert_eq!(waiting(MediaKind::Video, true).due(Busy(900)), Some(NOW));
    }

    #[test]
    fn audio_leaves_with_the_frame_that_ends_while_it_waits() {
        let mut gathering = waiting(MediaKind::Audio, true);
        assert_eq!(gathering.due(Busy(900)), Some(NOW + Duration::from_millis(5)));

        gathering.note(NOW + Duration::from_millis(1), MediaKind::Video, true);

        assert_eq!(gathering.due(Busy(900)), Some(NOW));
    }

    #[test]
    fn nothing_is_due_where_nothing_waits() {
        assert_eq!(Gathering::default().due(Busy(0)), None);
    }
}
