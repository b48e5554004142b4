//! A shard that does not run, with sessions that are seated and not connected.
//!
//! What is here is mostly what a publisher is told of who watches: nothing can be sent, so what is to be told stays to be
//! told. That it arrives is shown end to end.

mod checks;
mod tcp;

use std::sync::Arc;

use mio::Events;
use rtp::negotiation::{Format, PublishedTrack, ViewedTrack};
use rtp::rtcp::Writer;
use rtp::{Codec, ExtSeq, ExtensionMap, MediaKind, MonoTime, PayloadType, SeqNo, Ssrc};
use sfu::ring::Rings;
use sfu::track::{Arrival, Epoch, LayerIndex};
use sfu::viewer::LayerRequest;
use transport::dtls::Role;
use transport::ice::Credentials;
use transport::link::LinkConfig;
use transport::path::Path;
use transport::sctp::ChannelId;

use super::load::{Busy, Load};
use super::session::Media;
use super::table::SessionKey;
use super::wanted::LayerSet;
use super::{NAP, NAP_SESSIONS, Shard};
use crate::explain::timeline::Timeline;
use crate::mesh::{EndReason, Message};
use crate::name::{PublicId, RoomId, RoomName, SessionId};
use crate::node::{NodeConfig, assemble};
use crate::registry::{Seed, SeedMedia};

const ROOM: RoomId = RoomId(7);
const LABEL: &str = "nearcast.room.v1";
const TOP: LayerIndex = LayerIndex(2);

#[test]
fn a_publisher_without_a_data_channel_does_not_listen_and_sends_for_all() {
    let mut bench = Bench::new(1);
    let publisher = bench.publish();

    assert!(!bench.shard().tell_wanted(at(0), ROOM, (TOP, false)));

    assert!(bench.session(publisher).room_channel.is_wanted(TOP));
}

#[test]
fn nobody_is_told_of_a_room_without_a_publisher_here() {
    let mut bench = Bench::new(1);
    bench.watch(LayerRequest::Auto);

    assert!(!bench.shard().tell_wanted(at(0), ROOM, (TOP, false)));
    assert!(!bench.shard().tell_wanted(at(0), RoomId(99), (TOP, false)));
}

#[test]
fn a_publisher_that_opens_its_data_channel_late_hears_of_what_it_missed() {
    let mut bench = Bench::new(1);
    let publisher = bench.publish();
    bench.shard().tell_wanted(at(0), ROOM, (TOP, false));

    bench.shard().open_data_channel(at(1), publisher, (ChannelId(1), LABEL));

    assert!(!bench.session(publisher).room_channel.is_wanted(TOP));
    assert!(bench.is_told(publisher, &[(0, true), (1, true), (2, false)]));
}

#[test]
fn what_cannot_be_sent_stays_news_and_is_told_in_its_newest_state() {
    let mut bench = Bench::new(1);
    let publisher = bench.publish();
    bench.shard().open_data_channel(at(0), publisher, (ChannelId(1), LABEL));
    assert!(!bench.has_news(publisher), "everything is wanted, which is what a publisher takes for granted");

    assert!(bench.shard().tell_wanted(at(1), ROOM, (TOP, false)));
    for _ in 0..3 {
        assert!(bench.has_news(publisher), "its link takes nothing");
        bench.shard().touch(publisher);
        bench.shard().service_touched(at(2));
    }

    assert!(bench.shard().tell_wanted(at(3), ROOM, (TOP, true)));
    assert!(
        bench.is_told(publisher, &[(0, true), (1, true), (2, true)]),
        "the newest state, not a queue of changes"
    );
}

#[test]
fn a_viewer_is_never_told_which_layers_are_wanted() {
    let mut bench = Bench::new(1);
    bench.publish();
    let viewer = bench.watch(LayerRequest::Auto);
    bench.shard().open_data_channel(at(0), viewer, (ChannelId(1), LABEL));
    bench.session(viewer).room_channel.set_wanted(at(0), TOP, false);

    assert!(bench.shard().news_of(viewer).is_none());
}

