//! What goes back to the publisher: receiver reports, NACK, keyframe requests, transport-wide feedback.
//! Packet path.
//!
//! Everything that is due at one moment shares one compound (RFC 3550 §6.1): a receiver report and our CNAME,
//! then the feedback (RFC 4585 §3.1). Report blocks go out once a second; between them the report is empty.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rtp::rtcp::{ReportBlock, Writer};
use rtp::{ExtSeq, MonoTime, SeqNo, Ssrc};

use super::Publisher;
use super::layer::Layer;
use super::stats::PublisherStats;
use super::track::Track;
use crate::track::MAX_LAYERS;

/// The time between report blocks, before the dice move it by up to a tenth, so that many publishers' reports do
/// not fall together (RFC 3550 §6.2).
const REPORT_INTERVAL_MILLIS: u64 = 1_000;

/// The most packets asked for in one compound: 260 bytes at worst. More go into the next one.
const NACKED_MAX: usize = 64;

/// One video track of several layers, and audio.
const BLOCKS_MAX: usize = MAX_LAYERS + 1;

/// The state of our feedback that belongs to no layer.
#[derive(Debug)]
pub(super) struct Feedback {
    ssrc: Ssrc,
    cname: String,
    dice: ChaCha8Rng,
    report_at: MonoTime,
    blocks: Vec<ReportBlock>,
    lost: Vec<ExtSeq>,
    lost_on_wire: Vec<SeqNo>,
}

impl Feedback {
    pub(super) fn new(ssrc: Ssrc, cname: String, now: MonoTime, seed: u64) -> Self {
        let mut feedback = Self {
            ssrc,
            cname,
            dice: ChaCha8Rng::seed_from_u64(seed),
            report_at: now,
            blocks: Vec::with_capacity(BLOCKS_MAX),
            lost: Vec::with_capacity(NACKED_MAX),
            lost_on_wire: Vec::with_capacity(NACKED_MAX),
        };
        feedback.schedule_report(now);
        feedback
    }

    fn schedule_report(&mut self, now: MonoTime) {
        let spread = u64::from(self.dice.next_u32()) % (REPORT_INTERVAL_MILLIS / 5);
        self.report_at = now + Duration::from_millis(REPORT_INTERVAL_MILLIS * 9 / 10 + spread);
    }

    /// Begins a compound, as every compound begins; false when there is no room.
    fn begin(&self, writer: &mut Writer<'_>) -> bool {
        writer.receiver_report(self.ssrc, &self.blocks) && writer.sdes_cname(self.ssrc, &self.cname)
    }

    /// Asks for what a layer misses; true when something was written.
    fn write_nack(&mut self, layer: &Layer, from: usize, writer: &mut Writer<'_>) -> bool {
        let (Some(media), Some(lost)) = (layer.ssrc, self.lost.get(from..)) else { return false };
        if lost.is_empty() {
            return false;
        }
        self.lost_on_wire.clear();
        self.lost_on_wire.extend(lost.iter().map(|seq| layer.numbering.wire(*seq)));
        writer.nack(self.ssrc, media, &self.lost_on_wire)
    }
}

impl Publisher {
    /// Writes the next RTCP compound that is due into `out` and returns its length; `None` when nothing is due.
    ///
    /// Call it until `None` after each `handle_…`. `out` should have room for 1,200 bytes: what does not fit
    /// waits for a later call.
    pub fn write_rtcp(&mut self, now: MonoTime, out: &mut [u8]) -> Option<usize> {
        self.tend_losses(now);
        let report = self.report_due().is_some_and(|due| due <= now);
        if !report && !self.has_feedback_due(now) {
            return None;
        }
        self.gather_blocks(now, report);
        let mut writer = Writer::new(out);
        if !self.feedback.begin(&mut writer) {
            return None;
        }
        let reported = !self.feedback.blocks.is_empty();
        self.stats.receiver_reports_sent =
            self.stats.receiver_reports_sent.saturating_add(u64::from(reported));
        let asked = self.write_keyframe_requests(now, &mut writer);
        let nacked = self.write_nacks(now, &mut writer);
        let told = self.write_transport_cc(now, &mut writer);
        (reported || asked || nacked || told).then(|| writer.finish())
    }

