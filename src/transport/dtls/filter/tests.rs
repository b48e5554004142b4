use super::*;

#[test]
fn a_message_in_parts_comes_out_as_one_record_with_one_fragment() {
    let body: Vec<u8> = (0..200).collect();
    let mut filter = Filter::new(Role::Server);

    for (start, end) in [(150, 200), (0, 60), (40, 100), (100, 150)] {
        filter.handle_datagram(&hello_part(&body, start, end)).unwrap();
    }

    let record = filter.poll_record().unwrap();
    assert_eq!(record, hello_part(&body, 0, 200));
    assert_eq!(filter.poll_record(), None);
    assert_eq!(filter.held_bytes(), 0);
}

#[test]
fn messages_come_out_in_the_order_of_their_numbers() {
    let mut filter = opened();

    for seq in [3, 1, 2] {
        filter.handle_datagram(&handshake(11, seq, &[seq as u8; 50])).unwrap();
    }

    let kinds: Vec<_> = std::iter::from_fn(|| filter.poll_record()).map(|record| record[25]).collect();
    assert_eq!(kinds, [1, 2, 3]);
}

#[test]
fn a_repeated_message_passes_again() {
    let mut filter = opened();

    filter.handle_datagram(&handshake(1, 0, &[7; 50])).unwrap();

    assert!(filter.poll_record().is_some());
}

#[test]
fn a_server_passes_nothing_before_a_client_hello() {
    let mut filter = Filter::new(Role::Server);
    let early = [
        handshake(2, 0, &[7; 50]),
        handshake(11, 0, &[7; 50]),
        handshake(1, 1, &[7; 50]),
        record(20, 0, &[1]),
        record(21, 0, &[2, 40]),
        record(23, 1, &[7; 50]),
        vec![0x28; 50],
    ];

    for datagram in early {
        assert_eq!(filter.handle_datagram(&datagram), Err(DropReason::DtlsUnexpected), "{datagram:02x?}");
    }
    assert_eq!(filter.poll_record(), None);
}

#[test]
fn a_client_passes_nothing_before_a_server_hello_or_a_hello_verify_request() {
    for first in [2, 3] {
        let mut filter = Filter::new(Role::Client);
        assert!(filter.handle_datagram(&handshake(1, 0, &[7; 50])).is_err());
        assert!(filter.handle_datagram(&record(21, 0, &[2, 40])).is_err());
        assert_eq!(filter.poll_record(), None);

        filter.handle_datagram(&handshake(first, 0, &[7; 50])).unwrap();

        assert!(filter.poll_record().is_some());
    }
}

#[test]
fn every_protected_record_passes_once_complete_and_16_before() {
    let mut filter = opened();
    let protected =
        [record(23, 1, &[7; 20]), vec![0x2c, 0, 0, 0, 2, 9, 9], vec![0x20, 0, 9, 9], vec![0x28, 0, 0, 9]];

    let passed =
        protected.iter().cycle().take(100).filter(|datagram| filter.handle_datagram(datagram).is_ok());
    assert_eq!(passed.count(), PROTECTED_MAX);

    filter.complete();
    let passed =
        protected.iter().cycle().take(100).filter(|datagram| filter.handle_datagram(datagram).is_ok());
    assert_eq!(passed.count(), 100);
}

#[test]
fn after_completion_only_repeated_messages_pass_and_32_of_them() {
    let mut filter = opened();
    filter.complete();

    assert_eq!(filter.handle_datagram(&handshake(1, 1, &[7; 50])), Err(DropReason::DtlsUnexpected));
    let passed = (0..100).filter(|_| filter.handle_datagram(&handshake(1, 0, &[7; 50])).is_ok()).count();

    assert_eq!(passed, LATE_MAX - 1);
    assert_eq!(filter.handle_datagram(&record(20, 0, &[1])), Err(DropReason::DtlsUnexpected));
}

#[test]
fn what_was_spent_stays_spent_over_a_restart() {
    let mut filter = Filter::new(Role::Server);
    let mut parts = 0;

    for _ in 0..10 {
        for at in 0..20 {
            parts += usize::from(filter.handle_datagram(&hello_part(&[7; 200], at, at + 1)).is_ok());
        }
        filter.restart();
    }

    assert_eq!(parts, FRAGMENTS_MAX);
}

#[test]
fn handshake_bytes_are_bounded_before_completion() {
    let mut filter = Filter::new(Role::Server);
    let hello = handshake(1, 0, &[7; 1_000]);
    let mut passed = 0;

    for _ in 0..1_000 {
        passed += usize::from(filter.handle_datagram(&hello).is_ok());
        while filter.poll_record().is_some() {}
    }

    assert_eq!(passed, BYTES_MAX / hello.len());
}

#[test]
fn more_than_eight_records_in_a_datagram_are_cut_off() {
    let mut filter = opened();
    filter.complete();

    let outcome = filter.handle_datagram(&record(23, 1, &[7]).repeat(9));

    assert_eq!(outcome, Err(DropReason::DtlsLimit));
    assert_eq!(std::iter::from_fn(|| filter.poll_record()).count(), 8);
}