#[test]
fn a_layer_that_the_viewers_here_do_not_want_is_told_after_ten_seconds_and_at_once_when_one_does() {
    let mut bench = Bench::new(1);
    let publisher = bench.publish();
    let viewer = bench.watch(LayerRequest::AudioOnly);
    bench.shard().open_data_channel(at(0), publisher, (ChannelId(1), LABEL));

    for second in 0..9 {
        bench.shard().announce_wanted(at(second * 1_000), ROOM);
    }
    assert!(bench.session(publisher).room_channel.is_wanted(TOP));
    bench.shard().announce_wanted(at(11_000), ROOM);
    assert!(bench.is_told(publisher, &[(0, false), (1, false), (2, false)]));

    let session = bench.session(viewer).id;
    let request = Box::new(LayerRequest::Auto);
    bench.post(Message::SetLayer { session, request }, at(12_000));
    assert!(bench.is_told(publisher, &[(0, true), (1, true), (2, true)]));
}

#[test]
fn what_another_shards_viewers_want_counts_as_well() {
    let mut bench = Bench::new(2);
    let publisher = bench.publish();
    bench.watch(LayerRequest::AudioOnly);
    bench.shard().open_data_channel(at(0), publisher, (ChannelId(1), LABEL));
    let only = |wanted: LayerIndex| LayerSet::of(|layer| layer == wanted);

    for second in 0..12 {
        bench.shard().announce_wanted(at(second * 1_000), ROOM);
        bench.post(Message::Wanted { room: ROOM, shard: 1, layers: only(TOP) }, at(second * 1_000));
    }

    assert!(bench.is_told(publisher, &[(0, false), (1, false), (2, true)]));
}

#[test]
fn a_silent_layer_rests_while_it_is_not_wanted_and_for_a_moment_after() {
    let mut bench = Bench::new(1);
    let publisher = bench.publish();
    bench.shard().open_data_channel(at(0), publisher, (ChannelId(1), LABEL));
    let Media::Publisher(machine, _) = &bench.session(publisher).media else { panic!("a publisher") };
    let mut info = machine.track_info(MediaKind::Video).unwrap();
    info.layers.iter_mut().for_each(|layer| layer.active = layer.index != TOP);
    let rests = |bench: &mut Bench, millis| {
        let resting = bench.session(publisher).room_channel.resting(at(millis), &info);
        [0, 1, 2].map(|layer| resting.has(LayerIndex(layer)))
    };

    assert_eq!(rests(&mut bench, 0), [false; 3], "it is silent for reasons of its own");
    bench.shard().tell_wanted(at(1_000), ROOM, (TOP, false));
    assert_eq!(rests(&mut bench, 60_000), [false, false, true]);
    bench.shard().tell_wanted(at(61_000), ROOM, (TOP, true));
    assert_eq!(rests(&mut bench, 65_999), [false, false, true], "its encoder takes a moment");
    assert_eq!(rests(&mut bench, 66_000), [false; 3]);
}

#[test]
fn a_shard_gets_media_while_it_says_that_it_has_viewers_and_not_when_its_last_word_was_lost() {
    let mut bench = Bench::new(2);
    bench.publish();
    let mut told = Vec::new();

    for second in 0..40 {
        if second < 20 {
            bench.post(Message::Interest { room: ROOM, shard: 1, wanted: true }, at(second * 1_000));
        }
        bench.shard().keep_house(at(second * 1_000));
        told.push(bench.shard().interests.shards(ROOM).count());
    }

    assert_eq!(told[..28], [1; 28]);
    assert_eq!(told[36..], [0; 4]);
}

#[test]
fn what_viewers_dropped_is_collected_a_part_in_each_turn_and_all_of_it_when_they_leave() {
    let mut bench = Bench::new(1);
    let viewers: Vec<SessionKey> = (0..41).map(|_| bench.watch(LayerRequest::Auto)).collect();
    viewers.iter().for_each(|key| bench.ask_for_what_was_never_sent(*key));

    bench.shard().end_session(at(0), viewers[40], EndReason::Deleted);
    bench.shard().keep_house(at(0));
    let mut counted = vec![bench.dropped()];
    for _ in 0..4 {
        bench.shard().count_on();
        counted.push(bench.dropped());
    }

    assert_eq!(counted, [1, 17, 33, 41, 41]);
}

#[test]
fn rtp_from_a_viewer_is_dropped_for_a_reason_of_its_own() {
    let mut bench = Bench::new(1);
    let viewer = bench.watch(LayerRequest::Auto);

    bench.shard().handle_rtp(at(0), viewer, &[0x80; 40]);

    assert_eq!(bench.dropped_as("rtp_from_viewer"), 1);
    assert_eq!(bench.dropped_as("unclassified"), 0);
    assert_eq!(bench.shard().world.metrics.packets_received.get(), 0, "it counts packets of publishers");
}

