//! One viewer as a state machine, cheap enough that thousands fit beside the server that they load.
//!
//! Think of a browser that never decodes. It keeps the session alive, reports, gives feedback, asks for what is lost and
//! for keyframes; but of the media it reads headers, and opens only a sample: everything of the first viewers, the
//! packets up to the first keyframe of each, the packets that show a frame's send time now and then, and a share of the
//! rest. What the viewers of a thread have in common is in [`Shared`], so that a packet touches little else.
//!
//! Packet path. Start reading at [`Viewer::handle_packet`]; the threads are in [`crowd`].

mod arrivals;
pub mod crowd;
mod delay;
mod glance;
pub mod joiner;
mod keyframe;
mod motion;
mod reception;
mod totals;
mod track;

pub use totals::Totals;

use crate::link::{CloseReason, Inbound, Link, Output, Random};
use crate::signal::Answer;
use arrivals::Arrivals;
use delay::Rotation;
use glance::Glance;
use keyframe::Opened;
use motion::Motion;
use reception::Arrival;
use rtp::rtcp::{self, ReportBlock, Writer};
use rtp::{Extension, MonoTime, RtpView, SeqNo, Ssrc};
use std::net::SocketAddr;
use std::time::Duration;
use track::{Kind, Track};

/// How viewers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Of so many packets one is opened and checked; `None` for none.
    pub verify_one_in: Option<u64>,
    /// Of so many packets that came one is asked for again; `None` for none.
    pub nack_one_in: Option<u64>,
    /// Between two transport-wide feedbacks.
    pub feedback_interval: Duration,
    /// How many viewers, from the first on, check everything.
    pub thorough: u64,
    /// Whether hardly anything comes, so that looking for it would cost more than being told.
    pub silent: bool,
}

/// What happened to a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Media may flow.
    Connected,
    /// The first packet arrived, so long after the offer was sent.
    FirstPacket(Duration),
    /// The first keyframe was complete, so long after the offer was sent.
    FirstKeyframe(Duration),
    /// It is over.
    Closed(CloseReason),
}

/// What all viewers of one thread use and count into.
#[derive(Debug)]
pub struct Shared {
    /// The counters.
    pub totals: Totals,
    /// Datagrams to send, for the viewer that was handled last.
    pub outgoing: Vec<(SocketAddr, Vec<u8>)>,
    /// What happened to the viewer that was handled last.
    pub events: Vec<Event>,
    behaviour: Behaviour,
    random: Random,
    verify_in: u64,
    nack_in: u64,
    plain: Vec<u8>,
    seqs: Vec<SeqNo>,
}

impl Shared {
    /// Makes what the viewers of a thread share.
    #[must_use]
    pub fn new(behaviour: Behaviour, random: Random) -> Self {
        Self {
            totals: Totals::default(),
            outgoing: Vec::new(),
            events: Vec::new(),
            behaviour,
            random,
            verify_in: 1,
            nack_in: behaviour.nack_one_in.unwrap_or(0),
            plain: Vec::new(),
            seqs: Vec::new(),
        }
    }

    /// Says whether the next packet is one of the sample: every so many on average, at no fixed distance.
    fn samples(&mut self) -> bool {
        let Some(one_in) = self.behaviour.verify_one_in else { return false };
        self.verify_in = self.verify_in.saturating_sub(1);
        if self.verify_in > 0 {
            return false;
        }
        self.verify_in = self.random.below(one_in.saturating_mul(2).saturating_sub(1)).saturating_add(1);
        true
    }

    /// Says whether the next packet is to be asked for again.
    fn asks_again(&mut self) -> bool {
        let Some(one_in) = self.behaviour.nack_one_in else { return false };
        self.nack_in = self.nack_in.saturating_sub(1);
        if self.nack_in > 0 {
            return false;
        }
        self.nack_in = self.random.below(one_in.saturating_mul(2).saturating_sub(1)).saturating_add(1);
        true
    }
}

/// One viewer.
#[derive(Debug)]
pub struct Viewer {
    link: Link,
    tracks: Vec<Track>,
    transport_cc: u8,
    ssrc: Ssrc,
    cname: String,
    posted_at: MonoTime,
    thorough: bool,
    rotation: Rotation,
    motion: Motion,
    arrivals: Arrivals,
    has_packet: bool,
    feedback_at: Option<MonoTime>,
    last_feedback_at: MonoTime,
    report_at: Option<MonoTime>,
    keyframe_at: Option<MonoTime>,
    pli_allowed_at: MonoTime,
    ask_at: Option<MonoTime>,
    /// Whether a timer may have come in front of the others.
    timers_changed: bool,
}

