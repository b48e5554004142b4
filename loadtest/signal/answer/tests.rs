use super::*;

const FINGERPRINT: &str =
    "sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F";

fn answer(session: &str, video: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{session}\
         m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 106 107 96 97\r\na=mid:1\r\n{video}\
         a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=rtcp-fb:106 nack pli\r\na=rtcp-fb:106 transport-cc\r\n\
         a=fmtp:106 packetization-mode=1\r\na=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
         a=extmap:3/sendonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\na=ssrc:9 cname:x\r\n"
    )
}

fn transport() -> String {
    format!("a=ice-ufrag:uuuu\r\na=ice-pwd:pppp\r\na=fingerprint:{FINGERPRINT}\r\na=setup:passive\r\n")
}

#[test]
fn what_was_agreed_for_a_track_is_read() {
    let sdp = answer("a=ice-lite\r\n", &transport());

    let answer = Answer::parse(&sdp).unwrap();

    assert!(answer.ice_lite);
    assert_eq!((answer.ufrag.as_str(), answer.setup), ("uuuu", Setup::Passive));
    assert_eq!(answer.tracks.len(), 1, "the refused section is left out");
    let track = answer.track(MediaKind::Video).unwrap();
    assert_eq!((track.mid.as_str(), track.transport_cc), ("1", true));
    let (format, is_rtx) = track.format(PayloadType(107)).unwrap();
    assert_eq!((format.codec, is_rtx, format.nack, format.pli), (Codec::H264, true, true, true));
    assert_eq!(track.format(PayloadType(96)).unwrap().0.codec, Codec::Vp8);
    assert_eq!(track.format(PayloadType(98)), None);
    assert_eq!(
        track.ssrcs,
        [SsrcPair { media: Ssrc(7), rtx: Some(Ssrc(8)) }, SsrcPair { media: Ssrc(9), rtx: None }]
    );
}

#[test]
fn the_transport_may_stand_in_the_session_part() {
    let session = transport().replace("passive", "active");

    let answer = Answer::parse(&answer(&session, "")).unwrap();

    assert_eq!((answer.pwd.as_str(), answer.setup), ("pppp", Setup::Active));
    assert!(!answer.ice_lite);
}

#[test]
fn only_udp_candidates_with_addresses_count_best_first_and_once() {
    let candidates = "a=candidate:1 1 udp 100 10.0.0.1 5000 typ host\r\n\
        a=candidate:2 1 UDP 200 10.0.0.2 5000 typ host\r\na=candidate:2 1 udp 200 10.0.0.2 5000 typ host\r\n\
        a=candidate:3 1 tcp 300 10.0.0.3 5000 typ host tcptype passive\r\n\
        a=candidate:4 2 udp 300 10.0.0.4 5000 typ host\r\na=candidate:5 1 udp 50 abc.local 5000 typ host\r\n\
        a=candidate:6 1 udp 40 ::1 5000 typ host\r\n";
    let sdp = answer("", &(transport() + candidates));

    let mut answer = Answer::parse(&sdp).unwrap();
    let all = answer.candidates.clone();
    answer.keep_reachable(SocketAddr::from(([0, 0, 0, 0], 1)));

    let expected: Vec<SocketAddr> = ["10.0.0.2:5000", "10.0.0.1:5000", "[::1]:5000"]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    assert_eq!(all, expected);
    assert_eq!(answer.candidates, expected[..2]);
}

#[test]
fn an_answer_without_what_a_session_needs_says_what() {
    let complete = answer("", &transport());

    for (line, error) in [
        ("a=ice-pwd:pppp\r\n", AnswerError::Credentials),
        ("a=ice-ufrag:uuuu\r\n", AnswerError::Credentials),
        (&format!("a=fingerprint:{FINGERPRINT}\r\n"), AnswerError::Fingerprint),
    ] {
        assert_eq!(Answer::parse(&complete.replace(line, "")), Err(error), "{line}");
    }
    assert_eq!(Answer::parse(&complete.replace("m=video 9", "m=video 0")), Err(AnswerError::NothingAccepted));
    assert_eq!(Answer::parse(""), Err(AnswerError::Credentials));
}

#[test]
fn the_layers_that_a_server_takes_are_read() {
    let rids = "a=rid:q recv\r\na=rid:h recv\r\na=simulcast:recv q;h\r\n";

    let answer = Answer::parse(&answer("", &(transport() + rids))).unwrap();

    assert_eq!(answer.tracks[0].rids, ["q", "h"]);
}
