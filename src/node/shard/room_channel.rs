//! The room protocol on a session's data channel: `nearcast.room.v1`, of which this version speaks little.
//!
//! Think of [`RoomChannel`] as the doorkeeper of one session: it is told what comes and says what to do. It looks at the
//! size before anything else, then at the rate, then at the message. What it does not understand it refuses by a
//! `nack`; the session and its media go on whatever is sent here. Data channels of other labels are no business of it.
//!
//! Invariants: one message costs one answer at most; a sender that goes on after [`STRIKES_MAX`] refusals for its rate
//! is not even answered for [`MUTE`]; one that goes on with oversized messages is not listened to again.
//!
//! `docs/protocol.md` has the messages.

use std::time::Duration;

use rtp::{MediaKind, MonoTime};
use serde::{Deserialize, Serialize};
use sfu::track::{LayerIndex, MAX_LAYERS, TrackInfo};
use transport::rate::{Rate, TokenBucket};
use transport::sctp::{CHANNELS_MAX, ChannelId, Message};

use super::Shard;
use super::session::Media;
use super::table::SessionKey;
use super::wanted::LayerSet;
use crate::explain::Explanation;
use crate::name::RoomId;

/// What one session may say on its room channels, and what it has been told there.
#[derive(Debug)]
pub(super) struct RoomChannel {
    /// Those that are open, oldest first; at most [`CHANNELS_MAX`], as a session has no more data channels at all.
    open: Vec<ChannelId>,
    limit: TokenBucket,
    strikes: u8,
    muted_until: Option<MonoTime>,
    oversized: u8,
    /// Nothing is listened to any more.
    is_over: bool,
    /// Whether somebody wants each layer.
    wanted: [bool; MAX_LAYERS],
    /// Since when somebody does again, of each that nobody wanted before.
    wanted_again: [Option<MonoTime>; MAX_LAYERS],
    /// The publisher has not heard of the last change of that.
    is_news: bool,
}

/// What to do about a message.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing: the sender is muted.
    Ignore,
    /// Explain the session under this request id.
    Explain(String),
    /// Send this answer.
    Answer(Answer),
}

/// A message to the session.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "t", rename_all = "camelCase")]
pub(super) enum Answer {
    /// A request was done.
    Ack {
        /// The request.
        cid: String,
        /// What it asked for.
        explain: Box<Explanation>,
    },
    /// A request was refused.
    #[serde(rename_all = "camelCase")]
    Nack {
        /// The request, where it could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        cid: Option<String>,
        /// Why, of a closed set.
        code: NackCode,
        /// When to try again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Nothing is listened to any more on this session's room channels.
    Bye {
        /// Why.
        code: ByeCode,
        /// The same as a close code of a WebSocket.
        close: u16,
    },
    /// Which layers somebody wants; always all of them.
    Layers {
        /// One for each layer, in the order of the offer.
        layers: Vec<LayerNews>,
    },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NackCode {
    /// Not JSON, or without what it needs.
    BadMessage,
    /// A message that this server does not know.
    NotFound,
    /// Longer than [`MESSAGE_BYTES_MAX`].
    TooLong,
    /// Too many in too short a time.
    RateLimited,
}

/// Why nothing is listened to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ByeCode {
    /// Oversized messages again and again.
    TooLarge,
    /// Another version of the protocol.
    Version,
}

/// What a publisher is told of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LayerNews {
    /// Its name; absent without simulcast.
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<String>,
    /// Whether somebody wants it, or may want it soon.
    wanted: bool,
}

/// What every message from the other side has. Other members are ignored.
#[derive(Deserialize)]
struct Envelope {
    t: String,
    cid: Option<String>,
    v: Option<u64>,
}

impl RoomChannel {
    /// Waits for a data channel.
    pub(super) const fn new(now: MonoTime) -> Self {
        Self {
            open: Vec::new(),
            limit: TokenBucket::new(MESSAGES, now),
            strikes: 0,
            muted_until: None,
            oversized: 0,
            is_over: false,
            wanted: [true; MAX_LAYERS],
            wanted_again: [None; MAX_LAYERS],
            is_news: false,
        }
    }

    /// Takes note that a data channel was opened; says whether it is one of ours.
    pub(super) fn handle_opened(&mut self, channel: ChannelId, label: &str) -> bool {
        if label != LABEL {
            return false;
        }
        self.handle_closed(channel);
        if self.open.len() >= CHANNELS_MAX {
            self.open.remove(0);
        }
        self.open.push(channel);
        // Whoever opens one anew has heard nothing.
        self.is_news = self.wanted.contains(&false);
        true
    }