impl Viewer {
    /// Makes the viewer with this number from a link that made its offer, and from the answer; `posted_at` is when the
    /// offer was sent.
    #[must_use]
    pub fn new(
        mut link: Link,
        answer: &Answer,
        times: (MonoTime, MonoTime),
        number: u64,
        shared: &mut Shared,
    ) -> Self {
        let (now, posted_at) = times;
        link.set_remote(now, answer);
        let transport_cc = answer.tracks.iter().filter(|track| track.transport_cc);
        let transport_cc =
            transport_cc.filter_map(|track| track.extensions.id(Extension::TransportCc)).next();
        let thorough = number < shared.behaviour.thorough;
        let every = if thorough { 1 } else { ROTATION };
        let mut viewer = Self {
            link,
            tracks: answer.tracks.iter().cloned().map(Track::new).collect(),
            transport_cc: transport_cc.unwrap_or(0),
            ssrc: Ssrc(u32::try_from(shared.random.below(u64::from(u32::MAX))).unwrap_or(0).max(1)),
            cname: shared.random.letters(CNAME_CHARS),
            posted_at,
            thorough,
            rotation: Rotation { every, offset: number },
            motion: Motion::default(),
            arrivals: Arrivals::default(),
            has_packet: false,
            feedback_at: None,
            last_feedback_at: MonoTime::ZERO,
            report_at: None,
            keyframe_at: None,
            pli_allowed_at: MonoTime::ZERO,
            ask_at: None,
            timers_changed: true,
        };
        viewer.drain_link(now, shared);
        viewer
    }

    /// Takes one datagram, which arrived `at` (not later than `now`).
    pub fn handle_packet(
        &mut self,
        now: MonoTime,
        at: MonoTime,
        from: SocketAddr,
        packet: &[u8],
        shared: &mut Shared,
    ) {
        match self.link.handle_datagram(now, from, packet) {
            Inbound::Rtp => self.handle_rtp(at, packet, shared),
            Inbound::Rtcp => self.handle_rtcp(at, packet, shared),
            Inbound::Nothing => {
                self.timers_changed = true;
                self.drain_link(now, shared);
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: MonoTime, shared: &mut Shared) {
        if self.link.next_timeout().is_some_and(|at| at <= now) {
            self.link.handle_timeout(now);
            self.drain_link(now, shared);
        }
        if !self.link.is_connected() {
            return;
        }
        self.ask_for_missing(now, shared);
        if self.keyframe_at.is_some_and(|at| at <= now) {
            self.keyframe_at = Some(now + KEYFRAME_WAIT);
            self.request_keyframe(now, shared);
        }
        if self.feedback_at.is_some_and(|at| at <= now) {
            self.send_feedback(now, shared);
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.send_report(now, shared);
        }
    }

    /// Returns when [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let own = [self.feedback_at, self.report_at, self.keyframe_at, self.ask_at, self.link.next_timeout()];
        let tracks = self.tracks.iter().filter_map(Track::next_timeout);
        own.into_iter().flatten().chain(tracks).min()
    }

    /// Says whether [`Self::next_timeout`] may have become earlier since the last question. Most packets change no timer.
    pub const fn take_timer_change(&mut self) -> bool {
        std::mem::replace(&mut self.timers_changed, false)
    }

    /// Returns where media comes from.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.link.remote()
    }

    /// Ends a span of time in which the picture moved or froze, and begins the next one.
    pub fn begin_span(&mut self, now: MonoTime, shared: &mut Shared) {
        if self.link.is_connected() {
            shared.totals.note_frozen(self.motion.look(now));
            self.motion.begin(now);
        }
    }

    /// Says goodbye.
    pub fn close(&mut self, now: MonoTime, shared: &mut Shared) {
        self.link.close(now);
        self.drain_link(now, shared);
    }

    /// Says whether it is in, and any media came.
    #[must_use]
    pub fn has_media(&self) -> bool {
        self.has_packet && self.link.is_connected()
    }

