//! What fills a probe up: packets that were sent lately, again. Packet path.

use rtp::{MonoTime, OutgoingHeader, RtpTimestamp};

use super::Subscription;
use crate::Rings;
use crate::viewer::Forward;
use crate::viewer::catch_up::CatchUp;

/// How a viewer's path can be asked whether it carries more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// There is nothing to ask for now.
    NotNow,
    /// By packets that were sent before.
    ByProbes,
    /// By sending it: the viewer takes no packet twice.
    ByTrying,
}

impl Subscription {
    /// Says how the path can be asked for more. Before the first picture, and while a burst brings one, there is nothing
    /// to ask for. But who gets the least there is (`gets_least`) may be in bursts for as long as its path is thought to be
    /// slow, and is asked for all that.
    pub(crate) fn asking(&self, now: MonoTime, gets_least: bool) -> Asking {
        let is_short = |burst: CatchUp| !(gets_least && burst.goes_on(now));
        match self.joined {
            None => Asking::NotNow,
            Some(_) if self.catch_up.is_some_and(is_short) => Asking::NotNow,
            Some(_) if self.takes_rtx => Asking::ByProbes,
            Some(_) => Asking::ByTrying,
        }
    }

    /// Makes a packet of about `size` bytes for a probe: one that was sent lately, again; with none in the ring,
    /// padding (RFC 4588, RFC 3550 §5.1).
    pub(crate) fn pad(&mut self, now: MonoTime, rings: &Rings, size: u16) -> Option<Forward> {
        let ssrc = self.outgoing.track().rtx_ssrc?;
        for _ in 0..PAD_TRIES {
            let back = self.pad_turn % PAD_PACKETS;
            self.pad_turn = self.pad_turn.wrapping_add(1);
            let Some(located) = self.outgoing.locate_back(back) else { continue };
            if self.epoch() != Some(located.source.epoch) || located.filler {
                continue;
            }
            let Some(packet) = rings.get(self.kind, located.source.layer).packet(located.seq) else {
                continue;
            };
            if packet.payload().len() < usize::from(size) / 2 {
                continue;
            }
            let choice = self.outgoing.formats().choice(located.source.layer, packet);
            let Some(payload_type) = choice.and_then(|choice| choice.rtx) else { continue };
            let Some(mut forward) = self.outgoing.describe(&located, packet) else { continue };
            forward.rtx = Some(forward.header.seq);
            forward.is_padding = true;
            forward.header.payload_type = payload_type;
            forward.header.ssrc = ssrc;
            forward.header.seq = self.retransmitter.number(now, located.out);
            return Some(forward);
        }
        let payload_type = self.outgoing.track().formats.iter().find_map(|format| format.rtx)?;
        let seq = self.retransmitter.next_number();
        let header = OutgoingHeader { payload_type, marker: false, seq, timestamp: RtpTimestamp(0), ssrc };
        Some(Forward::padding(self.kind, header))
    }
}

/// How many of the newest packets a probe repeats in turn, and how many it looks at for one.
const PAD_PACKETS: u64 = 64;
const PAD_TRIES: usize = 8;
