//! Decides which temporal layers go out.
//!
//! Packet path. Frames of a higher temporal layer are never needed by a lower one, so they may end anywhere;
//! they may begin again only where the publisher says so (a layer sync), or at a keyframe.

use rtp::RtpTimestamp;
use rtp::payload::Descriptor;

use super::rewriter::Source;

/// The temporal layers of one subscription.
#[derive(Debug)]
pub(crate) struct TemporalFilter {
    /// What the viewer may get.
    limit: u8,
    /// What it gets: at most the limit, and lower until a way up has come.
    current: u8,
    /// The frame that was decided last.
    frame: Option<RtpTimestamp>,
    /// Frames that were withheld, newest in front: their late packets stay withheld when the limit has risen,
    /// or another layer is being forwarded. Elsewhere, because most packets do not ask for them.
    withheld: Box<[Option<(Source, RtpTimestamp)>; WITHHELD_MAX]>,
}

impl TemporalFilter {
    /// Makes a filter that lets everything through.
    pub(crate) fn new() -> Self {
        Self { limit: u8::MAX, current: u8::MAX, frame: None, withheld: Box::new([None; WITHHELD_MAX]) }
    }

    pub(crate) fn warm(&self) -> u64 {
        u64::from(self.current)
    }

    /// Sets the highest layer to send; takes effect at the next frame that allows it.
    pub(crate) fn set_limit(&mut self, limit: u8) {
        self.limit = limit;
    }

    /// Begins anew: the next frame is a keyframe, or the first after a restart.
    pub(crate) fn reset(&mut self) {
        self.current = self.limit;
        self.frame = None;
    }

    /// Decides about a packet that is newer than all before it.
    pub(crate) fn admit(&mut self, source: Source, timestamp: RtpTimestamp, descriptor: &Descriptor) -> bool {
        if self.frame != Some(timestamp) {
            self.frame = Some(timestamp);
            self.begin_frame(descriptor);
        }
        let admitted = descriptor.temporal <= self.current;
        if !admitted && self.withheld.first() != Some(&Some((source, timestamp))) {
            self.withheld.rotate_right(1);
            let [newest, ..] = self.withheld.as_mut();
            *newest = Some((source, timestamp));
        }
        admitted
    }

    /// Says whether a packet lies above the limit.
    pub(crate) const fn withholds(&self, descriptor: &Descriptor) -> bool {
        descriptor.temporal > self.limit
    }

    /// Decides about a packet that later ones have overtaken.
    pub(crate) fn admit_late(
        &self,
        source: Source,
        timestamp: RtpTimestamp,
        descriptor: &Descriptor,
    ) -> bool {
        descriptor.temporal <= self.current && !self.withheld.contains(&Some((source, timestamp)))
    }

    fn begin_frame(&mut self, descriptor: &Descriptor) {
        let temporal = descriptor.temporal;
        let way_up = descriptor.layer_sync && temporal > self.current && temporal <= self.limit;
        if descriptor.keyframe {
            self.current = self.limit;
        } else if way_up {
            self.current = temporal;
        } else {
            self.current = self.current.min(self.limit);
        }
    }
}

/// One second of withheld frames, at 30 frames/s of which every second one goes.
const WITHHELD_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, LayerIndex};

    #[test]
    fn a_lower_limit_ends_higher_layers_at_the_next_frame_not_within_one() {
        let mut filter = TemporalFilter::new();
        assert!(filter.admit(SOURCE, RtpTimestamp(0), &frame(2)));

        filter.set_limit(1);

        assert!(filter.admit(SOURCE, RtpTimestamp(0), &frame(2)));
        assert!(filter.admit(SOURCE, RtpTimestamp(1), &frame(1)));
        assert!(!filter.admit(SOURCE, RtpTimestamp(2), &frame(2)));
    }

    #[test]
    fn a_higher_limit_waits_for_a_layer_sync() {
        let mut filter = limited_to_base();

        filter.set_limit(2);

        assert!(!filter.admit(SOURCE, RtpTimestamp(2), &frame(1)));
        assert!(filter.admit(SOURCE, RtpTimestamp(3), &sync(1)));
        assert!(!filter.admit(SOURCE, RtpTimestamp(4), &frame(2)));
        assert!(filter.admit(SOURCE, RtpTimestamp(5), &sync(2)));
        assert!(filter.admit(SOURCE, RtpTimestamp(6), &frame(2)));
    }

    #[test]
    fn the_rest_of_a_withheld_frame_stays_withheld_when_it_comes_after_a_way_up() {
        let mut filter = limited_to_base();
        assert!(!filter.admit(SOURCE, RtpTimestamp(2), &frame(1)));
        filter.set_limit(1);

        assert!(filter.admit(SOURCE, RtpTimestamp(3), &sync(1)));

        assert!(!filter.admit_late(SOURCE, RtpTimestamp(2), &frame(1)));
        assert!(filter.admit_late(SOURCE, RtpTimestamp(3), &frame(1)));
    }

    #[test]
    fn a_keyframe_opens_every_layer_up_to_the_limit() {
        let mut filter = limited_to_base();
        filter.set_limit(1);

        assert!(filter.admit(SOURCE, RtpTimestamp(2), &Descriptor { keyframe: true, ..frame(0) }));

        assert!(filter.admit(SOURCE, RtpTimestamp(3), &frame(1)));
        assert!(!filter.admit(SOURCE, RtpTimestamp(4), &frame(2)));
    }

    const SOURCE: Source = Source { epoch: Epoch(1), layer: LayerIndex(0), pass: 0 };

    fn limited_to_base() -> TemporalFilter {
        let mut filter = TemporalFilter::new();
        filter.set_limit(0);
        assert!(filter.admit(SOURCE, RtpTimestamp(1), &frame(0)));
        filter
    }

    fn frame(temporal: u8) -> Descriptor {
        Descriptor { temporal, ..Descriptor::default() }
    }

    fn sync(temporal: u8) -> Descriptor {
        Descriptor { layer_sync: true, ..frame(temporal) }
    }
}
