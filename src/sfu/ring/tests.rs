use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::RtpTimestamp;
use rtp::codec::Codec;

use super::*;

#[test]
fn packets_lost_repeated_and_reordered_read_back_exactly_as_inserted() {
    let mut dice = ChaCha8Rng::seed_from_u64(11);
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    // The wire number wraps twice in this range.
    let (first, count) = (65_000_u64, 140_000_u64);
    let (mut duplicates, mut stored) = (0, 0);

    for base in (first..first + count).step_by(8) {
        let mut order: Vec<u64> = (base..base + 8).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, dice.next_u32() as usize % (at + 1));
        }
        for seq in order {
            if dice.next_u32().is_multiple_of(10) {
                continue;
            }
            let now = at_packet(seq - first);
            stored += usize::from(pass(&mut writer, &mut reader, seq, now));
            if dice.next_u32().is_multiple_of(10) {
                assert!(matches!(insert(&mut writer, seq, now), Inserted::Duplicate));
                duplicates += 1;
            }
            let packet = reader.packet(ExtSeq(seq)).unwrap();
            assert_eq!((packet.seq.0, packet.payload()), (seq, payload(seq).as_slice()));
        }
    }

    assert!(stored > 100_000, "{stored} packets exercised the ring");
    assert!(duplicates > 10_000, "{duplicates} duplicates exercised the ring");
}

#[test]
fn packet_that_never_came_is_not_found_between_its_neighbours() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in [100, 102] {
        pass(&mut writer, &mut reader, seq, MonoTime::ZERO);
    }

    assert!(reader.packet(ExtSeq(101)).is_none());
    assert!(reader.packet(ExtSeq(102)).is_some());
    assert_eq!(reader.highest(), Some(ExtSeq(102)));
}

#[test]
fn page_in_the_readers_hands_shows_packets_written_after_it_was_handed_over() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    pass(&mut writer, &mut reader, 128, MonoTime::ZERO);

    assert!(matches!(insert(&mut writer, 129, MonoTime::ZERO), Inserted::New { page: None }));

    assert!(reader.packet(ExtSeq(129)).is_some());
}

#[test]
fn readers_on_another_thread_see_each_slot_empty_or_whole() {
    let mut writer = RingWriter::new(Limits::default());
    let Inserted::New { page: Some(page) } = insert(&mut writer, 0, MonoTime::ZERO) else {
        panic!("the first packet opens a page");
    };

    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while seen.len() < PAGE_SLOTS {
                for seq in (0..PAGE_SLOTS as u64).filter_map(|seq| page.packet(ExtSeq(seq))) {
                    assert_eq!(seq.payload(), payload(seq.seq.0));
                    seen.insert(seq.seq);
                }
            }
            seen
        });
        for seq in 1..PAGE_SLOTS as u64 {
            insert(&mut writer, seq, MonoTime::ZERO);
        }
        reader.join().unwrap()
    });

    assert_eq!(seen.len(), PAGE_SLOTS);
}

#[test]
fn pages_are_used_again_once_their_readers_let_go() {
    let mut writer = RingWriter::new(Limits { age: Duration::from_secs(1), ..Limits::default() });
    let mut reader = Ring::with_limits(Limits { age: Duration::from_secs(1), ..Limits::default() });
    let mut pages = BTreeSet::new();

    for seq in 0..100_000 {
        if let Inserted::New { page: Some(page) } = insert(&mut writer, seq, at_packet(seq)) {
            pages.insert(Arc::as_ptr(&page).addr());
            reader.add_page(page);
        }
    }

    // 1,000 packets a second are 16 pages within the window; two more are on their way between the halves.
    assert!(pages.len() <= 20, "{} pages were allocated for 1,563 uses", pages.len());
}

#[test]
fn page_that_a_reader_still_holds_is_never_written_again() {
    let mut writer = RingWriter::new(Limits { age: Duration::from_millis(200), ..Limits::default() });
    let Inserted::New { page: Some(held) } = insert(&mut writer, 0, MonoTime::ZERO) else {
        panic!("the first packet opens a page");
    };

    for seq in 1..20_000 {
        insert(&mut writer, seq, at_packet(seq));
    }

    assert!(writer.packet(ExtSeq(0)).is_none());
    assert_eq!(held.packet(ExtSeq(0)).unwrap().payload(), payload(0));
}