    /// Says whether it is in, and its data channel is open.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.link.has_channel() && self.link.is_connected()
    }

    fn drain_link(&mut self, now: MonoTime, shared: &mut Shared) {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Transmit(to, datagram) => shared.outgoing.push((to, datagram)),
                Output::Connected(_) => {
                    shared.events.push(Event::Connected);
                    let phase = Duration::from_micros(shared.random.below(REPORT_INTERVAL_US));
                    self.report_at = Some(now + phase);
                }
                Output::Closed(reason) => {
                    (self.report_at, self.feedback_at, self.keyframe_at, self.ask_at) =
                        (None, None, None, None);
                    shared.totals.note_frozen(self.motion.end(now));
                    shared.events.push(Event::Closed(reason));
                }
            }
        }
    }

    fn handle_rtp(&mut self, at: MonoTime, packet: &[u8], shared: &mut Shared) {
        let Some(glance) = Glance::read(packet, self.transport_cc) else {
            shared.totals.strangers = shared.totals.strangers.saturating_add(1);
            return;
        };
        shared.totals.packets = shared.totals.packets.saturating_add(1);
        shared.totals.bytes = shared.totals.bytes.saturating_add(u64::try_from(packet.len()).unwrap_or(0));
        if let Some(seq) = glance.transport_seq {
            self.arrivals.note(at, seq);
            if self.feedback_at.is_none() {
                self.feedback_at = Some(self.next_feedback(at, shared));
                self.timers_changed = true;
            }
        }
        let owner = self.tracks.iter_mut().enumerate().find_map(|(index, track)| {
            track.owns(glance.ssrc, glance.payload_type).map(|kind| (index, kind))
        });
        if owner.is_some() && !self.has_packet {
            self.has_packet = true;
            shared.events.push(Event::FirstPacket(at.since(self.posted_at)));
        }
        match owner {
            Some((index, Kind::Media)) => self.handle_media(at, index, &glance, packet, shared),
            Some((index, Kind::Rtx)) => self.handle_rtx(at, index, packet, shared),
            None if glance.padded && self.is_probe(packet, shared) => {}
            None => shared.totals.strangers = shared.totals.strangers.saturating_add(1),
        }
    }

    /// Says whether a packet of no track is padding alone: servers probe the bandwidth with such, some from a source of
    /// its own, and no receiver has any use for them.
    fn is_probe(&mut self, packet: &[u8], shared: &mut Shared) -> bool {
        self.link.open_rtp(packet, &mut shared.plain).is_ok()
            && RtpView::parse(&shared.plain).is_ok_and(|view| view.payload.is_empty())
    }

    fn handle_media(
        &mut self,
        at: MonoTime,
        index: usize,
        glance: &Glance,
        packet: &[u8],
        shared: &mut Shared,
    ) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        let Some(source) = &mut track.source else { return };
        let arrival = source.handle_packet(at, glance.seq, glance.timestamp);
        let totals = &mut shared.totals;
        match arrival {
            Arrival::InOrder => {}
            Arrival::AfterGap => {
                track.delay.spoil();
                self.timers_changed = true;
            }
            Arrival::Late => totals.out_of_order = totals.out_of_order.saturating_add(1),
            Arrival::Surplus => totals.surplus = totals.surplus.saturating_add(1),
        }
        let is_newest = matches!(arrival, Arrival::InOrder | Arrival::AfterGap);
        if is_newest && !track.note_timestamp(glance.timestamp) {
            totals.timestamp_errors = totals.timestamp_errors.saturating_add(1);
        }
        if track.asks() && shared.asks_again() {
            track.asked.next.push(glance.seq);
            self.timers_changed = true;
            self.ask_at = self.ask_at.or(Some(at + ASK_AGAIN_WAIT));
        }
        let is_video = track.is_video();
        if is_video && glance.marker && arrival != Arrival::Surplus {
            shared.totals.note_frozen(self.motion.note_frame(at, glance.timestamp));
        }
        if track.wants_keyframe() && self.keyframe_at.is_none() {
            self.keyframe_at = Some(at + KEYFRAME_WAIT);
            self.timers_changed = true;
        }
        let stamped =
            is_video && is_newest && track.delay.note_header(glance.timestamp, glance.marker, self.rotation);
        track.unopened = track.unopened.saturating_add(1);
        let opens = stamped || track.wants_keyframe() || self.thorough || track.unopened >= UNOPENED_MAX;
        if shared.samples() || opens {
            self.open_media(at, index, glance, packet, shared);
        }
        if let Some(track) = self.tracks.get_mut(index)
            && is_video
            && glance.marker
            && arrival == Arrival::InOrder
            && let Some(delay) = track.delay.end_frame(at)
        {
            shared.totals.delay.note(delay);
        }
    }

    /// Returns when the next feedback is due: at a random moment first, so that viewers do not march in step.
    fn next_feedback(&self, at: MonoTime, shared: &mut Shared) -> MonoTime {
        let interval = shared.behaviour.feedback_interval;
        if self.last_feedback_at == MonoTime::ZERO {
            let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
            return at + Duration::from_micros(shared.random.below(micros));
        }
        at.max(self.last_feedback_at + interval)
    }

    /// Opens a packet, checks it, and looks into it for what is wanted.
    fn open_media(
        &mut self,
        at: MonoTime,
        index: usize,
        glance: &Glance,
        packet: &[u8],
        shared: &mut Shared,
    ) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        let opened = self.link.open_rtp(packet, &mut shared.plain).is_ok();
        let view = RtpView::parse(&shared.plain).ok().filter(|_| opened);
        let codec = track.codec(glance.payload_type);
        let (Some(view), Some(codec)) = (view, codec) else {
            shared.totals.verify_failures = shared.totals.verify_failures.saturating_add(1);
            return;
        };
        track.unopened = 0;
        // What padding alone fills is a probe, not media.
        if !view.payload.is_empty() && rtp::payload::describe(codec, view.payload).is_err() {
            shared.totals.verify_failures = shared.totals.verify_failures.saturating_add(1);
            return;
        }
        shared.totals.verified = shared.totals.verified.saturating_add(1);
        track.delay.note_payload(codec, view.timestamp, view.payload);
        let (seq, timestamp, marker) = (view.seq, view.timestamp, view.marker);
        let packet = Opened { seq, timestamp, marker, payload: view.payload };
        if track.is_video() && track.keyframe.note(codec, packet) {
            self.keyframe_at = None;
            shared.events.push(Event::FirstKeyframe(at.since(self.posted_at)));
        }
    }

    /// Opens a retransmission: what it repairs stands in front of its payload (RFC 4588 §4).
    fn handle_rtx(&mut self, at: MonoTime, index: usize, packet: &[u8], shared: &mut Shared) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        let totals = &mut shared.totals;
        totals.rtx_packets = totals.rtx_packets.saturating_add(1);
        let opened = self.link.open_rtp(packet, &mut shared.plain).is_ok();
        let Some(view) = RtpView::parse(&shared.plain).ok().filter(|_| opened) else {
            totals.verify_failures = totals.verify_failures.saturating_add(1);
            return;
        };
        let Some((original, payload)) = view.payload.split_first_chunk::<2>() else {
            // Padding alone: a probe of the bandwidth.
            totals.verified = totals.verified.saturating_add(1);
            return;
        };
        let seq = SeqNo(u16::from_be_bytes(*original));
        let Some(source) = track.source.as_mut().filter(|source| source.knows(seq)) else {
            totals.verify_failures = totals.verify_failures.saturating_add(1);
            return;
        };
        totals.verified = totals.verified.saturating_add(1);
        if source.handle_repair(at, seq) {
            self.timers_changed = true;
            totals.repaired = totals.repaired.saturating_add(1);
            if track.is_video() && view.marker {
                totals.note_frozen(self.motion.note_frame(at, view.timestamp));
            }
        }
        if track.asked.answers(seq) {
            totals.nacks_answered = totals.nacks_answered.saturating_add(1);
        }
        let opened = Opened { seq, timestamp: view.timestamp, marker: view.marker, payload };
        let codec = track.codec(view.payload_type);
        if codec.is_some_and(|codec| track.keyframe.note(codec, opened)) {
            self.keyframe_at = None;
            shared.events.push(Event::FirstKeyframe(at.since(self.posted_at)));
        }
    }

    fn handle_rtcp(&mut self, at: MonoTime, compound: &[u8], shared: &mut Shared) {
        if self.link.open_rtcp(compound, &mut shared.plain).is_err() {
            shared.totals.verify_failures = shared.totals.verify_failures.saturating_add(1);
            return;
        }
        for packet in rtcp::packets(&shared.plain).flatten() {
            let rtcp::Packet::SenderReport { ssrc, ntp, .. } = packet else { continue };
            let sources = self.tracks.iter_mut().filter_map(|track| track.source.as_mut());
            for source in sources.filter(|source| source.ssrc() == ssrc) {
                source.note_sender_report(at, ntp.middle());
            }
        }
    }

    /// Asks for what is missing, and for what is asked for on purpose.
    fn ask_for_missing(&mut self, now: MonoTime, shared: &mut Shared) {
        let on_purpose = self.ask_at.is_some_and(|at| at <= now);
        if on_purpose {
            self.ask_at = None;
        }
        let mut lost_video = false;
        for index in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(index) else { return };
            let asks = track.asks();
            let Some(source) = &mut track.source else { continue };
            let ssrc = source.ssrc();
            let mut seqs = std::mem::take(&mut shared.seqs);
            let given_up = source.handle_timeout(now, asks, &mut seqs);
            shared.totals.lost = shared.totals.lost.saturating_add(given_up);
            lost_video |= given_up > 0 && track.is_video();
            if on_purpose {
                let asked = u64::try_from(track.asked.take(&mut seqs)).unwrap_or(0);
                shared.totals.nacks_on_purpose = shared.totals.nacks_on_purpose.saturating_add(asked);
            }
            if !seqs.is_empty() {
                shared.totals.nacks_sent =
                    shared.totals.nacks_sent.saturating_add(u64::try_from(seqs.len()).unwrap_or(0));
                self.send_rtcp(shared, |writer, ours| writer.nack(ours, ssrc, &seqs));
                seqs.clear();
            }
            shared.seqs = seqs;
        }
        if lost_video && self.pli_allowed_at <= now {
            self.request_keyframe(now, shared);
        }
    }

    fn request_keyframe(&mut self, now: MonoTime, shared: &mut Shared) {
        self.pli_allowed_at = now + PLI_INTERVAL;
        let videos = self.tracks.iter().filter(|track| track.is_video());
        let Some(media) = videos.filter_map(|track| track.source.as_ref()).map(|source| source.ssrc()).next()
        else {
            return;
        };
        shared.totals.plis_sent = shared.totals.plis_sent.saturating_add(1);
        self.send_rtcp(shared, |writer, ours| writer.pli(ours, media));
    }

    fn send_feedback(&mut self, now: MonoTime, shared: &mut Shared) {
        self.last_feedback_at = now;
        let media =
            self.tracks.iter().filter_map(|track| track.source.as_ref()).map(|source| source.ssrc()).next();
        let mut arrivals = std::mem::take(&mut self.arrivals);
        while arrivals.has_news() {
            let mut written = false;
            self.send_rtcp(shared, |writer, ours| {
                written = arrivals.write(ours, media.unwrap_or(ours), writer);
                written
            });
            shared.totals.feedbacks_sent = shared.totals.feedbacks_sent.saturating_add(u64::from(written));
        }
        self.arrivals = arrivals;
        // With the next arrival it begins anew: a silent session gives no feedback.
        self.feedback_at = None;
    }

    fn send_report(&mut self, now: MonoTime, shared: &mut Shared) {
        // Half to one and a half of the interval, as libwebrtc spreads them (RFC 3550 §6.3.1).
        let jitter = shared.random.below(REPORT_INTERVAL_US).saturating_add(REPORT_INTERVAL_US / 2);
        self.report_at = Some(now + Duration::from_micros(jitter));
        let mut blocks = [ReportBlock::default(); TRACKS_REPORTED];
        let mut count = 0_usize;
        let sources = self.tracks.iter_mut().filter_map(|track| track.source.as_mut());
        for (slot, block) in blocks.iter_mut().zip(sources.filter_map(|source| source.report(now))) {
            *slot = block;
            count = count.saturating_add(1);
        }
        let cname = std::mem::take(&mut self.cname);
        self.send_rtcp(shared, |writer, ours| {
            writer.receiver_report(ours, blocks.get(..count).unwrap_or_default())
                && writer.sdes_cname(ours, &cname)
        });
        self.cname = cname;
    }

    /// Seals and queues what `write` appends; nothing when it says that it did not fit.
    fn send_rtcp(&mut self, shared: &mut Shared, write: impl FnOnce(&mut Writer<'_>, Ssrc) -> bool) {
        let Some(remote) = self.link.remote() else { return };
        let mut compound = vec![0; COMPOUND_MAX];
        let mut writer = Writer::new(&mut compound);
        if !write(&mut writer, self.ssrc) {
            return;
        }
        let length = writer.finish();
        compound.truncate(length);
        if self.link.seal_rtcp(&mut compound).is_ok() {
            shared.outgoing.push((remote, compound));
        }
    }
}

/// A browser's video receiver reports once a second.
const REPORT_INTERVAL_US: u64 = 1_000_000;
/// How long libwebrtc waits for a keyframe before it asks (again).
const KEYFRAME_WAIT: Duration = Duration::from_millis(200);
/// A loss that was not repaired asks no more often than this.
const PLI_INTERVAL: Duration = Duration::from_millis(1_000);
/// What is asked for on purpose goes together with its neighbours.
const ASK_AGAIN_WAIT: Duration = Duration::from_millis(10);
/// Of the viewers that do not check everything, one frame in so many is measured.
const ROTATION: u64 = 64;
/// A quarter of what the rollover counter's estimate bears.
const UNOPENED_MAX: u16 = 8_192;
/// Audio and video.
const TRACKS_REPORTED: usize = 4;
const COMPOUND_MAX: usize = 1_200;
const CNAME_CHARS: usize = 16;

#[cfg(test)]
mod tests;
