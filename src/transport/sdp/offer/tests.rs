use super::*;
use crate::ice::{Credentials, ENTROPY_LEN};
use crate::sdp::{AnswerConfig, OfferClass, answer_publish, answer_watch, host_candidates};
use rtp::negotiation::PublishedTrack;
use rtp::{Codec, Extension, Ssrc};

#[test]
fn the_plain_offer_of_these_tests_is_accepted() {
    let (answer, tracks) = publish(&offer(SENDING_AUDIO, SENDING_VIDEO)).unwrap();

    assert_eq!(tracks.len(), 2);
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn line_feeds_alone_are_accepted_as_line_ends() {
    assert!(publish(&offer(SENDING_AUDIO, SENDING_VIDEO).replace("\r\n", "\n")).is_ok());
}

#[test]
fn sizes_beyond_the_limits_are_refused_as_syntax() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    let too_long = plain.clone() + &"a=x\r\n".repeat(4_000);
    let line = "a=".to_owned() + &"x".repeat(limits::LINE_MAX) + "\r\n";
    let cases = [
        (too_long.clone(), OfferError::TooLarge { bytes: too_long.len(), max: 20_000 }),
        (plain.clone() + &"a=x\r\n".repeat(1_000), OfferError::TooManyLines { max: 1_000 }),
        (plain.clone() + &line, OfferError::LineTooLong { line: plain.lines().count() + 1, max: 2_048 }),
        (plain.clone() + &SENDING_VIDEO.repeat(7), OfferError::TooMany { what: "sections", max: 8 }),
        (plain.clone() + &candidates(31), OfferError::TooMany { what: "candidates in a section", max: 30 }),
        (
            plain.replace("SAVPF 96", &format!("SAVPF 96{}", " 97".repeat(64))),
            OfferError::TooMany { what: "payload types in a section", max: 64 },
        ),
        (
            plain.clone() + "a=simulcast:send 1;2;3;4;5;6;7;8;9\r\n",
            OfferError::TooMany { what: "simulcast layers", max: 8 },
        ),
    ];
    for (text, expected) in cases {
        let error = Offer::parse(&text).unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(error.class(), OfferClass::Syntax);
    }
    assert!(Offer::parse(&(plain + &candidates(30))).is_ok());
}

#[test]
fn tricks_with_line_ends_and_control_characters_are_refused_as_syntax() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    let tricks = [
        plain.replace("a=mid:1\r\n", "a=mid:1\ra=ice-lite\r\n"),
        plain.replace("a=mid:1\r\n", "a=mid:1\r\r\n"),
        plain.replace("a=mid:1", "a=mid:1\0"),
        plain.replace("a=mid:1", "a=mid:\u{1b}[31m1"),
        plain.replace("a=mid:1", "a=mid:1\u{85}a=ice-lite"),
        plain.replace("a=mid:1", "a=mid:1\u{7f}"),
    ];
    for text in tricks {
        let error = publish(&text).unwrap_err();
        assert!(matches!(error, OfferError::ControlCharacter { .. }), "{error}");
        assert_eq!(error.class(), OfferClass::Syntax);
    }
}

#[test]
fn names_that_could_break_an_answer_are_refused_as_syntax() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO) + "a=rid:q send\r\na=simulcast:send q\r\n";
    assert!(publish(&plain).is_ok());
    let long = "m".repeat(257);
    let cases = [
        ("a=mid:1", "a=mid:1 2".to_owned(), "mid"),
        ("a=mid:1", "a=mid:".to_owned(), "mid"),
        ("a=mid:1", "a=mid:é".to_owned(), "mid"),
        ("a=mid:1", format!("a=mid:{long}"), "mid"),
        ("a=rid:q", format!("a=rid:{long}"), "rid"),
        ("a=rid:q", "a=rid:q;h".to_owned(), "rid"),
        ("a=rid:q send", "a=rid:q".to_owned(), "rid"),
        ("send q\r\n", "send q;;h\r\n".to_owned(), "simulcast"),
        ("send q\r\n", "send q;q\r\n".to_owned(), "rid"),
        ("a=fmtp:96 x=1", format!("a=fmtp:96 {long}"), "fmtp"),
        ("a=fmtp:96 x=1", "a=fmtp:96 x=é".to_owned(), "fmtp"),
        ("a=fmtp:96 x=1", "a=fmtp:96".to_owned(), "fmtp"),
        ("VP8/90000", "VP8".to_owned(), "rtpmap"),
        ("VP8/90000", "VP8/ninety".to_owned(), "rtpmap"),
        ("a=extmap:4 urn", "a=extmap:4/sideways urn".to_owned(), "extmap"),
        ("a=extmap:4 urn", "a=extmap:-4 urn".to_owned(), "extmap"),
        ("a=ssrc:77 ", "a=ssrc:4294967296 ".to_owned(), "ssrc"),
        ("FID 77 78", "FID 77 seventy-eight".to_owned(), "ssrc-group"),
    ];
    for (from, to, attribute) in cases {
        assert!(plain.contains(from), "{from}");
        let error = publish(&plain.replace(from, &to)).unwrap_err();
        assert_eq!(error, OfferError::Malformed { attribute }, "{to}");
        assert_eq!(error.class(), OfferClass::Syntax);
    }
}