    /// Writes a farewell (RFC 3550 §6.6) and returns its length; 0 when `out` has no room.
    pub fn bye(&mut self, out: &mut [u8]) -> usize {
        self.feedback.blocks.clear();
        let mut writer = Writer::new(out);
        if self.feedback.begin(&mut writer) && writer.bye(self.feedback.ssrc) { writer.finish() } else { 0 }
    }

    /// When the next report blocks are due; `None` while there is no media to report on.
    pub(super) fn report_due(&self) -> Option<MonoTime> {
        let mut layers = self.tracks.iter().flat_map(|track| &track.layers);
        layers.any(|layer| layer.reception.has_begun()).then_some(self.feedback.report_at)
    }

    /// True when anything but a report is due.
    fn has_feedback_due(&self, now: MonoTime) -> bool {
        let transport = self.transport_cc.as_ref().is_some_and(|recorder| recorder.is_due(now));
        transport
            || self.tracks.iter().any(|track| {
                track.layers.iter().any(|layer| {
                    let missing = layer.nack.next_timeout(self.rtt.pace(track, layer));
                    missing.is_some_and(|due| due <= now) || layer.wants_keyframe(now)
                })
            })
    }

    fn gather_blocks(&mut self, now: MonoTime, report: bool) {
        self.feedback.blocks.clear();
        if !report {
            return;
        }
        self.feedback.schedule_report(now);
        for layer in self.tracks.iter_mut().flat_map(|track| &mut track.layers) {
            let block = layer.ssrc.and_then(|ssrc| layer.reception.report(now, ssrc));
            self.feedback.blocks.extend(block);
        }
    }

    fn write_keyframe_requests(&mut self, now: MonoTime, writer: &mut Writer<'_>) -> bool {
        let mut wrote = false;
        for track in &mut self.tracks {
            let Track { formats, layers, .. } = track;
            for layer in layers.iter_mut().filter(|layer| layer.wants_keyframe(now)) {
                let Some(media) = layer.ssrc else { continue };
                let format = formats.get(layer.format.unwrap_or_default());
                let written = match format {
                    Some(format) if format.pli => writer.pli(self.feedback.ssrc, media),
                    Some(format) if format.fir => writer.fir(self.feedback.ssrc, media, layer.fir_command),
                    _ => {
                        // The publisher takes no requests: nothing will answer, nothing is due.
                        layer.keyframes.handle_keyframe();
                        continue;
                    }
                };
                if written {
                    wrote = true;
                    layer.fir_command = layer.fir_command.wrapping_add(1);
                    layer.keyframes.handle_sent(now);
                    count(&mut self.stats, |stats| &mut stats.keyframe_requests_sent);
                }
            }
        }
        wrote
    }

    fn write_nacks(&mut self, now: MonoTime, writer: &mut Writer<'_>) -> bool {
        let mut wrote = false;
        self.feedback.lost.clear();
        for track in &mut self.tracks {
            for at in 0..track.layers.len() {
                let Some(pace) = track.layers.get(at).map(|layer| self.rtt.pace(track, layer)) else {
                    continue;
                };
                let Some(layer) = track.layers.get_mut(at) else { continue };
                let from = self.feedback.lost.len();
                layer.nack.take_due(now, pace, &mut self.feedback.lost);
                if self.feedback.write_nack(layer, from, writer) {
                    wrote = true;
                    let asked = self.feedback.lost.len().saturating_sub(from);
                    let asked = u64::try_from(asked).unwrap_or_default();
                    self.stats.packets_nacked = self.stats.packets_nacked.saturating_add(asked);
                    count(&mut self.stats, |stats| &mut stats.nacks_sent);
                }
            }
        }
        wrote
    }

    fn write_transport_cc(&mut self, now: MonoTime, writer: &mut Writer<'_>) -> bool {
        let Some(recorder) = self.transport_cc.as_mut().filter(|recorder| recorder.is_due(now)) else {
            return false;
        };
        let wrote = recorder.write(self.feedback.ssrc, self.last_ssrc, writer);
        if wrote {
            count(&mut self.stats, |stats| &mut stats.transport_feedbacks_sent);
        }
        wrote
    }
}

fn count(stats: &mut PublisherStats, counter: impl Fn(&mut PublisherStats) -> &mut u64) {
    let counter = counter(stats);
    *counter = counter.saturating_add(1);
}