    /// Takes note that a data channel was closed.
    pub(super) fn handle_closed(&mut self, channel: ChannelId) {
        self.open.retain(|open| *open != channel);
    }

    /// Takes a message of one of the room channels.
    pub(super) fn handle_message(&mut self, now: MonoTime, message: &Message) -> Step {
        if self.is_over || self.muted_until.is_some_and(|until| now < until) {
            return Step::Ignore;
        }
        if message.as_bytes().len() > MESSAGE_BYTES_MAX {
            return self.refuse_oversized();
        }
        if self.limit.is_full(now) {
            self.strikes = 0;
        }
        let envelope = read(message);
        if !self.limit.take(now) {
            return self.strike(now, envelope.and_then(|envelope| envelope.cid));
        }
        let Some(Envelope { t, cid, v }) = envelope else { return nack(None, NackCode::BadMessage) };
        if v.is_some_and(|version| version != VERSION) {
            return self.end(ByeCode::Version, CLOSE_BAD_MESSAGE);
        }
        match (t.as_str(), cid) {
            ("explain", Some(cid)) => Step::Explain(cid),
            ("explain", None) => nack(None, NackCode::BadMessage),
            (_, cid) => nack(cid, NackCode::NotFound),
        }
    }

    /// Takes note that somebody wants a layer, or that nobody does any more. Says whether there is a data channel by
    /// which the publisher can be told.
    pub(super) fn set_wanted(&mut self, now: MonoTime, layer: LayerIndex, wanted: bool) -> bool {
        let at = usize::from(layer.0);
        if let (Some(known), Some(again)) = (self.wanted.get_mut(at), self.wanted_again.get_mut(at))
            && *known != wanted
        {
            *known = wanted;
            *again = wanted.then_some(now);
            self.is_news = true;
        }
        !self.open.is_empty()
    }

    /// Says whether somebody wants a layer, as far as the publisher was told: one that cannot be told sends for all.
    pub(super) fn is_wanted(&self, layer: LayerIndex) -> bool {
        self.open.is_empty() || self.wanted.get(usize::from(layer.0)).copied().unwrap_or(true)
    }

    /// Returns the layers of a track that are silent because nobody wanted them, until a moment ago at least.
    pub(super) fn resting(&self, now: MonoTime, info: &TrackInfo) -> LayerSet {
        let silent = |layer| info.layers.iter().any(|info| info.index == layer && !info.active);
        let wakes = |layer: LayerIndex| {
            let again = self.wanted_again.get(usize::from(layer.0)).copied().flatten();
            again.is_some_and(|at| now.since(at) < WAKING_MAX)
        };
        let is_video = info.kind == MediaKind::Video && !self.open.is_empty();
        LayerSet::of(|layer| is_video && silent(layer) && (!self.is_wanted(layer) || wakes(layer)))
    }

    /// Says whether a data channel speaks the room protocol.
    pub(super) fn speaks(&self, channel: ChannelId) -> bool {
        self.open.contains(&channel)
    }

    /// Returns the data channel to speak on.
    fn newest(&self) -> Option<ChannelId> {
        self.open.last().copied().filter(|_| !self.is_over)
    }

    fn refuse_oversized(&mut self) -> Step {
        self.oversized = self.oversized.saturating_add(1);
        if self.oversized < STRIKES_MAX {
            return nack(None, NackCode::TooLong);
        }
        self.end(ByeCode::TooLarge, CLOSE_TOO_LARGE)
    }

    fn strike(&mut self, now: MonoTime, cid: Option<String>) -> Step {
        self.strikes = self.strikes.saturating_add(1);
        let is_muted = self.strikes >= STRIKES_MAX;
        let wait = if is_muted { MUTE } else { NEXT_TOKEN };
        self.muted_until = is_muted.then(|| now + MUTE);
        let retry_after_ms = u64::try_from(wait.as_millis()).ok();
        Step::Answer(Answer::Nack { cid, code: NackCode::RateLimited, retry_after_ms })
    }

    fn end(&mut self, code: ByeCode, close: u16) -> Step {
        self.is_over = true;
        Step::Answer(Answer::Bye { code, close })
    }
}

impl Shard {
    /// Takes note of a new data channel.
    pub(super) fn open_data_channel(
        &mut self,
        now: MonoTime,
        key: SessionKey,
        (channel, label): (ChannelId, &str),
    ) {
        let Some(session) = self.table.get_mut(key) else { return };
        tracing::debug!(session = %session.public_id, label, "data channel opened");
        if session.room_channel.handle_opened(channel, label) {
            self.tell_layers(now, key);
        }
    }