#[test]
fn what_is_no_sdp_is_refused_as_syntax() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    for text in [
        String::new(),
        "\r\n".to_owned(),
        "{\"sdp\":\"v=0\"}".to_owned(),
        "v=1\r\n".to_owned() + &plain,
        "v=0".to_owned(),
        plain.replace("t=0 0\r\n", ""),
        plain.replace("m=video", "m=hologram"),
        plain.replace("m=video 9", "m=video 99999"),
        plain.replace("s=-", "what is this"),
        plain.replace("a=mid:1", "mid:1"),
    ] {
        let error = Offer::parse(&text).unwrap_err();
        assert_eq!(error.class(), OfferClass::Syntax, "{error}: {text}");
        assert!(error.to_string().len() < 300);
    }
    let twice = plain.replace("a=mid:1", "a=mid:0");
    assert_eq!(Offer::parse(&twice).unwrap_err(), OfferError::DuplicateMid);
}

#[test]
fn offers_that_lack_what_we_need_are_refused_as_unsupported() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    let weak = format!("a=fingerprint:sha-1 {}", vec!["AB"; 20].join(":"));
    let cases = [
        (without(&plain, "a=fingerprint"), OfferError::MissingFingerprint),
        (plain.replace(FINGERPRINT, &weak), OfferError::WeakFingerprint),
        (plain.replace(FINGERPRINT, "a=fingerprint:sha-256 AB:CD"), OfferError::WeakFingerprint),
        (without(&plain, "a=ice-ufrag"), OfferError::MissingIce),
        (without(&plain, "a=ice-pwd"), OfferError::MissingIce),
        (plain.replace("a=ice-pwd:", "a=ice-pwd:short\r\na=was:"), OfferError::MissingIce),
        (without(&plain, "a=group"), OfferError::NotBundled),
        (plain.replace("BUNDLE 0 1", "BUNDLE 0"), OfferError::NotBundled),
        (plain.replace("BUNDLE 0 1", "BUNDLE 0 1 2"), OfferError::NotBundled),
        (plain.replace("BUNDLE 0 1", "LS 0 1"), OfferError::NotBundled),
        (without(&plain, "a=rtcp-mux"), OfferError::MissingRtcpMux),
        (plain.replace("a=setup:actpass", "a=setup:holdconn"), OfferError::Setup),
        (plain.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), OfferError::Transport),
        (plain.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"), OfferError::Transport),
        (plain.replace("a=sendonly", "a=recvonly"), OfferError::NothingTo { verb: "send" }),
        (plain.replace("a=sendonly", "a=inactive"), OfferError::NothingTo { verb: "send" }),
        (
            plain.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0"),
            OfferError::NothingTo { verb: "send" },
        ),
        (offer(SENDING_VIDEO, SENDING_VIDEO), OfferError::TooManyTracks { kind: "video" }),
        (plain.clone() + "a=simulcast:send 1;2;3;4;5\r\n", OfferError::TooManyLayers { layers: 5, max: 4 }),
    ];
    for (text, expected) in cases {
        let error = publish(&text).unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(error.class(), OfferClass::Unsupported);
    }
}

