use super::*;
use crate::sctp_peer::{chunk, data, init, packet};

const NOW: MonoTime = MonoTime::from_millis(5_000);
const TSN: u32 = 1_000;

#[test]
fn nothing_passes_before_an_init() {
    let mut filter = Filter::new();

    for early in [data(TSN, 0, 3, b"x"), chunk(10, 0, &[7; 32]), chunk(4, 0, &[7; 8]), chunk(192, 0, &[0; 4])]
    {
        assert_eq!(filter.check(NOW, &packet(1, &[early])), Err(UNEXPECTED));
    }
    assert_eq!(filter.check(NOW, &init(7, TSN)), Ok(()));
}

#[test]
fn the_same_init_passes_ten_more_times_and_another_never() {
    let mut filter = begun();

    for _ in 0..INIT_REPEATS_MAX {
        assert_eq!(filter.check(NOW, &init(7, TSN)), Ok(()));
    }
    assert_eq!(filter.check(NOW, &init(7, TSN)), Err(LIMIT));
    assert_eq!(filter.check(NOW, &init(8, TSN)), Err(UNEXPECTED));
    assert_eq!(filter.check(NOW, &init(7, 5)), Err(UNEXPECTED));
}

#[test]
fn an_init_is_dropped_once_established() {
    let mut filter = begun();
    filter.establish();

    assert_eq!(filter.check(NOW, &init(7, TSN)), Err(UNEXPECTED));
}

#[test]
fn an_init_with_company_or_cut_short_is_malformed() {
    let mut filter = Filter::new();
    let alone = chunk(1, 0, &[7; 16]);

    assert_eq!(filter.check(NOW, &packet(0, &[alone.clone(), alone.clone()])), Err(MALFORMED));
    assert_eq!(filter.check(NOW, &packet(0, &[chunk(1, 0, &[7; 15])])), Err(MALFORMED));
    assert_eq!(filter.check(NOW, &packet(0, &[alone])), Ok(()));
}

#[test]
fn stream_identifiers_from_16_close() {
    let mut filter = begun();

    assert_eq!(filter.check(NOW, &packet(1, &[data(TSN, 15, 3, b"x")])), Ok(()));
    for stream in [16, 17, 1_000, u16::MAX] {
        assert_eq!(filter.check(NOW, &packet(1, &[data(TSN + 1, stream, 3, b"x")])), Err(Refusal::Close));
    }
}

#[test]
fn data_passes_up_to_512_ahead_of_what_was_acknowledged() {
    for initial in [TSN, 0, u32::MAX, u32::MAX - 100] {
        let mut filter = begun_at(initial);
        let last = initial.wrapping_sub(1);
        let mut at =
            |ahead: u32| filter.check(NOW, &packet(1, &[data(last.wrapping_add(ahead), 0, 3, b"x")]));

        assert_eq!(at(1), Ok(()));
        assert_eq!(at(512), Ok(()));
        assert_eq!(at(513), Err(LIMIT));
        assert_eq!(at(1 << 31), Err(LIMIT));
        assert_eq!(at(u32::MAX / 2), Err(LIMIT));

        assert!(filter.check_outgoing(&sack(last.wrapping_add(100), 9)));

        let mut at =
            |ahead: u32| filter.check(NOW, &packet(1, &[data(last.wrapping_add(ahead), 0, 3, b"x")]));
        assert_eq!(at(612), Ok(()));
        assert_eq!(at(613), Err(LIMIT));
    }
}

#[test]
fn repeated_data_passes_and_is_counted_once() {
    let mut filter = begun();

    for _ in 0..5_000 {
        assert_eq!(filter.check(NOW, &packet(1, &[data(TSN, 0, 2, b"x")])), Ok(()));
    }
    assert_eq!(filter.undelivered, 1);

    assert!(filter.check_outgoing(&sack(TSN, 9)));
    assert_eq!(filter.check(NOW, &packet(1, &[data(TSN, 0, 2, b"x")])), Ok(()));
    assert_eq!(filter.undelivered, 1);
}

#[test]
fn fragments_without_an_end_close_after_64() {
    let mut filter = begun();
    for fragment in 0..64 {
        assert_eq!(filter.check(NOW, &packet(1, &[data(TSN + fragment, 3, 0, b"x")])), Ok(()));
    }

    assert_eq!(filter.check(NOW, &packet(1, &[data(TSN + 64, 3, 0, b"x")])), Err(Refusal::Close));
}

#[test]
fn an_end_makes_room_for_more_fragments() {
    let mut filter = begun();

    for fragment in 0..500 {
        let ends = u8::from(fragment % 16 == 15);
        assert_eq!(filter.check(NOW, &packet(1, &[data(TSN + fragment, 3, ends, b"x")])), Ok(()));
    }
}

#[test]
fn more_than_1024_undelivered_chunks_close() {
    let mut filter = begun();
    let mut pass = |number: u32| {
        // Acknowledged, but never delivered: the receive window stays smaller than it was.
        assert!(filter.check_outgoing(&sack(TSN.wrapping_add(number).wrapping_sub(1), 60_000)));
        filter.check(NOW, &packet(1, &[data(TSN + number, 3, 3, b"x")]))
    };

    let passed = (0..2_000).take_while(|&number| pass(number).is_ok()).count();

    assert_eq!(passed, UNDELIVERED_MAX);
    assert_eq!(pass(1_025), Err(Refusal::Close));
}

