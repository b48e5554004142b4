//! The crate `webrtc` (webrtc-rs 0.21, full ICE, DTLS, SCTP and interceptors) as publisher and viewer in this process.
//!
//! The picture is made up: VP8 payloads with a true descriptor and header, and a counter in the last four bytes of
//! each packet, so that a viewer can tell exactly which packets came, in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_simulcast_extension_headers,
    configure_twcc_receiver_only,
};
use rtc::rtcp::raw_packet::RawPacket;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use crate::http;

/// Packets of one picture and pictures from one keyframe to the next.
const PACKETS_PER_FRAME: u32 = 4;
const FRAMES_PER_KEYFRAME: u32 = 30;
const SSRC: u32 = 0x4e43_0001;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a tokio runtime starts"));

/// What a viewer saw of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) counter: u32,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) ssrc: u32,
}

/// How a peer reaches the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) http: SocketAddr,
    /// The address to put in place of the server's candidate, so that media goes through a relay.
    pub(crate) media: Option<SocketAddr>,
}

/// One negotiated session of either role.
pub(crate) struct Peer {
    pc: Arc<dyn PeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    /// A data channel on which each message comes back.
    echo: Talk,
    /// The one that speaks the room protocol.
    room: Talk,
    http: SocketAddr,
    pub(crate) location: String,
    pub(crate) etag: String,
    pub(crate) offer: String,
    pub(crate) answer: String,
}

/// One data channel and what came by it.
struct Talk {
    data_channel: Arc<dyn DataChannel>,
    replies: Mutex<mpsc::UnboundedReceiver<String>>,
    closed: watch::Receiver<bool>,
}

/// A publisher that sends 30 pictures a second until told to stop.
pub(crate) struct Publisher {
    pub(crate) peer: Peer,
    sent: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    task: Option<tokio::task::JoinHandle<()>>,
}

/// A viewer that remembers every packet.
pub(crate) struct Viewer {
    pub(crate) peer: Peer,
    inbox: Inbox,
}

/// What has come to a viewer.
#[derive(Clone, Default)]
struct Inbox {
    received: Arc<Mutex<Vec<Received>>>,
    /// The tracks, in the order of their first packets.
    tracks: Arc<Mutex<Vec<Arc<dyn TrackRemote>>>>,
}

/// Whether a viewer does what it agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// It reports arrivals.
    AsAgreed,
    /// It agrees to report arrivals, and never does by itself.
    Never,
}

impl Publisher {
    /// Joins and connects; nothing is sent before [`Self::start`].
    pub(crate) fn join(access: Access, room: &str) -> (Self, Arc<TrackLocalStaticRTP>) {
        let codec =
            RTCRtpCodec { mime_type: "video/VP8".to_owned(), clock_rate: 90_000, ..Default::default() };
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "show".to_owned(),
            "picture".to_owned(),
            "picture".to_owned(),
            RtpCodecKind::Video,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
                active: true,
                codec,
                ..Default::default()
            }],
        )));
        let wanted = Arc::clone(&track) as Arc<dyn TrackLocal>;
        let peer = RUNTIME.block_on(async {
            let (pc, handler) = build(None, Feedback::AsAgreed).await;
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Sendonly,
                streams: vec![],
                send_encodings: vec![],
            };
            pc.add_transceiver_from_track(wanted, Some(init)).await.unwrap();
            Peer::negotiate(pc, handler, access, &format!("/whip/{room}")).await
        });
        peer.wait_connected();
        let publisher =
            Self { peer, sent: Arc::default(), stop: Arc::new(AtomicBool::new(false)), task: None };
        (publisher, track)
    }

    /// Joins, connects and sends.
    pub(crate) fn live(access: Access, room: &str) -> Self {
        let (mut publisher, track) = Self::join(access, room);
        publisher.start(track);
        publisher
    }

    /// Begins to send, with a keyframe.
    pub(crate) fn start(&mut self, track: Arc<TrackLocalStaticRTP>) {
        let (sent, stop) = (Arc::clone(&self.sent), Arc::clone(&self.stop));
        self.task = Some(RUNTIME.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(33));
            let mut frame = 0;
            while !stop.load(Ordering::Acquire) {
                tick.tick().await;
                for index in 0..PACKETS_PER_FRAME {
                    let counter = frame * PACKETS_PER_FRAME + index;
                    if track.write_rtp(packet(frame, index, counter)).await.is_err() {
                        return;
                    }
                    sent.store(counter + 1, Ordering::Release);
                }
                frame += 1;
            }
        }));
    }

    /// How many packets were handed to the stack.
    pub(crate) fn sent(&self) -> u32 {
        self.sent.load(Ordering::Acquire)
    }

    /// Sends the picture in hand to its end, then nothing more; returns how many packets there were.
    pub(crate) fn stop(&mut self) -> u32 {
        self.stop.store(true, Ordering::Release);
        if let Some(task) = self.task.take() {
            RUNTIME.block_on(task).expect("the sending task ends");
        }
        self.sent()
    }
}