#[test]
fn a_section_without_a_codec_of_ours_refuses_the_whole_offer() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    for (from, to, kind) in [
        ("VP8/90000", "theora/90000", "video"),
        ("VP8/90000", "VP8/48000", "video"),
        ("VP8/90000", "red/90000", "video"),
        ("opus/48000/2", "PCMU/8000", "audio"),
        ("opus/48000/2", "opus/48000", "audio"),
        ("opus/48000/2", "VP8/90000", "audio"),
    ] {
        let error = publish(&plain.replace(from, to)).unwrap_err();
        assert_eq!(error, OfferError::NoUsableCodec { kind }, "{to}");
        assert_eq!(error.class(), OfferClass::Codec);
    }
}

#[test]
fn every_offered_section_is_answered_in_its_place() {
    let sections = [
        SENDING_AUDIO,
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\n",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sctp-port:5000\r\n",
        "m=text 0 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n",
        "m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
    ];
    let mut text = offer_head(&["a", "b", "c", "d", "f"]);
    for (section, mid) in sections.iter().zip(["a", "b", "c", "d", "e", "f"]) {
        text += &with_mid(section, mid);
    }

    let (answer, tracks) = publish(&text).unwrap();

    let sections: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        sections,
        [
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "m=audio 9 UDP/TLS/RTP/SAVPF 0",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=text 0 UDP/TLS/RTP/SAVPF 98",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
        ]
    );
    let directions: Vec<&str> =
        answer.lines().filter(|line| ["a=recvonly", "a=inactive"].contains(line)).collect();
    assert_eq!(directions, ["a=recvonly", "a=inactive", "a=inactive", "a=inactive", "a=recvonly"]);
    assert!(answer.contains("a=group:BUNDLE a b c d f\r\n"));
    assert_eq!(tracks.iter().map(|track| track.mid.as_str()).collect::<Vec<_>>(), ["a", "f"]);
}

#[test]
fn a_single_section_needs_neither_group_nor_mid() {
    let text = without(&offer_head(&[]), "a=group") + &without(&with_mid(SENDING_VIDEO, "0"), "a=mid");

    let (answer, tracks) = publish(&text).unwrap();

    assert!(!answer.contains("a=mid") && !answer.contains("a=group"));
    assert_eq!(tracks.len(), 1);
}

#[test]
fn attributes_of_the_session_count_where_the_section_has_none() {
    let transport = format!("a=ice-ufrag:them\r\na=ice-pwd:{PWD}\r\n{FINGERPRINT}\r\na=setup:passive\r\n");
    let bare = |section: &str| {
        ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"]
            .iter()
            .fold(section.to_owned(), |text, key| without(&text, key))
    };
    let text = offer_head(&["0", "1"])
        + &transport
        + &with_mid(&bare(SENDING_AUDIO), "0")
        + &with_mid(&bare(SENDING_VIDEO), "1");

    let offer = Offer::parse(&text).unwrap();

    assert_eq!((offer.ice_ufrag(), offer.ice_pwd(), offer.role()), ("them", PWD, Role::Client));
    assert_eq!(offer.first_mid(), Some("0"));
}

#[test]
fn layers_are_read_in_their_order_with_alternatives_and_pauses() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    for (lines, rids) in [
        ("a=rid:f send\r\na=rid:h send\r\na=rid:q send\r\na=simulcast:send q;h;f\r\n", vec!["q", "h", "f"]),
        ("a=simulcast:send 1,2;~3;4\r\n", vec!["1", "3", "4"]),
        ("a=simulcast:recv x send low-1;high_2\r\n", vec!["low-1", "high_2"]),
        ("a=simulcast: send rid=a;b\r\n", vec!["a", "b"]),
        ("a=rid:only send pt=96;max-width=1280\r\n", vec!["only"]),
        ("a=rid:theirs recv\r\n", vec![]),
        ("", vec![]),
    ] {
        let (answer, tracks) = publish(&(plain.clone() + lines)).unwrap();

        assert_eq!(tracks[1].rids, rids, "{lines}");
        let simulcast = format!("a=simulcast:recv {}\r\n", rids.join(";"));
        assert_eq!(answer.contains(&simulcast), !rids.is_empty(), "{lines}");
        for rid in rids {
            assert!(answer.contains(&format!("a=rid:{rid} recv\r\n")), "{lines}");
        }
    }
}

