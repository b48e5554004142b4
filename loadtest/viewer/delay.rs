//! The server's delay of a frame: arrival of its last packet minus the send time inside its media.
//!
//! Packet path. A frame is followed from its first packet to its marker; only the packet that may show the time is
//! opened. A frame with a gap is not measured: its repair is no delay of the server's queue.

use crate::stamp;
use rtp::{Codec, MonoTime, RtpTimestamp};
use std::time::Duration;

/// Measures frames of one track.
#[derive(Debug, Default)]
pub(super) struct DelayProbe {
    current: Option<RtpTimestamp>,
    /// Whether the current frame is one to measure, and its send time when it was found.
    measured: bool,
    sent: Option<MonoTime>,
    frames: u64,
}

impl DelayProbe {
    /// Notes the header of the next packet in order. Says whether its payload is wanted by [`Self::note_payload`].
    pub(super) fn note_header(&mut self, timestamp: RtpTimestamp, marker: bool, rotation: Rotation) -> bool {
        let begins = self.current != Some(timestamp);
        if begins {
            self.current = Some(timestamp);
            self.frames = self.frames.wrapping_add(1);
            self.measured = rotation.includes(self.frames);
            self.sent = None;
        }
        // H.264 shows the time at a frame's beginning, VP8 at its end.
        self.measured && self.sent.is_none() && (begins || marker)
    }

    /// Looks for the send time in an opened payload of the current frame; others are not looked at.
    pub(super) fn note_payload(&mut self, codec: Codec, timestamp: RtpTimestamp, payload: &[u8]) {
        if self.measured
            && self.current == Some(timestamp)
            && let Some(sent) = stamp::find(codec, payload)
        {
            self.sent = Some(sent);
        }
    }

    /// Ends the frame with its last packet, which arrived `at`; returns its delay when it was measured.
    pub(super) fn end_frame(&mut self, at: MonoTime) -> Option<Duration> {
        self.measured = false;
        self.sent.take().map(|sent| at.since(sent))
    }

    /// Gives the current frame up.
    pub(super) const fn spoil(&mut self) {
        self.measured = false;
        self.sent = None;
    }
}

/// Which frames of a viewer are measured: one in so many, beginning with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) every: u64,
    pub(super) offset: u64,
}

impl Rotation {
    fn includes(self, frame: u64) -> bool {
        frame.wrapping_add(self.offset).checked_rem(self.every) == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rotation = Rotation { every: 1, offset: 0 };

    fn ms(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }

    fn sei(sent: MonoTime) -> Vec<u8> {
        let mut unit = Vec::new();
        stamp::sei(sent, stamp::SEI_BYTES_MIN, &mut unit);
        unit
    }

    #[test]
    fn a_frame_that_shows_its_time_first_is_measured_at_its_end() {
        let mut probe = DelayProbe::default();

        assert!(probe.note_header(RtpTimestamp(1), false, ALL));
        probe.note_payload(Codec::H264, RtpTimestamp(1), &sei(ms(100)));
        assert!(!probe.note_header(RtpTimestamp(1), false, ALL), "the time is known");
        assert!(!probe.note_header(RtpTimestamp(1), true, ALL));

        assert_eq!(probe.end_frame(ms(103)), Some(Duration::from_millis(3)));
        assert_eq!(probe.end_frame(ms(104)), None);
    }

    #[test]
    fn a_frame_that_shows_its_time_last_is_measured_too() {
        let mut probe = DelayProbe::default();
        let last = [&b"picture"[..], &stamp::trailer(ms(100))].concat();

        assert!(probe.note_header(RtpTimestamp(1), false, ALL));
        probe.note_payload(Codec::Vp8, RtpTimestamp(1), b"picture");
        assert!(!probe.note_header(RtpTimestamp(1), false, ALL));
        assert!(probe.note_header(RtpTimestamp(1), true, ALL));
        probe.note_payload(Codec::Vp8, RtpTimestamp(1), &last);

        assert_eq!(probe.end_frame(ms(102)), Some(Duration::from_millis(2)));
    }

    #[test]
    fn one_frame_in_so_many_is_wanted_and_every_viewer_has_another() {
        let wanted = |offset| {
            let mut probe = DelayProbe::default();
            let rotation = Rotation { every: 10, offset };
            let frames = 0..100_u32;
            frames.filter(|frame| probe.note_header(RtpTimestamp(*frame), true, rotation)).collect::<Vec<_>>()
        };

        assert_eq!(wanted(0).len(), 10);
        assert_ne!(wanted(0), wanted(1));
    }

    #[test]
    fn the_time_in_a_late_packet_of_an_earlier_frame_is_not_taken_for_this_ones() {
        let mut probe = DelayProbe::default();
        probe.note_header(RtpTimestamp(2), false, ALL);

        probe.note_payload(Codec::H264, RtpTimestamp(1), &sei(ms(100)));

        assert_eq!(probe.end_frame(ms(103)), None);
    }

    #[test]
    fn a_spoilt_frame_is_not_measured() {
        let mut probe = DelayProbe::default();
        probe.note_header(RtpTimestamp(1), false, ALL);
        probe.note_payload(Codec::H264, RtpTimestamp(1), &sei(ms(100)));

        probe.spoil();

        assert_eq!(probe.end_frame(ms(103)), None);
    }
}