impl Viewer {
    /// Joins and connects.
    pub(crate) fn join(access: Access, room: &str) -> Self {
        Self::join_with(Feedback::AsAgreed, access, room)
    }

    /// Joins and connects, and gives feedback or does not.
    pub(crate) fn join_with(feedback: Feedback, access: Access, room: &str) -> Self {
        let inbox = Inbox::default();
        let store = inbox.clone();
        let peer = RUNTIME.block_on(async {
            let (pc, handler) = build(Some(store), feedback).await;
            for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Recvonly,
                    streams: vec![],
                    send_encodings: vec![],
                };
                pc.add_transceiver_from_kind(kind, Some(init)).await.unwrap();
            }
            Peer::negotiate(pc, handler, access, &format!("/whep/{room}")).await
        });
        peer.wait_connected();
        Self { peer, inbox }
    }

    /// Returns what sends RTCP as it is, sealed with the session's keys. To be called when media has come.
    pub(crate) fn rtcp_sender(&self) -> impl Fn(&[u8]) + Send + use<> {
        let track = self.inbox.tracks.lock().unwrap().first().map(Arc::clone).expect("media has come");
        move |packet| {
            let packet = RawPacket(Bytes::copy_from_slice(packet));
            RUNTIME.block_on(track.write_rtcp(vec![Box::new(packet)])).unwrap();
        }
    }

    /// Everything that came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.inbox.received.lock().unwrap().clone()
    }

    /// How many packets came so far.
    pub(crate) fn count(&self) -> usize {
        self.inbox.received.lock().unwrap().len()
    }

    /// Waits until `count` packets have come.
    #[track_caller]
    pub(crate) fn wait_count(&self, count: usize, seconds: u64) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while self.count() < count {
            let have = self.count();
            assert!(Instant::now() < deadline, "{have} of {count} packets came in {seconds} s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Of each SSRC: how many different numbers came, and how many between the first and the last did not.
    pub(crate) fn missing_by_ssrc(&self) -> Vec<(u32, usize, usize)> {
        let mut by_ssrc: BTreeMap<u32, BTreeSet<i64>> = BTreeMap::new();
        let mut last: BTreeMap<u32, i64> = BTreeMap::new();
        for packet in self.received() {
            let last = last.entry(packet.ssrc).or_insert_with(|| i64::from(packet.seq));
            *last += i64::from(packet.seq.wrapping_sub(*last as u16) as i16);
            by_ssrc.entry(packet.ssrc).or_default().insert(*last);
        }
        let span =
            |numbers: &BTreeSet<i64>| (numbers.last().unwrap() - numbers.first().unwrap() + 1) as usize;
        by_ssrc
            .into_iter()
            .map(|(ssrc, numbers)| (ssrc, numbers.len(), span(&numbers) - numbers.len()))
            .collect()
    }

    /// Asserts that nothing is missing, doubled or renumbered from the first packet to the last, and returns how many
    /// there were. (The stack under us puts what was lost and sent again at its place in time of arrival.)
    #[track_caller]
    pub(crate) fn assert_unbroken(&self) -> usize {
        let mut packets = self.received();
        packets.sort_by_key(|packet| packet.counter);
        assert!(!packets.is_empty(), "nothing came");
        for pair in packets.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            assert_eq!(
                after.counter,
                before.counter + 1,
                "a packet is missing or doubled: {before:?} {after:?}"
            );
            assert_eq!(after.seq, before.seq.wrapping_add(1), "the numbering breaks: {before:?} {after:?}");
            assert_eq!(after.ssrc, before.ssrc, "the SSRC changes: {before:?} {after:?}");
        }
        packets.len()
    }
}

