//! The filter with the library behind it: honest peers over a broken network, and hostile packets.

use super::*;
use crate::sctp::LABEL_BYTES_MAX;
use crate::sctp_peer::{RawPeer, SctpPeer, chunk, data, data_with_ssn, init};
use std::time::Duration;

#[test]
fn a_data_channel_opens_and_echoes_every_kind_of_message() {
    let mut pair = Pair::new();
    pair.run();
    assert!(pair.peer.connected);

    pair.peer.open(pair.now, 1, 0x00, b"chat");
    pair.run();
    assert_eq!(pair.opened, [(ChannelId(1), "chat".to_owned())]);
    assert_eq!(pair.peer.messages.pop_front().unwrap(), (1, PayloadProtocolIdentifier::Dcep, vec![2]));

    let kinds: [(PayloadProtocolIdentifier, &[u8], Message); 4] = [
        (PayloadProtocolIdentifier::String, b"hello", Message::Text("hello".into())),
        (PayloadProtocolIdentifier::Binary, &[0, 255], Message::Binary(vec![0, 255])),
        (PayloadProtocolIdentifier::StringEmpty, &[0], Message::Text(String::new())),
        (PayloadProtocolIdentifier::BinaryEmpty, &[0], Message::Binary(Vec::new())),
    ];
    for (identifier, bytes, message) in kinds {
        pair.peer.send(pair.now, 1, identifier, bytes);
        pair.run();
        assert_eq!(pair.messages.pop_front().unwrap(), (ChannelId(1), message.clone()));

        pair.ours.send(pair.now, ChannelId(1), &message).unwrap();
        pair.run();
        assert_eq!(pair.peer.messages.pop_front().unwrap(), (1, identifier, bytes.to_vec()));
    }
}

#[test]
fn every_channel_type_echoes() {
    for kind in [0x00, 0x80, 0x01, 0x81, 0x02, 0x82] {
        let mut pair = Pair::with_channel(kind);
        let message = Message::Binary(vec![7; 5_000]);

        pair.ours.send(pair.now, ChannelId(0), &message).unwrap();
        pair.run();

        let (_, _, bytes) = pair.peer.messages.pop_front().unwrap();
        assert_eq!(bytes.len(), 5_000, "{kind:#x}");
    }
}

