use super::*;
use crate::api::LayerBrief;

#[test]
fn a_viewers_explanation_is_the_one_that_the_sdk_reads() {
    let brief = |rid: &str, size: (u16, u16), bitrate| {
        Some(LayerBrief { rid: Some(rid.to_owned()), width: Some(size.0), height: Some(size.1), bitrate })
    };
    let part = ViewerExplanation {
        video: VideoChoice {
            request: Pick::Auto,
            desired: brief("f", (1280, 720), 1_480_000),
            target: brief("h", (640, 360), 480_000),
            current: brief("h", (640, 360), 480_000),
        },
        estimate: Some(Estimated {
            bitrate: 900_000,
            limiter: sfu::bwe::Limiter::Delay.as_str(),
            text: reason::limiter_text(sfu::bwe::Limiter::Delay),
        }),
        loss_ratio: Some(0.004),
        last_pli_ms: Some(7_901.2),
        last_keyframe_ms: Some(812.5),
    };
    let join = JoinSteps {
        http_ms: 2.8,
        ice_ms: Some(61.2),
        dtls_ms: Some(80.4),
        first_packet_ms: Some(1.9),
        first_keyframe_ms: Some(0.0),
        total_ms: Some(146.3),
    };
    let pair = Pair {
        protocol: Protocol::Udp,
        local: Some(([192, 0, 2, 1], 8080).into()),
        remote: ([198, 51, 100, 7], 50_123).into(),
    };
    let age = Duration::from_micros(8_123_400);
    let room = RoomName::parse("demo").unwrap();
    let head = Head { session: PublicId(2), room: &room, connected: true, age, pair: Some(pair), join };

    let explanation = head.with(Reason::Path, Some(Duration::from_micros(23_100)), Part::Viewer(part));

    assert_eq!(json(&explanation), golden(include_str!("../../../tests/golden/room/viewer.json")));
}

#[test]
fn a_publishers_explanation_is_the_one_that_the_sdk_reads() {
    let arriving = PublishedLayer {
        brief: LayerBrief {
            rid: Some("h".to_owned()),
            width: Some(640),
            height: Some(360),
            bitrate: 480_000,
        },
        codec: "VP8",
        fps: 29.9,
        active: true,
        wanted: true,
        loss_ratio: 0.0,
        jitter_ms: 1.2,
        last_pli_ms: Some(9_120.8),
        last_keyframe_ms: Some(411.9),
        why: Reason::Arrives.into(),
    };
    let missing = PublishedLayer {
        brief: LayerBrief { rid: Some("f".to_owned()), ..LayerBrief::default() },
        fps: 0.0,
        active: false,
        jitter_ms: 0.0,
        last_pli_ms: None,
        last_keyframe_ms: None,
        why: Reason::NeverSent.into(),
        ..arriving.clone()
    };
    let audio = Sound { codec: "opus", bitrate: 48_000, active: true, loss_ratio: 0.0, jitter_ms: 0.8 };
    let feedback =
        Feedback { packets_nacked: 12, recovered: 11, keyframe_requests: 3, transport_feedbacks: 91 };
    let part = PublisherExplanation { layers: vec![arriving, missing], audio: Some(audio), feedback };
    let room = RoomName::parse("demo").unwrap();
    let join = JoinSteps { http_ms: 2.8, ..JoinSteps::default() };
    let age = Duration::from_secs(20);
    let head = Head { session: PublicId(1), room: &room, connected: true, age, pair: None, join };

    let explanation = head.with(Reason::NeverSent, None, Part::Publisher(part));

    assert_eq!(json(&explanation), golden(include_str!("../../../tests/golden/room/publisher.json")));
}

#[test]
fn a_share_of_256ths_and_a_time_are_written_short() {
    assert_eq!([0, 1, 51, 255].map(ratio), [0.0, 0.004, 0.199, 0.996]);
    assert_eq!(millis(Duration::from_micros(23_149)), 23.1);
}

fn json(explanation: &Explanation) -> serde_json::Value {
    serde_json::to_value(explanation).unwrap()
}

fn golden(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}
