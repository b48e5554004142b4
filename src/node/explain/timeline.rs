//! The steps of a join, from the request to the first keyframe.

use std::time::Duration;

use rtp::MonoTime;
use serde::Serialize;

use super::millis;

/// When a session passed each step of its join, as far as it got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    /// The request that created it began.
    pub(crate) began: MonoTime,
    /// Its answer was ready.
    pub(crate) answered: MonoTime,
    /// The first valid ICE check arrived.
    pub(crate) reached: Option<MonoTime>,
    /// DTLS was done.
    pub(crate) connected: Option<MonoTime>,
}

/// How long each step of a join took, each from the end of the one before. A step that has not ended is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinSteps {
    /// From the request's arrival to the answer.
    pub http_ms: f64,
    /// From the answer to the first valid ICE check: the answer's way to the other side is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ice_ms: Option<f64>,
    /// The DTLS handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtls_ms: Option<f64>,
    /// Until the first packet of media went out to a viewer, or came from a publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_packet_ms: Option<f64>,
    /// Until the first keyframe did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_keyframe_ms: Option<f64>,
    /// All of it, once the first keyframe is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
}

impl Timeline {
    /// Returns how long each step took; what the media machine knows of the last two is told.
    pub(crate) fn steps(
        &self,
        first_packet: Option<MonoTime>,
        first_keyframe: Option<MonoTime>,
    ) -> JoinSteps {
        let took = |from: Option<MonoTime>, to: Option<MonoTime>| -> Option<f64> {
            let (from, to) = from.zip(to)?;
            Some(millis(to.since(from)))
        };
        JoinSteps {
            http_ms: millis(self.answered.since(self.began)),
            ice_ms: took(Some(self.answered), self.reached),
            dtls_ms: took(self.reached, self.connected),
            first_packet_ms: took(self.connected, first_packet),
            first_keyframe_ms: took(first_packet, first_keyframe),
            total_ms: took(Some(self.began), first_keyframe),
        }
    }

    /// Returns the time since the request.
    pub(crate) fn age(&self, now: MonoTime) -> Duration {
        now.since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_and_add_up() {
        let timeline = Timeline {
            began: at(1_000),
            answered: at(1_003),
            reached: Some(at(1_060)),
            connected: Some(at(1_140)),
        };

        let steps = timeline.steps(Some(at(1_142)), Some(at(1_150)));

        let parts = [
            Some(steps.http_ms),
            steps.ice_ms,
            steps.dtls_ms,
            steps.first_packet_ms,
            steps.first_keyframe_ms,
        ];
        assert_eq!(parts, [Some(3.0), Some(57.0), Some(80.0), Some(2.0), Some(8.0)]);
        assert_eq!(steps.total_ms, Some(150.0));
    }

    #[test]
    fn what_has_not_happened_is_absent() {
        let timeline = Timeline { began: at(0), answered: at(2), reached: Some(at(9)), connected: None };

        let json = serde_json::to_value(timeline.steps(None, None)).unwrap();

        assert_eq!(json, serde_json::json!({"httpMs": 2.0, "iceMs": 7.0}));
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_millis(millis)
    }
}