#[test]
fn reports_wait_for_the_media_of_a_turn_and_are_read_some_at_a_time() {
    let mut bench = Bench::new(1);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = bench.shard().sender.socket(0).unwrap().local_address().unwrap();
    // A receiver report without blocks (RFC 3550 §6.4.2), from nobody that is known.
    let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    for _ in 0..200 {
        socket.send_to(&report, address).unwrap();
    }

    bench.shard().receive(at(0));

    let unread = |bench: &mut Bench| 200 - bench.dropped_as("unvalidated_path");
    assert_eq!(unread(&mut bench), 200, "what is read is dropped, of who is unknown");
    let mut left = Vec::new();
    while bench.shard().read_reports(at(0)) {
        left.push(unread(&mut bench));
    }
    assert_eq!(left, [72, 0]);
}

#[test]
fn reports_wait_as_long_as_a_frame_goes_out_unless_they_are_many() {
    for (reports, read_behind_the_first_slice) in [(10, 0), (2_100, 128)] {
        let mut bench = Bench::new(1);
        for _ in 0..2_000 {
            bench.watch(LayerRequest::Auto);
        }
        let path = Path::udp(0, ([203, 0, 113, 1], 5_000).into());
        for _ in 0..reports {
            bench.shard().keep_report(at(0), path, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
        }
        let arrival = Arrival { kind: MediaKind::Video, layer: TOP, seq: ExtSeq(7) };
        let shard = bench.shard();
        let now = shard.world.clock.now();
        shard.rooms.get_mut(&ROOM).unwrap().note_arrival(now, arrival).unwrap();
        shard.dirty_rooms.push_back(ROOM);

        shard.turn();
        assert_eq!(
            bench.dropped_as("unvalidated_path"),
            read_behind_the_first_slice,
            "half the room is served"
        );
        bench.shard().turn();
        assert!(bench.dropped_as("unvalidated_path") >= 10, "nothing waits any more");
    }
}

#[test]
fn more_reports_than_may_wait_are_read_at_once_and_none_is_lost() {
    let mut bench = Bench::new(1);
    let path = Path::udp(0, ([203, 0, 113, 1], 5_000).into());

    for _ in 0..10_000 {
        bench.shard().keep_report(at(0), path, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    }
    while bench.shard().read_reports(at(0)) {}

    assert_eq!(bench.dropped_as("unvalidated_path"), 10_000);
}

#[test]
fn a_nap_at_whose_end_mail_waits_counts_as_slept() {
    let mut bench = Bench::new(1);
    for _ in 0..=NAP_SESSIONS {
        bench.watch(LayerRequest::Auto);
    }
    let shard = bench.shard();
    shard.readable.fill(false);
    shard.stirred = MonoTime::from_millis(0);
    let mut events = Events::with_capacity(1);
    shard.world.mailboxes.wake_all();
    shard.poll.poll(&mut events, None).unwrap();
    shard.world.mailboxes.post(0, Message::Interest { room: ROOM, shard: 0, wanted: true });

    let began = shard.world.clock.now();
    shard.load = Load::new(began);
    shard.wait(&mut events).unwrap();

    assert!(shard.world.clock.now().since(began) >= NAP, "it took a nap");
    assert!(shard.load.recent() < Busy(125), "{:?} of a window that was all nap", shard.load.recent());
}

/// The shards of a node that do not run. What is said of one shard is said of the first.
struct Bench {
    shards: Vec<Shard>,
    next: u64,
}

impl Bench {
    fn new(shards: usize) -> Self {
        let config = NodeConfig { udp: ([127, 0, 0, 1], 0).into(), shards, ..NodeConfig::default() };
        Self { shards: assemble(&config).unwrap().shards, next: 1 }
    }

    fn shard(&mut self) -> &mut Shard {
        self.shards.first_mut().unwrap()
    }

    fn session(&mut self, key: SessionKey) -> &mut super::session::Session {
        self.shard().table.get_mut(key).unwrap()
    }

    /// Seats a publisher of three layers, whose track its room knows.
    fn publish(&mut self) -> SessionKey {
        let rids = ["q", "h", "f"].map(str::to_owned).to_vec();
        let (formats, extensions) = (vec![format()], ExtensionMap::new());
        let track = PublishedTrack {
            mid: "0".to_owned(),
            kind: MediaKind::Video,
            formats,
            extensions,
            rids,
            ssrcs: Vec::new(),
            transport_cc: false,
            cname: String::new(),
        };
        let key = self.seat(SeedMedia::Publisher { epoch: Epoch(1), tracks: vec![track] }, None);
        let Media::Publisher(publisher, _) = &self.session(key).media else {
            panic!("a publisher was seated")
        };
        let info = publisher.track_info(MediaKind::Video).unwrap();
        assert_eq!(info.layers.len(), 3);
        self.shard().take_track(at(0), ROOM, 0, (info, LayerSet::default()));
        key
    }

    fn watch(&mut self, wish: LayerRequest) -> SessionKey {
        let track = ViewedTrack {
            mid: "0".to_owned(),
            kind: MediaKind::Video,
            formats: vec![format()],
            extensions: ExtensionMap::new(),
            ssrc: Ssrc(5),
            rtx_ssrc: Some(Ssrc(6)),
            transport_cc: false,
            ccfb: false,
            cname: "room".to_owned(),
        };
        self.seat(SeedMedia::Viewer { tracks: vec![track] }, Some(wish))
    }

    fn seat(&mut self, media: SeedMedia, layer: Option<LayerRequest>) -> SessionKey {
        let certificate = Arc::clone(&self.shard().world.certificate);
        let link = LinkConfig {
            ice: Credentials::generate().unwrap(),
            role: Role::Server,
            fingerprint: certificate.fingerprint().clone(),
            certificate,
            viewer: matches!(media, SeedMedia::Viewer { .. }),
        };
        self.next += 1;
        let seed = Seed {
            session: SessionId::draw().unwrap(),
            public_id: PublicId(self.next),
            room: ROOM,
            room_name: RoomName::parse("demo").unwrap(),
            link,
            media,
            shared: Arc::default(),
            timeline: Timeline { began: at(0), answered: at(0), reached: None, connected: None },
            layer,
        };
        self.shard().seat(at(0), seed)
    }

    fn post(&mut self, message: Message, now: MonoTime) {
        let shard = self.shard();
        shard.world.mailboxes.post(0, message);
        shard.take_mail(now);
    }

    /// Lets a viewer ask for a packet again that it was not sent, which is counted.
    fn ask_for_what_was_never_sent(&mut self, key: SessionKey) {
        let mut compound = [0; 64];
        let mut writer = Writer::new(&mut compound);
        assert!(writer.receiver_report(Ssrc(1), &[]) && writer.nack(Ssrc(1), Ssrc(5), &[SeqNo(9)]));
        let length = writer.finish();
        let Media::Viewer(viewer) = &mut self.session(key).media else { panic!("a viewer was seated") };
        viewer.handle_rtcp(at(0), &Rings::default(), &compound[..length], &mut Vec::new());
    }

    /// All packets that were counted as dropped.
    fn dropped(&mut self) -> u64 {
        let shard = self.shard();
        shard.counters.flush(&shard.world.metrics);
        let drops = &shard.world.metrics.drops;
        sfu::drop_reason::DropReason::ALL
            .iter()
            .map(|why| drops.with_label_values(&[why.as_str()]).get())
            .sum()
    }

    /// Datagrams that all shards have dropped for a reason.
    fn dropped_as(&mut self, reason: &str) -> u64 {
        for shard in &mut self.shards {
            shard.counters.flush(&shard.world.metrics);
        }
        self.shards[0].world.metrics.drops.with_label_values(&[reason]).get()
    }

    fn has_news(&mut self, key: SessionKey) -> bool {
        self.shard().news_of(key).is_some()
    }

    /// Says whether this, layer by layer, is what a publisher is told as soon as it can be.
    fn is_told(&mut self, key: SessionKey, layers: &[(usize, bool)]) -> bool {
        let rids = ["q", "h", "f"];
        let expected: Vec<_> = layers
            .iter()
            .map(|(index, wanted)| serde_json::json!({"rid": rids[*index], "wanted": wanted}))
            .collect();
        let Some((channel, news)) = self.shard().news_of(key) else { return false };
        let said = serde_json::to_value(news).unwrap();
        channel == ChannelId(1) && said == serde_json::json!({"t": "layers", "layers": expected})
    }
}

fn format() -> Format {
    Format {
        payload_type: PayloadType(96),
        codec: Codec::Vp8,
        parameters: String::new(),
        rtx: None,
        nack: true,
        pli: true,
        fir: false,
    }
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(1_000_000 + millis)
}
