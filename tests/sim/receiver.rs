//! A viewer's network side, as a browser has it: what is missing is asked for, what came is reported.
//!
//! Written from the RFCs and from how libwebrtc behaves: a gap is asked for at once or after a moment for reordering,
//! then each round trip, ten times at most (RFC 4585); a list of more than a thousand is given up for a keyframe.
//! Without any picture a keyframe is asked for every 200 ms; with one, when nothing could be shown for `patience`.
//! Everything with a transport-wide number is reported at the feedback interval, a receiver report goes each second.

use std::collections::{BTreeMap, BTreeSet};

use crate::decoder::{Decoder, Piece, Shown};
use crate::feedback::{self, Block, Report};
use crate::publisher::{AUDIO_TYPE, RTX_TYPE, TRANSPORT_ID, VIDEO_TYPE};
use crate::wire::{Rtp, Stamp, Unwrapper, Vp8};

/// The sources that the server uses for every viewer here.
pub(crate) const VIDEO_SSRC: u32 = 0x1111;
pub(crate) const RTX_SSRC: u32 = 0x2222;
pub(crate) const AUDIO_SSRC: u32 = 0x3333;
/// The source of the viewer's own feedback.
const OWN_SSRC: u32 = 0x4444;

const NACK_TRIES_MAX: u32 = 10;
const NACKS_MAX: usize = 1_000;
/// What one datagram holds at worst.
const NACKS_IN_ONE: usize = 250;
const NACK_EVERY_US: u64 = 20_000;
const RTT_START_US: u64 = 100_000;
const DARK_PATIENCE_US: u64 = 200_000;
const REPORT_EVERY_US: u64 = 1_000_000;
/// Arrivals are remembered so long for a late packet's feedback to include its neighbours.
const ARRIVALS_KEPT_US: u64 = 500_000;
/// Numbers in one feedback packet, at most.
const FEEDBACK_MAX: u64 = 400;

/// How one viewer behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// From one transport-wide feedback to the next, in milliseconds.
    pub feedback_ms: u64,
    /// How long a gap may be reordering, in milliseconds.
    pub nack_hold_ms: u64,
    /// How long nothing may be shown before a keyframe is asked for, in milliseconds.
    pub patience_ms: u64,
}

/// One viewer.
#[derive(Debug)]
pub(crate) struct Receiver {
    habits: Habits,
    decoder: Decoder,
    video: Reception,
    audio: Reception,
    /// Numbers that came already.
    seen: BTreeSet<u64>,
    missing: BTreeMap<u64, Missing>,
    rtt_us: u64,
    nack_at_us: u64,
    last_shown_us: Option<u64>,
    first_video_us: Option<u64>,
    last_wanted_us: u64,
    keyframe_wanted: bool,
    arrivals: BTreeMap<u64, u64>,
    transport: Unwrapper,
    reported: Option<u64>,
    feedback_count: u8,
    feedback_at_us: u64,
    report_at_us: u64,
    pub(crate) shown: Vec<Shown>,
    pub(crate) audio_frames: Vec<(u64, u32)>,
    pub(crate) rtx_packets: u64,
    pub(crate) padding_packets: u64,
    pub(crate) nacked: u64,
    pub(crate) keyframes_wanted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since_us: u64,
    asked_us: Option<u64>,
    tries: u32,
}

/// The statistics of one source (RFC 3550 §6.4.1, appendix A.3).
#[derive(Debug, Default)]
struct Reception {
    seqs: Unwrapper,
    first: u64,
    highest: Option<u64>,
    received: u64,
    expected_before: u64,
    received_before: u64,
    jitter: f64,
    transit: Option<f64>,
    sender: Option<(u32, u64)>,
}