    /// Takes a message of a data channel. One that is not of the room protocol goes back as it came.
    pub(super) fn take_data(
        &mut self,
        now: MonoTime,
        key: SessionKey,
        channel: ChannelId,
        message: &Message,
    ) {
        let Some(session) = self.table.get_mut(key) else { return };
        if !session.room_channel.speaks(channel) {
            if let Err(error) = session.link.send_message(now, channel, message) {
                tracing::debug!(session = %session.public_id, %error, "message was not echoed");
            }
            return;
        }
        let answer = match session.room_channel.handle_message(now, message) {
            Step::Ignore => return,
            Step::Answer(answer) => answer,
            Step::Explain(cid) => {
                let Some(explanation) = self.explain(now, key) else { return };
                Answer::Ack { cid, explain: Box::new(explanation) }
            }
        };
        self.say(now, key, channel, &answer);
    }

    /// Tells a room's publisher that a layer is wanted, or that nobody wants it any more. To be called on the
    /// publisher's shard; calls that change nothing cost nothing. Says whether the publisher listens: one that does not
    /// goes on sending.
    pub(super) fn tell_wanted(
        &mut self,
        now: MonoTime,
        room: RoomId,
        (layer, wanted): (LayerIndex, bool),
    ) -> bool {
        let publisher = self.rooms.get(&room).and_then(|entry| entry.publisher);
        let Some(key) = publisher else { return false };
        let Some(session) = self.table.get_mut(key) else { return false };
        let listens = session.room_channel.set_wanted(now, layer, wanted);
        self.tell_layers(now, key);
        listens
    }

    /// Tells a publisher which layers are wanted, if it has not heard; what its queue does not take now goes with the
    /// next service.
    pub(super) fn tell_layers(&mut self, now: MonoTime, key: SessionKey) {
        if let Some((channel, news)) = self.news_of(key)
            && self.say(now, key, channel, &news)
            && let Some(session) = self.table.get_mut(key)
        {
            session.room_channel.is_news = false;
        }
    }

    /// Returns what a publisher has not heard of who wants its layers, and where it would hear it.
    pub(super) fn news_of(&self, key: SessionKey) -> Option<(ChannelId, Answer)> {
        let session = self.table.get(key)?;
        let room_channel = &session.room_channel;
        let (true, Some(channel)) = (room_channel.is_news, room_channel.newest()) else { return None };
        let Media::Publisher(publisher, _) = &session.media else { return None };
        let info = publisher.track_info(MediaKind::Video)?;
        let layers = info
            .layers
            .iter()
            .map(|layer| LayerNews { rid: layer.rid.clone(), wanted: room_channel.is_wanted(layer.index) });
        Some((channel, Answer::Layers { layers: layers.collect() }))
    }

    /// Sends a message; false when the other side reads too slowly to take it.
    fn say(&mut self, now: MonoTime, key: SessionKey, channel: ChannelId, answer: &Answer) -> bool {
        let Some(session) = self.table.get_mut(key) else { return false };
        let Ok(text) = serde_json::to_string(answer) else { return false };
        let sent = session.link.send_message(now, channel, &Message::Text(text));
        if let Err(error) = &sent {
            tracing::debug!(session = %session.public_id, %error, "message was not sent");
        }
        self.touch(key);
        sent.is_ok()
    }
}

/// Reads a message; `None` when it is none. A request id that is too long to be echoed counts as bad.
fn read(message: &Message) -> Option<Envelope> {
    let Message::Text(text) = message else { return None };
    let envelope: Envelope = serde_json::from_str(text).ok()?;
    let fits = |cid: &String| (1..=CID_BYTES_MAX).contains(&cid.len());
    envelope.cid.as_ref().is_none_or(fits).then_some(envelope)
}

const fn nack(cid: Option<String>, code: NackCode) -> Step {
    Step::Answer(Answer::Nack { cid, code, retry_after_ms: None })
}