#[test]
fn packets_older_than_four_and_a_half_seconds_go_and_younger_ones_stay() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in 0..10_000 {
        pass(&mut writer, &mut reader, seq, at_packet(seq));
    }

    // One packet a millisecond: 4.5 s are 4,500 packets, rounded up to whole pages.
    assert!(reader.packet(ExtSeq(9_999 - 4_500)).is_some());
    assert!(reader.packet(ExtSeq(9_999 - 4_500 - 2 * PAGE_SLOTS as u64)).is_none());
    assert!(matches!(insert(&mut writer, 100, at_packet(10_000)), Inserted::TooOld));
}

#[test]
fn memory_bound_holds_when_packets_come_faster_than_the_age_lets_them_go() {
    let limits = Limits { bytes: 4 * PAGE_BYTES, ..Limits::default() };
    let mut writer = RingWriter::new(limits);
    let mut reader = Ring::with_limits(limits);
    for seq in 0..1_000 {
        pass(&mut writer, &mut reader, seq, MonoTime::ZERO);
    }

    assert_eq!(writer.window.pages.len(), 4);
    assert_eq!(reader.window.pages.len(), 4);
    assert!(reader.packet(ExtSeq(999)).is_some());
    assert!(reader.packet(ExtSeq(700)).is_none());
}

#[test]
fn memory_bound_holds_when_packets_come_in_falling_order() {
    let limits = Limits { bytes: 4 * PAGE_BYTES, ..Limits::default() };
    let mut writer = RingWriter::new(limits);
    let outcomes: Vec<_> = (0..1_000).rev().map(|seq| insert(&mut writer, seq, MonoTime::ZERO)).collect();

    assert_eq!(writer.window.pages.len(), 4);
    assert!(matches!(outcomes[0], Inserted::New { page: Some(_) }));
    assert!(matches!(outcomes[999], Inserted::TooOld));
}

#[test]
fn one_gop_of_four_seconds_at_eight_megabits_fits() {
    let mut writer = RingWriter::new(Limits::default());
    let per_second = 8_000_000 / 8 / 1_200;
    for seq in 0..per_second * 5 {
        insert(&mut writer, seq, MonoTime::from_millis(seq * 1_000 / per_second));
    }

    let newest = per_second * 5 - 1;
    assert!(writer.packet(ExtSeq(newest - per_second * 4)).is_some());
}

#[test]
fn late_packet_of_a_skipped_page_opens_that_page_in_its_place() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in [64 * 10, 64 * 13, 64 * 11 + 5] {
        assert!(pass(&mut writer, &mut reader, seq, MonoTime::ZERO), "{seq}");
    }

    assert!(reader.packet(ExtSeq(64 * 11 + 5)).is_some());
    assert!(reader.packet(ExtSeq(64 * 12)).is_none());
    assert!(reader.packet(ExtSeq(64 * 10)).is_some());
    assert_eq!(reader.highest(), Some(ExtSeq(64 * 13)));
}

#[test]
fn packet_too_large_for_a_slot_is_refused() {
    let mut writer = RingWriter::new(Limits::default());
    let bytes = [0; PACKET_BYTES_MAX + 1];

    let outcome = writer.insert(&Parts::new(ExtSeq(1), RtpTimestamp(0), Codec::Vp8, &bytes));

    assert!(matches!(outcome, Inserted::TooLarge));
    assert!(writer.packet(ExtSeq(1)).is_none());
}

#[test]
fn newest_group_of_pictures_is_known_at_once_and_says_up_to_where_it_is_whole() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in (0..300).filter(|seq| *seq != 250) {
        pass_frame(&mut writer, &mut reader, seq, at_packet(seq), seq % 100 == 7);
    }

    let before = reader.gop().unwrap();
    pass_frame(&mut writer, &mut reader, 250, at_packet(300), false);
    let after = reader.gop().unwrap();

    assert_eq!(
        (before.keyframe, before.whole, reader.newest()),
        (ExtSeq(207), ExtSeq(249), Some(ExtSeq(299)))
    );
    assert_eq!((after.keyframe, after.whole), (ExtSeq(207), ExtSeq(299)));
}

#[test]
fn reader_that_comes_later_knows_the_newest_group_of_pictures_from_the_pages() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in 0..300 {
        pass_frame(&mut writer, &mut reader, seq, at_packet(seq), seq % 100 == 7);
    }

    let mut late = Ring::new();
    reader.pages().for_each(|page| late.add_page(Arc::clone(page)));

    assert_eq!(late.gop(), reader.gop());
    assert_eq!(late.next_keyframe(), reader.next_keyframe());
    assert_eq!(late.next_keyframe(), Some(at_packet(307)));
}