impl Peer {
    async fn negotiate(pc: Arc<dyn PeerConnection>, handler: Wires, access: Access, path: &str) -> Self {
        let echo = Talk::begin(&pc, "echo").await;
        let room = Talk::begin(&pc, "nearcast.room.v1").await;

        let offer = pc.create_offer(None).await.unwrap();
        pc.set_local_description(offer).await.unwrap();
        let mut gathered = handler.gathered;
        tokio::time::timeout(Duration::from_secs(5), gathered.wait_for(|done| *done)).await.unwrap().unwrap();
        let offer = pc.local_description().await.unwrap().sdp;

        let response = http::post_offer(access.http, path, &offer);
        assert_eq!(response.status, 201, "POST {path}: {response:?}\noffer:\n{offer}");
        let answer =
            access.media.map_or_else(|| response.body.clone(), |media| divert(&response.body, media));
        pc.set_remote_description(RTCSessionDescription::answer(answer).unwrap()).await.unwrap();

        Self {
            pc,
            state: handler.state,
            echo,
            room,
            http: access.http,
            location: response.header("location").expect("a 201 has a Location").to_owned(),
            etag: response.header("etag").expect("a 201 has an ETag").to_owned(),
            offer,
            answer: response.body,
        }
    }

    #[track_caller]
    fn wait_connected(&self) {
        let mut state = self.state.clone();
        let connected = RUNTIME.block_on(async {
            let reached = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
            tokio::time::timeout(Duration::from_secs(10), reached).await.is_ok_and(|got| got.is_ok())
        });
        assert!(connected, "the session is {:?}", self.state());
    }

    /// The state as the stack sees it now.
    fn state(&self) -> RTCPeerConnectionState {
        *self.state.borrow()
    }

    /// Waits until the other side has closed DTLS: this stack then closes its data channels, and nothing else would in
    /// so short a time.
    pub(crate) fn wait_dtls_closed(&self, seconds: u64) -> bool {
        let mut closed = self.echo.closed.clone();
        RUNTIME.block_on(async {
            let reached = closed.wait_for(|closed| *closed);
            tokio::time::timeout(Duration::from_secs(seconds), reached).await.is_ok_and(|got| got.is_ok())
        })
    }

    /// Sends a text and returns what comes back within 5 s.
    pub(crate) fn echo(&self, text: &str) -> Option<String> {
        self.echo.ask(text)
    }