/// The label by which both sides know the data channel.
const LABEL: &str = "nearcast.room.v1";
/// The protocol's version, where a message names one.
const VERSION: u64 = 1;
/// The longest message; larger ones are refused unread.
const MESSAGE_BYTES_MAX: usize = 15 * 1024;
/// A UUID has 36.
const CID_BYTES_MAX: usize = 64;
/// Messages of one session, whatever they are.
const MESSAGES: Rate = Rate { per_second: 10, burst: 20 };
/// How long one token of that takes.
const NEXT_TOKEN: Duration = Duration::from_millis(100);
/// Refusals before more is done than refusing.
const STRIKES_MAX: u8 = 3;
/// How long a sender that does not slow down is not listened to.
const MUTE: Duration = Duration::from_secs(30);
/// How long a publisher may take to send a layer again. One that takes longer does not, for reasons of its own.
const WAKING_MAX: Duration = Duration::from_secs(5);
const CLOSE_BAD_MESSAGE: u16 = 4_400;
const CLOSE_TOO_LARGE: u16 = 4_413;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_explain_is_done_under_its_request_id() {
        let mut room = open();

        assert_eq!(say(&mut room, 0, r#"{"v":1,"t":"explain","cid":"b7c1","more":[]}"#), explain("b7c1"));
        assert_eq!(say(&mut room, 0, r#"{"t":"explain","cid":"b7c2"}"#), explain("b7c2"));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_the_next_request_is_done() {
        let mut room = open();

        for (text, nack) in [
            (r#"{"t":"chat.send","cid":"1","text":"hi"}"#, json!({"t":"nack","cid":"1","code":"not-found"})),
            (r#"{"t":"dance"}"#, json!({"t":"nack","code":"not-found"})),
            (r#"{"t":"explain"}"#, json!({"t":"nack","code":"bad-message"})),
            (r#"{"t":"explain","cid":7}"#, json!({"t":"nack","code":"bad-message"})),
            (r#"{"t":"explain","cid":""}"#, json!({"t":"nack","code":"bad-message"})),
            ("{", json!({"t":"nack","code":"bad-message"})),
            ("", json!({"t":"nack","code":"bad-message"})),
            ("null", json!({"t":"nack","code":"bad-message"})),
        ] {
            assert_eq!(answer(say(&mut room, 0, text)), nack, "{text}");
        }
        let binary =
            room.handle_message(at(0), &Message::Binary(b"{\"t\":\"explain\",\"cid\":\"1\"}".to_vec()));
        assert_eq!(answer(binary), json!({"t":"nack","code":"bad-message"}));
        let long = format!(r#"{{"t":"explain","cid":"{}"}}"#, "x".repeat(65));
        assert_eq!(answer(say(&mut room, 0, &long)), json!({"t":"nack","code":"bad-message"}));

        assert_eq!(say(&mut room, 0, r#"{"t":"explain","cid":"2"}"#), explain("2"));
    }

    #[test]
    fn what_is_ignored_may_be_nested_deeply_without_harm() {
        let mut room = open();
        let deep = |cid: &str| {
            format!(r#"{{"t":"explain","x":{}{},"cid":{cid}}}"#, "[".repeat(7_000), "]".repeat(7_000))
        };

        assert_eq!(say(&mut room, 0, &deep("\"1\"")), explain("1"));
        assert_eq!(answer(say(&mut room, 0, &deep(&"[".repeat(900))))["code"], "bad-message");
    }

    #[test]
    fn twenty_messages_pass_at_once_and_then_ten_a_second() {
        let mut room = open();
        let request = r#"{"t":"explain","cid":"a"}"#;

        let at_once = (0..20).filter(|_| say(&mut room, 0, request) == explain("a")).count();
        let refused = answer(say(&mut room, 0, request));
        let later = say(&mut room, 100, request);

        assert_eq!(at_once, 20);
        assert_eq!(refused, json!({"t":"nack","cid":"a","code":"rate-limited","retryAfterMs":100}));
        assert_eq!(later, explain("a"));
    }

    #[test]
    fn who_does_not_slow_down_is_muted_for_half_a_minute() {
        let mut room = open();
        let request = r#"{"t":"explain","cid":"a"}"#;
        for _ in 0..22 {
            say(&mut room, 0, request);
        }

        let third = answer(say(&mut room, 0, request));

        assert_eq!(third["retryAfterMs"], 30_000);
        assert_eq!(say(&mut room, 1, request), Step::Ignore);
        assert_eq!(say(&mut room, 29_999, "x"), Step::Ignore);
        assert_eq!(say(&mut room, 30_000, request), explain("a"));
    }

    #[test]
    fn strikes_are_forgiven_after_a_pause() {
        let mut room = open();
        let request = r#"{"t":"explain","cid":"a"}"#;
        for round in 0..5 {
            for _ in 0..22 {
                say(&mut room, round * 3_000, request);
            }
        }

        assert_eq!(say(&mut room, 20_000, request), explain("a"));
    }

    #[test]
    fn oversized_messages_are_refused_unread_and_the_third_ends_the_talk() {
        let mut room = open();
        let long = format!(r#"{{"t":"explain","cid":"1","x":"{}"}}"#, "x".repeat(MESSAGE_BYTES_MAX));

        let answers = [0, 1, 2].map(|_| answer(say(&mut room, 0, &long)));

        assert_eq!(answers[0], json!({"t":"nack","code":"too-long"}));
        assert_eq!(answers[1], answers[0]);
        assert_eq!(answers[2], json!({"t":"bye","code":"too-large","close":4413}));
        assert_eq!(say(&mut room, 0, r#"{"t":"explain","cid":"1"}"#), Step::Ignore);
        assert_eq!(room.newest(), None, "nothing is said there either");
    }

    #[test]
    fn another_version_is_sent_away() {
        let mut room = open();

        let bye = answer(say(&mut room, 0, r#"{"v":2,"t":"explain","cid":"1"}"#));

        assert_eq!(bye, json!({"t":"bye","code":"version","close":4400}));
        assert_eq!(say(&mut room, 0, r#"{"t":"explain","cid":"1"}"#), Step::Ignore);
    }

    #[test]
    fn only_the_protocols_label_speaks_it() {
        let mut room = RoomChannel::new(at(0));

        assert!(!room.handle_opened(ChannelId(1), "echo"));
        assert!(!room.handle_opened(ChannelId(3), "nearcast.fast.v1"));
        assert!(room.handle_opened(ChannelId(5), "nearcast.room.v1"));

        assert_eq!([1, 3, 5].map(|id| room.speaks(ChannelId(id))), [false, false, true]);
        room.handle_closed(ChannelId(5));
        assert!(!room.speaks(ChannelId(5)));
    }

    #[test]
    fn of_more_data_channels_than_a_session_may_have_the_oldest_is_forgotten_and_none_counts_twice() {
        let mut room = RoomChannel::new(at(0));

        for id in 0..1_000 {
            assert!(room.handle_opened(ChannelId(id), LABEL));
            assert!(room.handle_opened(ChannelId(id), LABEL));
        }

        assert_eq!(room.open.len(), CHANNELS_MAX);
        assert_eq!(room.newest(), Some(ChannelId(999)));
        room.handle_closed(ChannelId(999));
        assert_eq!((room.newest(), room.speaks(ChannelId(999))), (Some(ChannelId(998)), false));
    }

    #[test]
    fn a_layer_is_news_when_that_changes_and_for_whoever_has_not_heard() {
        let mut room = RoomChannel::new(at(0));

        assert!(!room.set_wanted(at(0), LayerIndex(2), false), "there is nobody to tell");
        assert!(room.is_wanted(LayerIndex(2)), "so it goes on being sent");
        room.handle_opened(ChannelId(1), LABEL);
        assert!(room.is_news);
        assert_eq!([0, 1, 2, 3].map(|layer| room.is_wanted(LayerIndex(layer))), [true, true, false, true]);

        room.is_news = false;
        assert!(room.set_wanted(at(0), LayerIndex(2), false));
        assert!(!room.is_news, "nothing changed");
        room.handle_opened(ChannelId(3), LABEL);
        assert!(room.is_news, "a new data channel has heard nothing");
        room.is_news = false;
        assert!(room.set_wanted(at(0), LayerIndex(2), true));
        assert!(room.is_news);
        assert!(room.set_wanted(at(0), LayerIndex(9), false), "a layer that cannot be is ignored");
    }

    #[test]
    fn messages_are_those_that_the_sdk_reads() {
        let golden = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let layers = [("h", true), ("f", false)]
            .map(|(rid, wanted)| LayerNews { rid: Some(rid.to_owned()), wanted })
            .to_vec();
        let refused = Answer::Nack {
            cid: Some("1".to_owned()),
            code: NackCode::RateLimited,
            retry_after_ms: Some(100),
        };

        let layers = serde_json::to_value(Answer::Layers { layers }).unwrap();
        let unnamed = serde_json::to_value(LayerNews { rid: None, wanted: true }).unwrap();

        assert_eq!(layers, golden(include_str!("../../../tests/golden/room/layers.json")));
        assert_eq!(unnamed, json!({"wanted": true}), "without simulcast there is no name");
        let refused = serde_json::to_value(refused).unwrap();
        assert_eq!(refused, golden(include_str!("../../../tests/golden/room/nack.json")));
    }

    fn open() -> RoomChannel {
        let mut room = RoomChannel::new(at(0));
        assert!(room.handle_opened(ChannelId(1), LABEL));
        room
    }

    fn say(room: &mut RoomChannel, now: u64, text: &str) -> Step {
        room.handle_message(at(now), &Message::Text(text.to_owned()))
    }

    fn explain(cid: &str) -> Step {
        Step::Explain(cid.to_owned())
    }

    fn answer(step: Step) -> Value {
        let Step::Answer(answer) = step else { panic!("{step:?} is no answer") };
        serde_json::to_value(answer).unwrap()
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(1_000 + millis)
    }
}
