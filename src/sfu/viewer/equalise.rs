//! Brings neighbouring packets of nearly one size to one size, by RTP padding (RFC 3550 §5.1). Packet path.
//!
//! Only packets of one size leave together in one call to the kernel, the last of them may be shorter. A browser cuts a
//! frame into packets of two sizes, one byte apart: without padding every frame would leave in two calls.

use rtp::MediaKind;

use super::Forward;

/// Pads the packets of each stretch whose sizes are within [`padding_max`] bytes up to the largest of them. The very last
/// packet ends its run and stays as it is; before other packets a stretch is padded to its end, so that a shorter one,
/// sound behind a frame, can still join the run.
pub(crate) fn equalise(forwards: &mut [Forward]) {
    let mut rest = forwards;
    let mut rides = false;
    while !rest.is_empty() {
        let (stretch, behind) = rest.split_at_mut(if rides { 1 } else { stretch_of(rest) });
        pad(stretch, behind.is_empty());
        // The first packet of sound behind a frame ends its run; others begin one.
        rides = [stretch.last(), behind.first()].map(|it| it.map(|forward| forward.kind))
            == [Some(MediaKind::Video), Some(MediaKind::Audio)];
        rest = behind;
    }
}

/// Returns how many packets from the first on are near enough to each other; at least one.
fn stretch_of(forwards: &[Forward]) -> usize {
    let Some(first) = forwards.first().filter(|first| is_paddable(first)) else { return 1 };
    let (mut least, mut most) = (first.payload_len, first.payload_len);
    let near = forwards.iter().take_while(|forward| {
        least = least.min(forward.payload_len);
        most = most.max(forward.payload_len);
        is_paddable(forward)
            && forward.carried_len == first.carried_len
            && forward.kind == first.kind
            && most.saturating_sub(least) <= padding_max(first.kind)
    });
    near.count()
}

fn pad(stretch: &mut [Forward], is_last: bool) {
    if stretch.iter().any(|forward| !is_paddable(forward)) {
        return;
    }
    let most = stretch.iter().map(|forward| forward.payload_len).max().unwrap_or_default();
    let padded = stretch.len().saturating_sub(usize::from(is_last));
    for forward in stretch.iter_mut().take(padded) {
        forward.padding = u8::try_from(most.saturating_sub(forward.payload_len)).unwrap_or_default();
    }
}

/// A filler is padding already, and a retransmission goes out alone.
const fn is_paddable(forward: &Forward) -> bool {
    !forward.filler && forward.rtx.is_none() && !forward.is_padding
}

/// For video more than any packetiser's rounding, less than a percent of a full packet. For sound what its packets differ
/// by mostly: a few of them leave together only while a shard is busy, and its own headers are longer.
const fn padding_max(kind: MediaKind) -> usize {
    match kind {
        MediaKind::Video => 8,
        MediaKind::Audio => 48,
    }
}

#[cfg(test)]
mod tests {
    use rtp::{ExtSeq, OutgoingHeader, PayloadType, RtpTimestamp, SeqNo, Ssrc};

    use super::*;
    use crate::LayerIndex;

    fn forward(payload_len: usize) -> Forward {
        Forward {
            kind: MediaKind::Video,
            layer: LayerIndex(0),
            source: ExtSeq(0),
            header: OutgoingHeader {
                payload_type: PayloadType(96),
                marker: false,
                seq: SeqNo(0),
                timestamp: RtpTimestamp(0),
                ssrc: Ssrc(1),
            },
            rtx: None,
            probe: None,
            is_padding: false,
            picture: None,
            frame_number: None,
            primary_only: false,
            filler: false,
            payload_len,
            carried_len: 0,
            padding: 0,
        }
    }

    fn paddings(mut forwards: Vec<Forward>) -> Vec<u8> {
        equalise(&mut forwards);
        forwards.iter().map(|forward| forward.padding).collect()
    }

    #[test]
    fn a_frame_in_two_sizes_becomes_one_run() {
        let frame = [1_170, 1_170, 1_171, 1_171].map(forward);

        assert_eq!(paddings(frame.to_vec()), [1, 1, 0, 0]);
    }

    #[test]
    fn the_very_last_packet_may_be_shorter() {
        let frame = [1_171, 1_170, 1_170].map(forward);

        assert_eq!(paddings(frame.to_vec()), [0, 1, 0]);
    }

    #[test]
    fn sound_behind_a_frame_finds_its_run_open() {
        let frame_and_sound = [1_171, 1_170, 1_170, 80].map(forward);

        assert_eq!(paddings(frame_and_sound.to_vec()), [0, 1, 1, 0]);
    }

    #[test]
    fn packets_of_sound_that_leave_together_become_one_run() {
        let sound = |len| Forward { kind: MediaKind::Audio, ..forward(len) };
        let frame_and_sounds = vec![forward(1_171), forward(1_170), sound(80), sound(92), sound(131)];

        assert_eq!(paddings(frame_and_sounds), [0, 1, 0, 39, 0], "the first one rides with the frame");
        assert_eq!(paddings([80, 92, 60].map(sound).to_vec()), [12, 0, 0]);
    }

    #[test]
    fn sizes_that_lie_apart_are_left_alone() {
        let mixed = [1_170, 400, 409, 90, 90].map(forward);

        assert_eq!(paddings(mixed.to_vec()), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_slow_drift_does_not_add_up() {
        let drift: Vec<Forward> = (0..20).map(|step| forward(1_000 + step)).collect();

        assert!(paddings(drift).into_iter().all(|padding| padding <= 8));
    }

    #[test]
    fn fillers_retransmissions_and_other_extensions_end_a_stretch() {
        let filler = Forward { filler: true, ..forward(1_001) };
        let rtx = Forward { rtx: Some(SeqNo(1)), ..forward(1_001) };
        let carrying = Forward { carried_len: 16, ..forward(1_001) };

        for other in [filler, rtx, carrying] {
            assert_eq!(paddings(vec![forward(1_000), other, forward(1_002)]), [0, 0, 0]);
        }
        assert_eq!(paddings(vec![forward(1_000), forward(1_001), forward(1_002)]), [2, 1, 0]);
    }
}