    /// Says something in the room protocol and returns the answer, as JSON.
    #[track_caller]
    pub(crate) fn room(&self, text: &str) -> serde_json::Value {
        let answer = self.room.ask(text).unwrap_or_else(|| panic!("no answer in 5 s to {text}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Says the same many times at once in the room protocol and returns what is answered until it has been still for a
    /// second.
    pub(crate) fn room_burst(&self, text: &str, times: usize) -> Vec<serde_json::Value> {
        let answers = self.room.burst(text, times);
        answers.iter().map(|answer| serde_json::from_str(answer).unwrap()).collect()
    }

    /// A request on the session's own URL with the credential that made it.
    pub(crate) fn request(&self, method: &str, headers: &[(&str, &str)], body: &str) -> http::Response {
        let mut all = vec![("Authorization", "Bearer e2e-credential")];
        all.extend_from_slice(headers);
        http::request(self.http, method, &self.location, &all, body.as_bytes())
    }

    /// Closes without a word to the HTTP server: what a viewer's crash or a closed tab looks like.
    pub(crate) fn close(&self) {
        RUNTIME.block_on(async { drop(self.pc.close().await) });
    }
}

impl Talk {
    async fn begin(pc: &Arc<dyn PeerConnection>, label: &str) -> Self {
        let data_channel = pc.create_data_channel(label, None).await.unwrap();
        let (sender, replies) = mpsc::unbounded_channel();
        let (closed_sender, closed) = watch::channel(false);
        let events = Arc::clone(&data_channel);
        tokio::spawn(async move {
            while let Some(event) = events.poll().await {
                match event {
                    DataChannelEvent::OnOpen => drop(sender.send(OPENED.to_owned())),
                    DataChannelEvent::OnMessage(message) => {
                        drop(sender.send(String::from_utf8_lossy(&message.data).into_owned()));
                    }
                    DataChannelEvent::OnClose => drop(closed_sender.send(true)),
                    _ => {}
                }
            }
        });
        Self { data_channel, replies: Mutex::new(replies), closed }
    }

    fn ask(&self, text: &str) -> Option<String> {
        let mut replies = self.replies.lock().unwrap();
        let asked = async {
            self.opened(&mut replies).await?;
            self.data_channel.send_text(text).await.ok()?;
            next(&mut replies).await
        };
        RUNTIME.block_on(async { tokio::time::timeout(Duration::from_secs(5), asked).await.ok().flatten() })
    }

    fn burst(&self, text: &str, times: usize) -> Vec<String> {
        let mut replies = self.replies.lock().unwrap();
        RUNTIME.block_on(async {
            self.opened(&mut replies).await.unwrap();
            for _ in 0..times {
                self.data_channel.send_text(text).await.unwrap();
            }
            let mut all = Vec::new();
            while let Ok(Some(reply)) = tokio::time::timeout(Duration::from_secs(1), next(&mut replies)).await
            {
                all.push(reply);
            }
            all
        })
    }

    async fn opened(&self, replies: &mut mpsc::UnboundedReceiver<String>) -> Option<()> {
        let state = self.data_channel.ready_state().await;
        if state.is_ok_and(|state| state != webrtc::data_channel::RTCDataChannelState::Open) {
            while replies.recv().await? != OPENED {}
        }
        Some(())
    }
}

async fn next(replies: &mut mpsc::UnboundedReceiver<String>) -> Option<String> {
    loop {
        let reply = replies.recv().await?;
        if reply != OPENED {
            return Some(reply);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ours alone: never the text of a message.
const OPENED: &str = "\u{1}opened";

/// What the handler of a session tells.
struct Wires {
    gathered: watch::Receiver<bool>,
    state: watch::Receiver<RTCPeerConnectionState>,
}

struct Handler {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    inbox: Option<Inbox>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let Some(Inbox { received, tracks }) = self.inbox.clone() else { return };
        tracks.lock().unwrap().push(Arc::clone(&track));
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let Some(counter) = packet.payload.last_chunk::<4>() else { continue };
                    let packet = Received {
                        counter: u32::from_be_bytes(*counter),
                        seq: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        ssrc: packet.header.ssrc,
                    };
                    // A server probes the path by sending what was sent again; by its number a receiver knows it.
                    let mut received = received.lock().unwrap();
                    if !received.iter().rev().take(REPEATED_MAX).any(|known| *known == packet) {
                        received.push(packet);
                    }
                }
            }
        });
    }
}

async fn build(inbox: Option<Inbox>, feedback: Feedback) -> (Arc<dyn PeerConnection>, Wires) {
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    let registry = configure_nack(Registry::new(), &mut engine);
    configure_simulcast_extension_headers(&mut engine).unwrap();
    let registry = match feedback {
        Feedback::AsAgreed => configure_twcc_receiver_only(registry, &mut engine).unwrap(),
        Feedback::Never => {
            // The engine learns what to offer; who would keep the offer's word is let go.
            drop(configure_twcc_receiver_only(Registry::new(), &mut engine).unwrap());
            registry
        }
    };
    let registry = configure_rtcp_reports(registry);
    let (gathered_sender, gathered) = watch::channel(false);
    let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
    let handler = Handler { gathered: gathered_sender, state: state_sender, inbox };
    let pc = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(handler))
        .with_udp_addrs(vec!["127.0.0.1:0"])
        .build()
        .await
        .unwrap();
    (Arc::new(pc), Wires { gathered, state })
}

/// Puts another address into each UDP host candidate.
fn divert(answer: &str, media: SocketAddr) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in answer.lines() {
        let mut parts: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line.starts_with("a=candidate:")
            && parts.get(2).is_some_and(|part| part.eq_ignore_ascii_case("udp"))
        {
            parts[4] = media.ip().to_string();
            parts[5] = media.port().to_string();
        }
        lines.push(parts.join(" "));
    }
    lines.join("\r\n") + "\r\n"
}

/// One packet of the made-up picture: VP8 descriptor (S bit on the first), frame tag, size on a keyframe, filler, counter.
fn packet(frame: u32, index: u32, counter: u32) -> rtp::Packet {
    let keyframe = frame.is_multiple_of(FRAMES_PER_KEYFRAME);
    let mut payload = Vec::with_capacity(1000);
    if index == 0 {
        payload.extend_from_slice(&[0x10, if keyframe { 0x10 } else { 0x11 }, 0x02, 0x00]);
        if keyframe {
            payload.extend_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
        }
    } else {
        payload.push(0x00);
    }
    payload.resize(996, 0xa5);
    payload.extend_from_slice(&counter.to_be_bytes());
    rtp::Packet {
        header: rtp::header::Header {
            version: 2,
            marker: index + 1 == PACKETS_PER_FRAME,
            payload_type: 96,
            // The numbering wraps after some seconds, in every test.
            sequence_number: (counter as u16).wrapping_add(65_300),
            timestamp: frame.wrapping_mul(3000).wrapping_add(u32::MAX - 90_000),
            ssrc: SSRC,
            ..Default::default()
        },
        payload: Bytes::from(payload),
    }
}

/// How far back a repeated packet lies at most.
const REPEATED_MAX: usize = 512;