#[test]
fn sources_are_paired_and_bounded() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO);
    let crowd: String = (100..200).map(|ssrc| format!("a=ssrc:{ssrc} cname:x\r\n")).collect();
    let layers = "a=ssrc-group:SIM 1 2 3\r\na=ssrc-group:FID 1 11\r\na=ssrc-group:FID 3 13\r\n";
    let pairs = |lines: &str| -> Vec<(u32, Option<u32>)> {
        let (_, tracks) = publish(&(without(&plain, "a=ssrc") + lines)).unwrap();
        tracks[1].ssrcs.iter().map(|pair| (pair.media.0, pair.rtx.map(|rtx| rtx.0))).collect()
    };

    assert_eq!(pairs(layers), [(1, Some(11)), (2, None), (3, Some(13))]);
    assert_eq!(pairs("a=ssrc:5 cname:x\r\n"), [(5, None)]);
    assert_eq!(pairs(&crowd).len(), limits::SOURCES_MAX);
}

#[test]
fn a_wildcard_gives_its_feedback_to_every_format() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO) + "a=rtcp-fb:* ccm fir\r\n";

    let (answer, tracks) = publish(&plain).unwrap();

    assert!(tracks[1].formats[0].fir);
    assert!(answer.contains("a=rtcp-fb:96 ccm fir\r\n"));
}

#[test]
fn the_transport_number_is_agreed_only_with_its_feedback() {
    let number = format!("a=extmap:3 {}\r\n", Extension::TransportCc.uri());
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO) + &number;

    let (with, tracks_with) =
        publish(&(plain.clone() + "a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 goog-remb\r\n")).unwrap();
    let (without, tracks_without) = publish(&(plain + "a=rtcp-fb:96 goog-remb\r\n")).unwrap();

    assert!(tracks_with[1].transport_cc && with.contains("96 transport-cc") && !with.contains("goog-remb"));
    assert!(
        !tracks_without[1].transport_cc
            && !without.contains("transport-wide")
            && without.contains("goog-remb")
    );
}

#[test]
fn feedback_by_source_is_accepted_of_a_viewer_without_the_transport_number() {
    for offered in ["a=rtcp-fb:* ack ccfb\r\n", "a=rtcp-fb:96 ack ccfb\r\n"] {
        let video = format!("{RECEIVING_VIDEO}a=rtcp-fb:96 goog-remb\r\n{offered}");

        let (answer, tracks) = watch(&offer(RECEIVING_AUDIO, &video)).unwrap();

        assert_eq!((tracks[0].ccfb, tracks[1].ccfb), (false, true), "{offered}");
        assert!(!tracks[1].transport_cc);
        assert_eq!(answer.matches("a=rtcp-fb:* ack ccfb\r\n").count(), 1, "{answer}");
        assert!(!answer.contains("goog-remb"), "one kind of feedback is enough: {answer}");
    }
}

#[test]
fn the_transport_number_is_preferred_to_feedback_by_source_in_the_whole_session() {
    let number = format!("a=extmap:3 {}\r\na=rtcp-fb:96 transport-cc\r\n", Extension::TransportCc.uri());
    let audio = format!("{RECEIVING_AUDIO}a=rtcp-fb:111 ack ccfb\r\n");
    let video = format!("{RECEIVING_VIDEO}{number}a=rtcp-fb:* ack ccfb\r\n");

    let (answer, tracks) = watch(&offer(&audio, &video)).unwrap();

    assert!(tracks[1].transport_cc && answer.contains("a=rtcp-fb:96 transport-cc\r\n"));
    assert!(tracks.iter().all(|track| !track.ccfb) && !answer.contains("ccfb"), "{answer}");
}

#[test]
fn feedback_by_source_is_not_what_a_publisher_gets() {
    let (answer, _) = publish(&(offer(SENDING_AUDIO, SENDING_VIDEO) + "a=rtcp-fb:* ack ccfb\r\n")).unwrap();

    assert!(!answer.contains("ccfb"), "{answer}");
}