#[test]
fn keyframes_at_irregular_distances_promise_nothing() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in 0..3_000 {
        let keyframe = [7, 1_007, 2_700].contains(&seq);
        pass_frame(&mut writer, &mut reader, seq, at_packet(seq), keyframe);
    }

    assert_eq!(reader.next_keyframe(), None);
}

#[test]
fn group_of_pictures_whose_keyframe_has_left_the_ring_is_none() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    for seq in 0..6_000 {
        pass_frame(&mut writer, &mut reader, seq, at_packet(seq), seq == 7);
    }

    assert_eq!(reader.gop(), None);
}

#[test]
fn what_the_lower_temporal_layers_take_is_counted_and_until_then_assumed() {
    let mut writer = RingWriter::new(Limits::default());
    let mut reader = Ring::new();
    assert_eq!(reader.temporal(), Temporal::ONE);

    // Frames of the lowest layer have 250 bytes, those of the second 60, two of the third 45 each.
    let mut told = Vec::new();
    for frame in 0..900_u64 {
        let (temporal, bytes) = [(0, 250), (2, 45), (1, 60), (2, 45)][frame as usize % 4];
        let bytes = vec![0; bytes];
        let mut parts = Parts::new(ExtSeq(frame), RtpTimestamp(0), Codec::Vp9, &bytes);
        parts.arrival = MonoTime::from_millis(frame * 33);
        parts.descriptor.temporal = temporal;
        if let Inserted::New { page: Some(page) } = writer.insert(&parts) {
            reader.add_page(page);
        } else {
            reader.handle_arrival(ExtSeq(frame));
        }
        told.push(reader.temporal());
    }

    assert_eq!(told[20], Temporal::usual(3));
    assert!(told[40..].iter().all(|it| it.layers == 3 && (650..=650).contains(&it.parts[0])), "{told:?}");
    assert!(told[40..].iter().all(|it| (800..=800).contains(&it.parts[1])), "{told:?}");
    told.dedup();
    assert!(told.len() < 8, "hardly ever news: {told:?}");
}

#[test]
fn rings_of_a_room_do_not_share_packets_between_layers() {
    let mut rings = Rings::new();
    let mut writer = RingWriter::new(Limits::default());
    pass(&mut writer, rings.get_mut(MediaKind::Video, LayerIndex(2)), 5, MonoTime::ZERO);

    assert!(rings.get(MediaKind::Video, LayerIndex(2)).packet(ExtSeq(5)).is_some());
    assert!(rings.get(MediaKind::Video, LayerIndex(1)).packet(ExtSeq(5)).is_none());
    assert!(rings.get(MediaKind::Audio, LayerIndex(0)).packet(ExtSeq(5)).is_none());

    rings.reset();
    assert!(rings.get(MediaKind::Video, LayerIndex(2)).packet(ExtSeq(5)).is_none());
}

/// One packet a millisecond.
fn at_packet(count: u64) -> MonoTime {
    MonoTime::from_millis(count)
}

fn payload(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

fn insert(writer: &mut RingWriter, seq: u64, now: MonoTime) -> Inserted {
    let bytes = payload(seq);
    let mut parts = Parts::new(ExtSeq(seq), RtpTimestamp(0), Codec::Vp8, &bytes);
    parts.arrival = now;
    writer.insert(&parts)
}

/// Inserts a packet and hands the page it opened to the reader; true when it is new.
fn pass(writer: &mut RingWriter, reader: &mut Ring, seq: u64, now: MonoTime) -> bool {
    match insert(writer, seq, now) {
        Inserted::New { page } => {
            if let Some(page) = page {
                reader.add_page(page);
            }
            true
        }
        _ => false,
    }
}

/// Passes a packet that is a frame of its own, and announces it.
fn pass_frame(writer: &mut RingWriter, reader: &mut Ring, seq: u64, now: MonoTime, keyframe: bool) {
    let bytes = payload(seq);
    let mut parts = Parts::new(ExtSeq(seq), RtpTimestamp(seq as u32 * 90), Codec::Vp8, &bytes);
    parts.arrival = now;
    parts.descriptor.keyframe = keyframe;
    parts.descriptor.frame_start = true;
    if let Inserted::New { page: Some(page) } = writer.insert(&parts) {
        reader.add_page(page);
    }
    reader.handle_arrival(ExtSeq(seq));
}