#[test]
fn messages_of_16_kilobytes_pass_and_longer_ones_do_not() {
    let mut pair = Pair::with_channel(0);
    let longest = Message::Binary((0..MESSAGE_BYTES_MAX).map(|at| at as u8).collect());

    pair.peer.send(pair.now, 0, PayloadProtocolIdentifier::Binary, longest.as_bytes());
    pair.ours.send(pair.now, ChannelId(0), &longest).unwrap();
    pair.run();

    assert_eq!(pair.messages.pop_front().unwrap().1, longest);
    assert_eq!(pair.peer.messages.pop_front().unwrap().2, longest.as_bytes());
    let longer = Message::Binary(vec![7; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(pair.ours.send(pair.now, ChannelId(0), &longer), Err(SendError::TooLong { bytes: 16_385 }));
}

#[test]
fn no_packet_of_ours_is_longer_than_a_datagram_allows() {
    let mut pair = Pair::with_channel(0);

    for _ in 0..3 {
        pair.ours.send(pair.now, ChannelId(0), &Message::Binary(vec![7; MESSAGE_BYTES_MAX])).unwrap();
    }
    pair.run();

    assert_eq!(pair.peer.messages.len(), 3);
    assert!((1_100..=1_160).contains(&pair.longest_sent), "{}", pair.longest_sent);
}

#[test]
fn a_peer_that_does_not_read_holds_64_kilobytes_at_most() {
    let mut pair = Pair::with_channel(0);
    let message = Message::Binary(vec![7; 10_000]);

    let queued = (0..100).take_while(|_| pair.ours.send(pair.now, ChannelId(0), &message).is_ok()).count();

    assert_eq!(queued, 6);
    assert_eq!(pair.ours.send(pair.now, ChannelId(0), &message), Err(SendError::QueueFull));
    pair.run();
    assert_eq!(pair.peer.messages.len(), 6);
    assert_eq!(pair.ours.queued_bytes(), 0);
    assert_eq!(pair.ours.send(pair.now, ChannelId(0), &message), Ok(()));
}

#[test]
fn a_channel_that_is_not_open_takes_no_message() {
    let mut pair = Pair::with_channel(0);

    assert_eq!(pair.ours.send(pair.now, ChannelId(3), &Message::Text("x".into())), Err(SendError::NotOpen));
}

#[test]
fn everything_arrives_in_order_over_a_lossy_path() {
    let mut pair = Pair::with_channel(0);
    pair.loss_percent = 20;

    for number in 0..200_u32 {
        pair.peer.send(pair.now, 0, PayloadProtocolIdentifier::Binary, &number.to_be_bytes());
        let _ = pair.ours.send(pair.now, ChannelId(0), &Message::Binary(number.to_be_bytes().to_vec()));
        pair.step();
    }
    pair.run();

    let received: Vec<_> = pair.messages.iter().map(|(_, message)| message.as_bytes().to_vec()).collect();
    let expected: Vec<_> = (0..200_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(received, expected);
    let echoed: Vec<_> = pair.peer.messages.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    assert_eq!(echoed, expected);
}

#[test]
fn a_burst_of_small_messages_in_one_packet_passes() {
    let mut pair = Pair::with_channel(0);

    for number in 0..400_u16 {
        pair.peer.send(pair.now, 0, PayloadProtocolIdentifier::Binary, &number.to_be_bytes());
    }
    pair.run();

    assert_eq!(pair.messages.len(), 400);
    assert!(!pair.abused);
}

#[test]
fn channels_open_and_close_a_hundred_times() {
    let mut pair = Pair::new();
    pair.run();

    for round in 0..100 {
        pair.peer.open(pair.now, 1, 0, b"chat");
        pair.run();
        assert_eq!(pair.opened.len(), round + 1);
        pair.peer.close(pair.now, 1);
        pair.run();
        assert_eq!(pair.closed.len(), round + 1);
        assert_eq!(pair.peer.resets.len(), round + 1);
        pair.advance(Duration::from_secs(1));
    }
    assert!(!pair.abused);
}

#[test]
fn a_ninth_channel_or_a_long_label_ends_the_session() {
    let mut pair = Pair::new();
    pair.run();
    for stream in 0..8 {
        pair.peer.open(pair.now, stream, 0, b"chat");
        pair.run();
    }
    assert!(!pair.abused);
    pair.peer.open(pair.now, 8, 0, b"chat");
    pair.run();
    assert!(pair.abused);

    let mut pair = Pair::new();
    pair.run();
    pair.peer.open(pair.now, 0, 0, &[b'a'; LABEL_BYTES_MAX + 1]);
    pair.run();
    assert!(pair.abused);
}

#[test]
fn messages_that_cannot_be_understood_are_dropped_and_the_channel_lives() {
    let mut pair = Pair::with_channel(0);
    let broken: [(PayloadProtocolIdentifier, &[u8]); 4] = [
        (PayloadProtocolIdentifier::String, &[0xff, 0xfe]),
        (PayloadProtocolIdentifier::Unknown, b"x"),
        (PayloadProtocolIdentifier::Dcep, &[3, 0]),
        (PayloadProtocolIdentifier::Dcep, b"\xff"),
    ];

    for (identifier, bytes) in broken {
        pair.peer.send(pair.now, 0, identifier, bytes);
    }
    pair.peer.send(pair.now, 0, PayloadProtocolIdentifier::String, b"fine");
    pair.run();

    assert_eq!(pair.messages, [(ChannelId(0), Message::Text("fine".into()))]);
    assert!(pair.drops.contains(&DropReason::MessageMalformed));
}

#[test]
fn sctp_hostile_chunks() {
    let cases: [(&str, Vec<Vec<u8>>, bool); 12] = [
        ("forward_tsn_leap", vec![chunk(192, 0, &(TSN + (1 << 31) - 16).to_be_bytes())], true),
        ("forward_tsn_of_4096", vec![chunk(192, 0, &(TSN + 4_000).to_be_bytes())], false),
        ("i_forward_tsn_leap", vec![chunk(194, 0, &(TSN + (1 << 31) - 16).to_be_bytes())], true),
        ("error_with_wrong_cause_length", vec![chunk(9, 0, &[0, 1, 0, 0])], false),
        ("stream_id_16", vec![data(TSN + 1, 16, 3, b"x")], true),
        ("data_far_ahead", vec![data(TSN + 513, 0, 3, b"x")], false),
        ("data_of_nothing", vec![data(TSN + 1, 0, 3, b"")], false),
        ("sack_of_350_gaps", vec![sack_of_gaps()], false),
        ("same_tsn_40_times", vec![data(TSN + 1, 0, 3, b"x"); 40], false),
        ("unknown_chunk", vec![chunk(0xfe, 0, &[7; 30])], false),
        ("interleaved_data", vec![chunk(64, 0, &[7; 30])], false),
        ("init_ack", vec![chunk(2, 0, &[7; 30])], false),
    ];

    for (name, chunks, closes) in cases {
        let mut attack = Attack::new();

        for _ in 0..20 {
            attack.send(&chunks);
        }

        assert_eq!(attack.abused(), closes, "{name}");
        if !closes {
            attack.assert_alive(name);
        }
    }
}

#[test]
fn an_abort_with_a_wrong_cause_length_ends_the_association_only() {
    let mut attack = Attack::new();

    attack.send(&[chunk(6, 0, &[0, 1, 0xff, 0xff])]);

    assert!(!attack.abused());
}

#[test]
fn init_again_does_not_disturb_an_established_association() {
    let mut attack = Attack::new();

    for tag in 1..20_000 {
        let _ = attack.ours.handle_packet(attack.now, &init(tag, tag));
        let _ = attack.ours.handle_packet(attack.now, &init(TAG, TSN + 1));
    }

    attack.assert_alive("init again");
}

#[test]
fn twenty_thousand_inits_make_one_association() {
    let mut ours = Association::new();
    let now = MonoTime::from_millis(1);

    let answered = (1..20_000)
        .filter(|&tag| {
            let _ = ours.handle_packet(now, &init(tag, tag));
            std::iter::from_fn(|| ours.poll_output()).count() > 0
        })
        .count();

    assert_eq!(answered, 1);
}

#[test]
fn data_crosses_the_tsn_wrap() {
    for initial in [0, 1, u32::MAX, u32::MAX - 3] {
        let mut attack = Attack::with_initial_tsn(initial);

        for number in 0..10_u32 {
            // Each pair arrives the wrong way round.
            let tsn = initial.wrapping_add(number ^ 1);
            attack.send(&[data_with_ssn(tsn, 0, 7, 0, b"x")]);
        }

        assert!(!attack.abused());
        assert_eq!(attack.ours.filter.undelivered(), 0, "{initial}");
    }
}

#[test]
fn a_gap_bomb_is_clamped_to_the_window() {
    let mut attack = Attack::new();

    for number in 0..2_000_u32 {
        attack.send(&[data(TSN + 2 + 2 * number, 0, 7, b"x")]);
    }

    assert!(attack.ours.filter.undelivered() <= 256);
    assert!(attack.longest_sent <= 1_200, "{}", attack.longest_sent);
    attack.assert_alive("gap bomb");
}

#[test]
fn complete_messages_behind_a_missing_one_close_at_the_bound() {
    let mut attack = Attack::new();

    for number in 0..80_000_u32 {
        if attack.abused() {
            break;
        }
        attack.send(&[data_with_ssn(TSN + 1 + number, 0, 3, 1 + number as u16, b"x")]);
    }

    assert!(attack.abused());
    assert!(attack.packets <= 1_100, "{}", attack.packets);
}

#[test]
fn fragments_without_an_end_close_at_the_bound() {
    for bytes in [[7; 1].as_slice(), &[7; 1_100]] {
        let mut attack = Attack::new();

        for number in 0..65_536_u32 {
            if attack.abused() {
                break;
            }
            attack.send(&[data(TSN + 1 + number, 0, if number == 0 { 2 } else { 0 }, bytes)]);
        }

        assert!(attack.packets <= 70, "{} packets of {}", attack.packets, bytes.len());
    }
}

#[test]
fn floods_of_heartbeats_and_resets_are_answered_ten_times_a_second() {
    let heartbeat = chunk(4, 0, &[0, 1, 0, 8, 1, 2, 3, 4]);
    let mut reset = vec![0, 13, 2, 104, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
    reset.extend((0..300_u16).flat_map(u16::to_be_bytes));
    for flood in [heartbeat, chunk(130, 0, &reset)] {
        let mut attack = Attack::new();
        let before = attack.answers;

        for _ in 0..2_000 {
            attack.send(std::slice::from_ref(&flood));
        }

        assert!(attack.answers - before <= 10, "{}", attack.answers - before);
        attack.assert_alive("flood");
    }
}

#[test]
fn random_chunks_never_end_the_process() {
    let mut dice = 11_u64;
    let mut below = |bound: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % bound
    };
    let mut passed = 0;
    for _ in 0..200 {
        let mut attack = Attack::new();
        for _ in 0..200 {
            let kinds = [0, 0, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 12, 13];
            let kind = kinds[below(kinds.len() as u64) as usize];
            let mut value: Vec<u8> = (0..below(60)).map(|_| below(256) as u8).collect();
            if kind == 0 && value.len() > 6 {
                let tsn = (TSN + 1).wrapping_add(below(20) as u32);
                value[..4].copy_from_slice(&tsn.to_be_bytes());
                value[4..6].copy_from_slice(&[0, below(15) as u8]);
            }
            passed += usize::from(attack.send(&[chunk(kind, below(8) as u8, &value)]));
        }
    }
    assert!(passed > 1_000, "{passed}");
}

const TAG: u32 = 7;
const TSN: u32 = 1_000;

fn sack_of_gaps() -> Vec<u8> {
    let mut value = vec![0, 0, 0, 9, 0, 1, 0, 0, 1, 94, 0, 0];
    value.extend((0..350_u16).flat_map(|gap| [gap.to_be_bytes(), [0xff, 0xff]].concat()));
    chunk(3, 0, &value)
}

/// Our side and an honest other side, 20 ms apart.
struct Pair {
    ours: Association,
    peer: SctpPeer,
    now: MonoTime,
    loss_percent: u64,
    dice: u64,
    to_peer: VecDeque<Vec<u8>>,
    longest_sent: usize,
    opened: Vec<(ChannelId, String)>,
    closed: Vec<ChannelId>,
    messages: VecDeque<(ChannelId, Message)>,
    drops: Vec<DropReason>,
    abused: bool,
}

impl Pair {
    fn new() -> Self {
        let now = MonoTime::from_millis(1);
        Self {
            ours: Association::new(),
            peer: SctpPeer::new(now),
            now,
            loss_percent: 0,
            dice: 3,
            to_peer: VecDeque::new(),
            longest_sent: 0,
            opened: Vec::new(),
            closed: Vec::new(),
            messages: VecDeque::new(),
            drops: Vec::new(),
            abused: false,
        }
    }

    fn with_channel(kind: u8) -> Self {
        let mut pair = Self::new();
        pair.run();
        pair.peer.open(pair.now, 0, kind, b"lane");
        pair.run();
        assert_eq!(pair.opened.len(), 1);
        pair.peer.messages.clear();
        pair
    }

    /// Runs until both sides have been silent for longer than any of their timers.
    fn run(&mut self) {
        let mut quiet = 0;
        while quiet < 250 {
            quiet = if self.step() { 0 } else { quiet + 1 };
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn step(&mut self) -> bool {
        self.collect();
        let to_ours: Vec<_> = self.peer.sent.drain(..).collect();
        let to_peer: Vec<_> = self.to_peer.drain(..).collect();
        let busy = !to_ours.is_empty() || !to_peer.is_empty();
        self.advance(Duration::from_millis(20));
        for packet in to_ours {
            if !self.lost() {
                self.drops.extend(self.ours.handle_packet(self.now, &packet).err());
            }
        }
        for packet in to_peer {
            if !self.lost() {
                self.peer.handle(self.now, &packet);
            }
        }
        self.drops.extend(self.ours.handle_timeout(self.now).err());
        self.peer.handle_timeout(self.now);
        self.collect();
        busy
    }

    fn lost(&mut self) -> bool {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % 100 < self.loss_percent
    }

    fn collect(&mut self) {
        while let Some(output) = self.ours.poll_output() {
            match output {
                Output::Transmit(packet) => {
                    self.longest_sent = self.longest_sent.max(packet.len());
                    self.to_peer.push_back(packet);
                }
                Output::Opened { channel, label, .. } => self.opened.push((channel, label)),
                Output::Closed { channel } => self.closed.push(channel),
                Output::Message { channel, message } => self.messages.push_back((channel, message)),
                Output::Abuse => self.abused = true,
            }
        }
    }
}

/// An established association and packets by hand; the cumulative TSN is [`TSN`].
struct Attack {
    ours: Association,
    raw: RawPeer,
    now: MonoTime,
    packets: usize,
    answers: usize,
    longest_sent: usize,
}

impl Attack {
    fn new() -> Self {
        Self::with_initial_tsn(TSN + 1)
    }

    fn with_initial_tsn(tsn: u32) -> Self {
        let now = MonoTime::from_millis(1);
        let mut ours = Association::new();
        ours.handle_packet(now, &init(TAG, tsn)).unwrap();
        let Some(Output::Transmit(init_ack)) = ours.poll_output() else { return Self::new() };
        let (raw, cookie_echo) = RawPeer::echo(&init_ack);
        ours.handle_packet(now, &cookie_echo).unwrap();
        let mut attack = Self { ours, raw, now, packets: 0, answers: 0, longest_sent: 0 };
        attack.collect();
        assert!(attack.ours.filter.check(now, &init(TAG, tsn)).is_err(), "established");
        attack
    }

    /// Sends a packet; tells whether it passed the filter.
    fn send(&mut self, chunks: &[Vec<u8>]) -> bool {
        self.packets += 1;
        let passed = self.ours.handle_packet(self.now, &self.raw.packet(chunks)).is_ok();
        self.collect();
        passed
    }

    fn collect(&mut self) {
        while !self.abused() {
            let Some(output) = self.ours.poll_output() else { return };
            if let Output::Transmit(packet) = output {
                self.answers += 1;
                self.longest_sent = self.longest_sent.max(packet.len());
            }
        }
    }

    fn abused(&self) -> bool {
        self.ours.over
    }

    /// The association still answers a heartbeat.
    fn assert_alive(&mut self, name: &str) {
        self.now = self.now + Duration::from_secs(2);
        let _ = self.ours.handle_timeout(self.now);
        self.collect();
        let before = self.answers;
        self.send(&[chunk(4, 0, &[0, 1, 0, 8, 1, 2, 3, 4])]);
        assert!(self.answers > before, "{name}");
    }
}