#[test]
fn identifiers_beyond_fourteen_need_mixed_headers() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO) + "a=extmap:20 urn:3gpp:video-orientation\r\n";
    let mixed = plain.replace("t=0 0\r\n", "t=0 0\r\na=extmap-allow-mixed\r\n");

    assert_eq!(publish(&plain).unwrap().1[1].extensions.id(Extension::VideoOrientation), None);
    let (answer, tracks) = publish(&mixed).unwrap();
    assert_eq!(tracks[1].extensions.id(Extension::VideoOrientation), Some(20));
    assert!(answer.contains("a=extmap-allow-mixed\r\n"));
}

#[test]
fn one_identifier_is_never_given_twice() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO) + "a=extmap:4 urn:3gpp:video-orientation\r\n";

    let (answer, tracks) = publish(&plain).unwrap();

    assert_eq!(tracks[1].extensions.extension(4), Some(Extension::Mid));
    assert!(!answer.contains("video-orientation"));
}

#[test]
fn parameter_sets_of_the_sender_are_not_repeated() {
    let sets = "packetization-mode=1;sprop-parameter-sets=".to_owned()
        + &"A".repeat(700)
        + ",BBBB;profile-level-id=42e01f";
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO).replace("VP8", "H264").replace("x=1", &sets);

    let (answer, tracks) = publish(&plain).unwrap();

    assert_eq!(tracks[1].formats[0].parameters, "packetization-mode=1;profile-level-id=42e01f");
    assert_eq!(tracks[1].formats[0].codec, Codec::H264);
    assert!(!answer.contains("sprop"));
}

#[test]
fn red_is_carried_only_over_opus() {
    let red = |parameters: &str| {
        let lines = format!("a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n{parameters}");
        let text = offer(SENDING_AUDIO, SENDING_VIDEO)
            .replace("SAVPF 111", "SAVPF 111 63")
            .replace("a=rtpmap:111 opus/48000/2\r\n", &lines);
        publish(&text).unwrap().1[0].formats.iter().any(|format| format.codec == Codec::Red)
    };

    assert!(red("a=fmtp:63 111/111\r\n"));
    assert!(!red("a=fmtp:63 111/0\r\n"));
    assert!(!red(""));
}

#[test]
fn a_viewer_may_offer_four_sections_and_gets_one_track_of_each_kind() {
    let receiving = SENDING_VIDEO.replace("a=sendonly", "a=recvonly");
    let sections = |count: usize| {
        let mids: Vec<String> = (0..count).map(|mid| mid.to_string()).collect();
        let mids: Vec<&str> = mids.iter().map(String::as_str).collect();
        offer_head(&mids) + &mids.iter().map(|mid| with_mid(&receiving, mid)).collect::<String>()
    };

    let (answer, tracks) = watch(&sections(4)).unwrap();

    assert_eq!(tracks.len(), 1);
    assert_eq!(answer.matches("a=sendonly\r\n").count(), 1);
    assert_eq!(answer.matches("a=inactive\r\n").count(), 3);
    assert_eq!(watch(&sections(5)).unwrap_err(), OfferError::TooMany { what: "sections", max: 4 });
    let sending = offer(SENDING_AUDIO, SENDING_VIDEO);
    assert_eq!(watch(&sending).unwrap_err(), OfferError::NothingTo { verb: "receive" });
}

#[test]
fn an_answer_that_would_be_too_long_is_refused() {
    let formats: String = (35..63).map(|number| format!(" {number}")).collect();
    let maps: String = (35..63)
        .map(|number| format!("a=rtpmap:{number} VP9/90000\r\na=fmtp:{number} {}\r\n", "p".repeat(250)))
        .collect();
    let one = SENDING_VIDEO.replace("SAVPF 96", &format!("SAVPF 96{formats}")) + &maps;
    let (answer, tracks) = publish(&offer(SENDING_AUDIO, &one)).unwrap();
    assert!(answer.len() <= super::super::ANSWER_MAX);
    assert_eq!(tracks[1].formats.len(), 20);

    let long_mids = ["0", "1", "2", "3", "4", "5"].map(|mid| mid.repeat(256));
    let mids: Vec<&str> = long_mids.iter().map(String::as_str).collect();
    let idle = one.replace("a=sendonly", "a=inactive");
    let mut text = offer_head(&mids[..2]) + &with_mid(&one, mids[0]) + &with_mid(&idle, mids[1]);
    assert!(text.len() < limits::TEXT_MAX, "{}", text.len());
    text = text.replace("SAVPF 111", "SAVPF 111 96");
    assert_eq!(publish(&text).unwrap_err(), OfferError::AnswerTooLarge { max: super::super::ANSWER_MAX });
}