impl Receiver {
    pub(crate) fn new(habits: Habits) -> Self {
        Self {
            habits,
            decoder: Decoder::default(),
            video: Reception::default(),
            audio: Reception::default(),
            seen: BTreeSet::new(),
            missing: BTreeMap::new(),
            rtt_us: RTT_START_US,
            nack_at_us: 0,
            last_shown_us: None,
            first_video_us: None,
            last_wanted_us: 0,
            keyframe_wanted: false,
            arrivals: BTreeMap::new(),
            transport: Unwrapper::default(),
            reported: None,
            feedback_count: 0,
            feedback_at_us: 0,
            report_at_us: REPORT_EVERY_US,
            shown: Vec::new(),
            audio_frames: Vec::new(),
            rtx_packets: 0,
            padding_packets: 0,
            nacked: 0,
            keyframes_wanted: 0,
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// What no server may send.
    pub(crate) fn handle_datagram(&mut self, now_us: u64, bytes: &[u8]) -> Result<(), String> {
        if bytes.get(1).is_some_and(|second| (192..224).contains(second)) {
            return self.handle_rtcp(now_us, bytes);
        }
        let rtp = Rtp::read(bytes)?;
        if let Some(number) = rtp.number(TRANSPORT_ID) {
            self.note_arrival(now_us, number);
        }
        match (rtp.header.ssrc, rtp.header.payload_type) {
            (VIDEO_SSRC, VIDEO_TYPE) => {
                let seq = self.video.note(now_us, &rtp, 90.0);
                self.handle_video(now_us, seq, &rtp, rtp.payload)
            }
            (RTX_SSRC, RTX_TYPE) => self.handle_rtx(now_us, &rtp),
            (AUDIO_SSRC, AUDIO_TYPE) => {
                self.audio.note(now_us, &rtp, 48.0);
                let stamp = rtp.payload.get(1..).and_then(Stamp::read).ok_or("audio without a stamp")?;
                self.audio_frames.push((now_us, stamp.frame));
                Ok(())
            }
            (ssrc, kind) => Err(format!("source {ssrc:#x} with payload type {kind} was not negotiated")),
        }
    }

    /// Shows what can be shown, and writes the compound that is due.
    pub(crate) fn handle_tick(&mut self, now_us: u64, out: &mut Vec<Vec<u8>>) {
        while let Some(shown) = self.decoder.poll(now_us) {
            self.last_shown_us = Some(now_us);
            self.keyframe_wanted = false;
            self.shown.push(shown);
            let floor = self.decoder.floor();
            self.missing = self.missing.split_off(&floor);
        }
        let mut compound = Vec::new();
        if now_us >= self.report_at_us {
            self.report_at_us = now_us + REPORT_EVERY_US;
            compound = self.report(now_us);
        }
        self.ask_for_missing(now_us, &mut compound);
        self.ask_for_keyframe(now_us, &mut compound);
        if now_us >= self.feedback_at_us {
            self.feedback_at_us = now_us + self.habits.feedback_ms * 1_000;
            self.write_feedback(&mut compound);
        }
        if !compound.is_empty() {
            out.push(compound);
        }
    }

    fn handle_rtcp(&mut self, now_us: u64, bytes: &[u8]) -> Result<(), String> {
        for report in feedback::read(bytes)? {
            let Report::Sender { ssrc, middle } = report else { continue };
            let reception = if ssrc == VIDEO_SSRC { &mut self.video } else { &mut self.audio };
            reception.sender = Some((middle, now_us));
        }
        Ok(())
    }

    fn handle_rtx(&mut self, now_us: u64, rtp: &Rtp<'_>) -> Result<(), String> {
        let Some((original, payload)) = rtp.payload.split_first_chunk() else {
            if rtp.payload.is_empty() {
                self.padding_packets += 1;
                return Ok(());
            }
            return Err("a retransmission without an original number".to_owned());
        };
        self.rtx_packets += 1;
        // A retransmission never is the newest, so it may not move the unwrapping.
        let mut seqs = self.video.seqs;
        let seq = seqs.unwrap(u16::from_be_bytes(*original), 16);
        let asked =
            self.missing.get(&seq).and_then(|missing| missing.asked_us.filter(|_| missing.tries == 1));
        if let Some(asked) = asked {
            self.rtt_us = (self.rtt_us * 7 + now_us.saturating_sub(asked)) / 8;
        }
        self.handle_video(now_us, seq, rtp, payload)
    }

    fn handle_video(&mut self, now_us: u64, seq: u64, rtp: &Rtp<'_>, payload: &[u8]) -> Result<(), String> {
        self.first_video_us.get_or_insert(now_us);
        self.missing.remove(&seq);
        if !self.seen.insert(seq) {
            return Ok(());
        }
        while self.seen.len() > 4_096 {
            self.seen.pop_first();
        }
        self.note_gap(now_us, seq);
        let content = if payload.is_empty() {
            None
        } else {
            let (vp8, length) = Vp8::read(payload).ok_or("a payload that no encoder made")?;
            let stamp = payload.get(length..).and_then(Stamp::read).ok_or("a payload without its stamp")?;
            Some((vp8, stamp))
        };
        let piece = Piece { timestamp: rtp.header.timestamp, marker: rtp.header.marker, content };
        self.decoder.handle_piece(now_us, seq, piece)
    }

    /// Notes the numbers that were passed over.
    fn note_gap(&mut self, now_us: u64, seq: u64) {
        let newest = self.seen.iter().rev().nth(1).copied();
        let Some(newest) = newest.filter(|newest| *newest < seq && self.seen.last() == Some(&seq)) else {
            return;
        };
        let floor = self.decoder.floor();
        for number in (newest + 1).max(floor)..seq {
            self.missing.insert(number, Missing { since_us: now_us, asked_us: None, tries: 0 });
        }
        if self.missing.len() > NACKS_MAX {
            self.missing.clear();
            self.keyframe_wanted = true;
        }
    }

    fn ask_for_missing(&mut self, now_us: u64, compound: &mut Vec<u8>) {
        if now_us < self.nack_at_us || self.missing.is_empty() {
            return;
        }
        self.nack_at_us = now_us + NACK_EVERY_US;
        let (hold, again) = (self.habits.nack_hold_ms * 1_000, self.rtt_us.max(NACK_EVERY_US));
        let mut asked = Vec::new();
        self.missing.retain(|seq, missing| {
            let due = match missing.asked_us {
                None => now_us >= missing.since_us + hold,
                Some(at) => now_us >= at + again,
            };
            if due && missing.tries >= NACK_TRIES_MAX {
                return false;
            }
            if due && asked.len() < NACKS_IN_ONE {
                missing.asked_us = Some(now_us);
                missing.tries += 1;
                asked.push(*seq as u16);
            }
            true
        });
        if !asked.is_empty() {
            self.nacked += asked.len() as u64;
            begin(compound);
            feedback::nack(compound, OWN_SSRC, VIDEO_SSRC, &asked);
        }
    }

    fn ask_for_keyframe(&mut self, now_us: u64, compound: &mut Vec<u8>) {
        let Some(first) = self.first_video_us else { return };
        let waiting = now_us.saturating_sub(self.last_shown_us.unwrap_or(first));
        let dark = self.decoder.is_dark() || self.keyframe_wanted;
        let patience = if dark { DARK_PATIENCE_US } else { self.habits.patience_ms * 1_000 };
        let lately = self.last_wanted_us > 0 && now_us - self.last_wanted_us < DARK_PATIENCE_US;
        if waiting >= patience && !lately {
            self.keyframe_wanted = true;
            self.last_wanted_us = now_us;
            self.keyframes_wanted += 1;
            begin(compound);
            feedback::picture_lost(compound, OWN_SSRC, VIDEO_SSRC);
        }
    }

    fn note_arrival(&mut self, now_us: u64, number: u16) {
        let number = self.transport.unwrap(number, 16);
        let begin = *self.reported.get_or_insert(number);
        if number < begin && self.arrivals.first_key_value().is_some_and(|(first, _)| *first < number) {
            // Late: what follows it is told once more.
            self.reported = Some(number);
        }
        self.arrivals.entry(number).or_insert(now_us);
    }

    fn write_feedback(&mut self, compound: &mut Vec<u8>) {
        let (Some(begin_at), Some(newest)) = (self.reported, self.arrivals.last_key_value()) else { return };
        let (end, newest_us) = (*newest.0 + 1, *newest.1);
        let mut at = begin_at;
        while at < end {
            let until = end.min(at + FEEDBACK_MAX);
            let arrivals: Vec<Option<u64>> =
                (at..until).map(|number| self.arrivals.get(&number).copied()).collect();
            let feedback =
                feedback::Transport { base: at as u16, count: self.feedback_count, arrivals: &arrivals };
            begin(compound);
            let said = feedback::transport(compound, OWN_SSRC, VIDEO_SSRC, &feedback);
            self.feedback_count = self.feedback_count.wrapping_add(1);
            at += said.max(1) as u64;
        }
        self.reported = Some(end);
        while self
            .arrivals
            .first_key_value()
            .is_some_and(|(number, at)| *number < end && newest_us.saturating_sub(*at) > ARRIVALS_KEPT_US)
        {
            self.arrivals.pop_first();
        }
    }

    fn report(&mut self, now_us: u64) -> Vec<u8> {
        let video = self.video.block(now_us, VIDEO_SSRC);
        let audio = self.audio.block(now_us, AUDIO_SSRC);
        let blocks: Vec<Block> = video.into_iter().chain(audio).collect();
        feedback::receiver_report(OWN_SSRC, &blocks)
    }
}

impl Reception {
    /// Counts a packet and returns its unwrapped number.
    fn note(&mut self, now_us: u64, rtp: &Rtp<'_>, ticks_per_ms: f64) -> u64 {
        let seq = self.seqs.unwrap(rtp.header.seq, 16);
        if self.highest.is_none() {
            self.first = seq;
            self.expected_before = 0;
        }
        self.first = self.first.min(seq);
        self.highest = self.highest.max(Some(seq));
        self.received += 1;
        let transit = now_us as f64 / 1_000.0 * ticks_per_ms - f64::from(rtp.header.timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let change = (transit - before).abs();
            if change < 90_000.0 * 10.0 {
                self.jitter += (change - self.jitter) / 16.0;
            }
        }
        seq
    }

    fn block(&mut self, now_us: u64, ssrc: u32) -> Option<Block> {
        let highest = self.highest?;
        let expected = highest - self.first + 1;
        let lately = expected - self.expected_before;
        let came = self.received - self.received_before;
        (self.expected_before, self.received_before) = (expected, self.received);
        let fraction = (lately.saturating_sub(came) * 256).checked_div(lately).unwrap_or(0).min(255);
        let (last_sender, delay) =
            self.sender.map_or((0, 0), |(middle, at)| (middle, ((now_us - at) * 65_536 / 1_000_000) as u32));
        Some(Block {
            ssrc,
            fraction: fraction as u8,
            lost: expected.saturating_sub(self.received) as u32,
            highest: ((highest - (4 << 16)) & 0xffff_ffff) as u32,
            jitter: self.jitter as u32,
            last_sender,
            delay,
        })
    }
}

/// A compound begins with a report (RFC 3550 §6.1).
fn begin(compound: &mut Vec<u8>) {
    if compound.is_empty() {
        *compound = feedback::receiver_report(OWN_SSRC, &[]);
    }
}