#[test]
fn delivered_messages_and_an_empty_library_make_room() {
    let mut filter = begun();
    for tsn in 0..100_000 {
        assert_eq!(filter.check(NOW, &packet(1, &[data(TSN + tsn, 3, 3, b"x")])), Ok(()));
        if tsn % 2 == 0 {
            filter.delivered(1);
        }
        let window = if tsn % 1_000 == 0 { RECEIVE_BUFFER_BYTES } else { 9 };
        assert!(filter.check_outgoing(&sack(TSN + tsn, window)));
    }
}

#[test]
fn forward_tsn_beyond_4096_closes_and_interleaving_is_dropped() {
    for kind in [192, 194] {
        let mut filter = begun();
        let mut at = |ahead: u32| {
            let tsn = (TSN - 1).wrapping_add(ahead);
            filter.check(NOW, &packet(1, &[chunk(kind, 0, &tsn.to_be_bytes())]))
        };

        assert_eq!(at(0), Ok(()));
        assert_eq!(at(4_096), Ok(()));
        assert_eq!(at(4_097), Err(Refusal::Close));
        assert_eq!(at((1 << 31) - 16), Err(Refusal::Close));
        assert_eq!(at(1 << 31), Ok(()), "behind: the library ignores it");
    }
    assert_eq!(begun().check(NOW, &packet(1, &[chunk(64, 0, &[0; 20])])), Err(UNEXPECTED));
    assert_eq!(begun().check(NOW, &packet(1, &[chunk(192, 0, &[0; 3])])), Err(MALFORMED));
}

#[test]
fn heartbeats_and_reconfigurations_pass_ten_times_a_second() {
    for kind in [4, 130] {
        let mut filter = begun();
        let one = packet(1, &[chunk(kind, 0, &[7; 8])]);
        let passed = |filter: &mut Filter, now| (0..50).filter(|_| filter.check(now, &one).is_ok()).count();

        assert_eq!(passed(&mut filter, NOW), 10);
        assert_eq!(passed(&mut filter, NOW + Duration::from_millis(999)), 0);
        assert_eq!(passed(&mut filter, NOW + Duration::from_millis(1_000)), 10);
    }
    let two = packet(1, &[chunk(4, 0, &[7; 8]), chunk(4, 0, &[7; 8])]);
    assert_eq!(begun().check(NOW, &two), Err(LIMIT));
}

#[test]
fn packets_of_more_than_64_chunks_are_dropped() {
    let chunks: Vec<_> = (0..65).map(|at| data(TSN + at, 0, 3, b"x")).collect();
    let mut filter = begun();

    assert_eq!(filter.check(NOW, &packet(1, &chunks)), Err(LIMIT));
    assert_eq!(filter.undelivered, 0);
    assert_eq!(filter.check(NOW, &packet(1, chunks.get(..64).unwrap())), Ok(()));
}

#[test]
fn malformed_chunks_drop_the_packet_and_change_nothing() {
    let cases: [&[u8]; 7] = [
        &[],
        &[0, 3, 0],
        &[0, 3, 0, 0],
        &[0, 3, 0, 3],
        &[0, 3, 0xff, 0xff],
        &[0, 3, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 4],
    ];
    for tail in cases {
        let mut filter = begun();
        let whole = packet(1, &[data(TSN, 0, 3, b"x"), tail.to_vec()]);
        let refused = packet(1, &[tail.to_vec()]);

        assert_eq!(filter.check(NOW, &refused), Err(MALFORMED), "{tail:?}");
        assert_eq!(filter.check(NOW, &whole).is_err(), !tail.is_empty(), "{tail:?}");
        assert_eq!(filter.undelivered, usize::from(tail.is_empty()), "{tail:?}");
    }
    assert_eq!(begun().check(NOW, &[0; 11]), Err(MALFORMED));
    assert_eq!(begun().check(NOW, &packet(1, &[chunk(200, 0, &[0; 2_100])])), Err(MALFORMED));
}

#[test]
fn a_last_chunk_without_its_padding_passes() {
    let mut filter = begun();
    let mut whole = packet(1, &[data(TSN, 0, 3, b"x")]);
    whole.truncate(whole.len() - 3);

    assert_eq!(filter.check(NOW, &whole), Ok(()));
}

#[test]
fn an_outgoing_packet_beyond_1200_bytes_is_held_back_but_read() {
    let mut filter = begun();
    let mut long = sack(TSN + 49, 9);
    long.resize(1_201, 0);

    assert!(!filter.check_outgoing(&long));
    assert_eq!(filter.cumulative, TSN + 49);
}

#[test]
fn the_corpus_of_hostile_packets_is_replayed_within_bounds() {
    let seeds = crate::corpus::seeds("sctp_filter");
    let mut passed = 0;

    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for (name, seed) in seeds {
        for bytes in crate::corpus::variants(&seed) {
            let mut filter = Filter::new();
            for packet in crate::corpus::datagrams(&bytes) {
                let outcome = filter.check(NOW, packet);
                passed += usize::from(outcome.is_ok());
                assert!(outcome.is_err() || filter.undelivered <= UNDELIVERED_MAX, "{name}");
            }
        }
    }
    assert!(passed > 1_000, "{passed}");
}

fn begun() -> Filter {
    begun_at(TSN)
}

fn begun_at(tsn: u32) -> Filter {
    let mut filter = Filter::new();
    filter.check(NOW, &init(7, tsn)).unwrap();
    filter
}

fn sack(cumulative: u32, window: u32) -> Vec<u8> {
    let mut value = cumulative.to_be_bytes().to_vec();
    value.extend_from_slice(&window.to_be_bytes());
    value.extend_from_slice(&[0; 4]);
    packet(1, &[chunk(3, 0, &value)])
}