#[test]
fn seed_every_attribute_line_cut_at_every_byte_is_survived() {
    let plain = offer(SENDING_AUDIO, SENDING_VIDEO) + "a=rid:q send\r\na=simulcast:send q\r\n";
    let mut cuts: usize = 0;
    for line in plain.lines().filter(|line| line.starts_with("a=")) {
        for end in 0..line.len() {
            let text =
                plain.replacen(&format!("{line}\r\n"), &format!("{}\r\n", line.get(..end).unwrap()), 1);
            if let Ok((answer, _)) = publish(&text) {
                assert!(answer.len() <= super::super::ANSWER_MAX);
            }
            cuts += 1;
        }
    }
    assert!(cuts > 500);
}

#[test]
fn a_viewer_that_measures_the_round_trip_is_told_that_we_answer() {
    let receiving =
        SENDING_VIDEO.replace("sendonly", "recvonly") + "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss\r\n";
    let silent = SENDING_AUDIO.replace("sendonly", "recvonly");

    let (answer, _) = watch(&offer(&receiving, &silent)).unwrap();

    assert_eq!(answer.matches("a=rtcp-xr:rcvr-rtt=all\r\n").count(), 1);
    assert!(!answer.contains("stat-summary"));
}

fn publish(text: &str) -> Result<(String, Vec<PublishedTrack>), OfferError> {
    answer_publish(&Offer::parse(text)?, &config())
}

fn watch(text: &str) -> Result<(String, Vec<rtp::negotiation::ViewedTrack>), OfferError> {
    answer_watch(&Offer::parse(text)?, &config(), &mut || Ssrc(7))
}

fn config() -> AnswerConfig {
    AnswerConfig {
        credentials: Credentials::from_entropy(&[1; ENTROPY_LEN]),
        fingerprint: Fingerprint::of(crate::dtls::HashAlgorithm::Sha256, b"certificate"),
        candidates: host_candidates(&["192.0.2.7:8080".parse().unwrap()], &[]),
        session_id: 7,
        cname: "cname".to_owned(),
    }
}

/// An offer of two sections with the mids 0 and 1.
fn offer(first: &str, second: &str) -> String {
    offer_head(&["0", "1"]) + &with_mid(first, "0") + &with_mid(second, "1")
}

fn offer_head(mids: &[&str]) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "))
}

/// Gives a section its transport and its mid.
fn with_mid(section: &str, mid: &str) -> String {
    let transport =
        format!("a=ice-ufrag:them\r\na=ice-pwd:{PWD}\r\n{FINGERPRINT}\r\na=setup:actpass\r\na=mid:{mid}\r\n");
    let bare = ["a=mid", "a=ice-", "a=fingerprint", "a=setup"]
        .iter()
        .fold(section.to_owned(), |text, key| without(&text, key));
    if section.contains("a=ice-ufrag") {
        return bare.replacen("c=IN IP4 0.0.0.0\r\n", &format!("c=IN IP4 0.0.0.0\r\n{transport}"), 1);
    }
    bare.replacen("c=IN IP4 0.0.0.0\r\n", &format!("c=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n"), 1)
}

fn without(text: &str, prefix: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(prefix)).collect()
}

fn candidates(count: usize) -> String {
    (0..count).map(|port| format!("a=candidate:1 1 udp 1 192.0.2.9 {port} typ host\r\n")).collect()
}

const PWD: &str = "themthemthemthemthemthem";
const FINGERPRINT: &str = "a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
    10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F";
const SENDING_AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\n\
    a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
const RECEIVING_AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\n\
    a=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
const RECEIVING_VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\n\
    a=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n";
const SENDING_VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:them\r\n\
    a=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 VP8/90000\r\na=fmtp:96 x=1\r\na=rtcp-fb:96 nack\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc-group:FID 77 78\r\na=ssrc:77 cname:c\r\n";

#[test]
fn an_offer_that_ends_in_the_middle_is_refused_with_a_whole_sentence() {
    let error = Offer::parse("v=0\r\n").unwrap_err();

    assert_eq!(error.to_string(), "the offer is not SDP: SdpInvalidSyntax");
}