#[test]
fn malformed_records_end_the_datagram_but_not_what_stood_before() {
    let whole = handshake(1, 0, &[7; 50]);
    let malformed = [
        vec![],
        vec![22],
        vec![22, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        record(22, 2, &[7; 20]),
        record(22, 0, &[7; 11]),
        vec![0x30, 0, 0, 9, 9],
        vec![0x2f],
        vec![0x2c, 0, 0, 0xff, 0xff, 9],
        whole[..whole.len() - 1].to_vec(),
    ];

    for tail in malformed {
        let mut filter = Filter::new(Role::Server);
        let outcome = filter.handle_datagram(&[whole.clone(), tail.clone()].concat());

        assert_eq!(outcome.is_err(), !tail.is_empty(), "{tail:02x?}");
        assert!(filter.poll_record().is_some(), "{tail:02x?}");
    }
}

#[test]
fn fragments_outside_their_message_or_empty_are_malformed() {
    let cases = [
        hello_part_claiming(100, 90, 11, 11),
        hello_part_claiming(100, 50, 0, 0),
        hello_part_claiming(100, 0, 20, 19),
        hello_part_claiming(100, 0xff_ffff, 1, 1),
    ];

    for datagram in cases {
        let mut filter = Filter::new(Role::Server);

        assert_eq!(filter.handle_datagram(&datagram), Err(DropReason::DtlsMalformed), "{datagram:02x?}");
        assert_eq!(filter.held_bytes(), 0);
    }
}

#[test]
fn an_empty_message_passes() {
    let mut filter = opened();

    filter.handle_datagram(&handshake(14, 1, &[])).unwrap();

    assert!(filter.poll_record().is_some());
}

#[test]
fn a_message_that_changes_its_length_starts_anew() {
    let mut filter = Filter::new(Role::Server);
    filter.handle_datagram(&hello_part(&[1; 100], 0, 60)).unwrap();
    filter.handle_datagram(&hello_part(&[2; 120], 60, 120)).unwrap();
    assert_eq!(filter.poll_record(), None);

    filter.handle_datagram(&hello_part(&[2; 120], 0, 60)).unwrap();

    assert_eq!(filter.poll_record().unwrap(), hello_part(&[2; 120], 0, 120));
}

#[test]
fn the_corpus_of_hostile_datagrams_is_replayed_without_growth() {
    let seeds = crate::corpus::seeds("dtls_filter");

    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    let mut passed = 0;
    for (name, seed) in seeds {
        for bytes in crate::corpus::variants(&seed) {
            let Some((side, rest)) = bytes.split_first() else { continue };
            let mut filter = Filter::new(if side & 1 == 0 { Role::Server } else { Role::Client });
            for datagram in crate::corpus::datagrams(rest) {
                let _ = filter.handle_datagram(datagram);
                assert!(filter.held_bytes() <= BYTES_MAX, "{name}");
                passed += std::iter::from_fn(|| filter.poll_record()).count();
            }
        }
    }
    assert!(passed > 1_000, "{passed}");
}

/// A filter of a server that passed a ClientHello.
fn opened() -> Filter {
    let mut filter = Filter::new(Role::Server);
    filter.handle_datagram(&handshake(1, 0, &[7; 50])).unwrap();
    filter.poll_record().unwrap();
    filter
}

fn record(content_type: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let [l0, l1] = (body.len() as u16).to_be_bytes();
    let mut record = vec![content_type, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9, l0, l1];
    record.extend_from_slice(body);
    record
}

fn handshake(kind: u8, seq: u16, body: &[u8]) -> Vec<u8> {
    let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
    let [s0, s1] = seq.to_be_bytes();
    let header = [kind, l0, l1, l2, s0, s1, 0, 0, 0, l0, l1, l2];
    record(22, 0, &[&header, body].concat())
}

fn hello_part(body: &[u8], start: usize, end: usize) -> Vec<u8> {
    let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
    let [_, o0, o1, o2] = (start as u32).to_be_bytes();
    let [_, f0, f1, f2] = ((end - start) as u32).to_be_bytes();
    let header = [1, l0, l1, l2, 0, 0, o0, o1, o2, f0, f1, f2];
    record(22, 0, &[&header, &body[start..end]].concat())
}

fn hello_part_claiming(length: u32, offset: u32, claimed: u32, present: usize) -> Vec<u8> {
    let [_, l0, l1, l2] = length.to_be_bytes();
    let [_, o0, o1, o2] = offset.to_be_bytes();
    let [_, f0, f1, f2] = claimed.to_be_bytes();
    let header = [1, l0, l1, l2, 0, 0, o0, o1, o2, f0, f1, f2];
    record(22, 0, &[header.as_slice(), &vec![7; present]].concat())
}
