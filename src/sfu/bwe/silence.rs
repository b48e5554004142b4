//! A viewer that acknowledges nothing any more. Packet path.

use std::time::Duration;

use rtp::MonoTime;

use crate::Bitrate;

/// How long nothing has been acknowledged.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// The first packet sent since the last acknowledgement.
    pub(super) waiting_since: Option<MonoTime>,
    halved_at: Option<MonoTime>,
    /// The estimate before it was halved.
    pub(super) before: Option<Bitrate>,
}

impl Silence {
    pub(super) fn is_long(&self, now: MonoTime) -> bool {
        self.lasts(now, SILENCE)
    }

    pub(super) fn lasts(&self, now: MonoTime, span: Duration) -> bool {
        self.waiting_since.is_some_and(|since| now.since(since) >= span)
    }

    /// True once for each second of silence.
    pub(super) fn is_due(&mut self, now: MonoTime) -> bool {
        let due = self.is_long(now) && self.halved_at.is_none_or(|at| now.since(at) >= SILENCE);
        if due {
            self.halved_at = Some(now);
        }
        due
    }

    /// Ends the silence; returns the estimate of before when it was one.
    pub(super) fn end(&mut self) -> Option<Bitrate> {
        self.waiting_since = None;
        self.halved_at = None;
        self.before.take()
    }
}

/// How long nothing may be acknowledged.
const SILENCE: Duration = Duration::from_secs(1);
