//! The offers of real software and our answers to them, word for word.
//!
//! Every file of `tests/golden/offers` is answered; the answer must keep the rules that hold for all of them, and be
//! the one in `tests/golden/answers`. After an intended change run with `NEARCAST_BLESS=1` and read the difference.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end its process")]

use rtp::negotiation::{PublishedTrack, ViewedTrack};
use rtp::{Codec, Extension, MediaKind, PayloadType, Ssrc};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use transport::dtls::{Fingerprint, HashAlgorithm, Role};
use transport::ice::{Credentials, ENTROPY_LEN};
use transport::sdp::{self, ANSWER_MAX, AnswerConfig, Offer, host_candidates};

#[test]
fn every_offer_is_answered_by_the_rules_that_hold_for_all() {
    let offers = offers();
    assert!(offers.len() >= 15, "the test looks in the wrong place");
    for (name, text) in offers {
        let answer = answer(&name, &text);

        assert!(answer.starts_with("v=0\r\n"), "{name}");
        assert!(answer.len() <= ANSWER_MAX, "{name}: {} bytes", answer.len());
        assert!(answer.ends_with("\r\n") && !answer.replace("\r\n", "").contains(['\r', '\n']), "{name}");
        assert_eq!(lines(&answer, "a=group:"), lines(&text, "a=group:BUNDLE"), "{name}");
        assert_eq!(lines(&answer, "a=ice-lite").len(), 1, "{name}");
        assert_eq!(lines(&answer, "a=end-of-candidates").len(), 1, "{name}");
        let (asked, given) = (sections(&text), sections(&answer));
        assert_eq!(asked.len(), given.len(), "{name}");
        for (asked, given) in asked.iter().zip(&given) {
            check_section(&name, asked, given);
        }
        let first = given.first().unwrap();
        assert_eq!(lines(first, "a=candidate:").len(), 4, "{name}");
        let best = lines(first, "a=candidate:").into_iter().next().unwrap();
        assert_eq!(best, "a=candidate:1 1 udp 2130706431 192.0.2.7 8080 typ host", "{name}");
        assert!(!answer.contains(".local"), "{name}");
    }
}

#[test]
fn every_answer_is_the_one_that_was_read_and_kept() {
    let bless = std::env::var_os("NEARCAST_BLESS").is_some();
    for (name, text) in offers() {
        let answer = answer(&name, &text);
        let kept = golden("answers").join(format!("{name}.sdp"));
        if bless {
            fs::write(&kept, &answer).unwrap();
        }
        let kept = fs::read_to_string(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        assert_eq!(answer, kept, "{name}");
    }
}

#[test]
fn ffmpeg_without_audio_keeps_its_lonely_mid_and_gets_an_active_server() {
    let (answer, tracks) = publish("ffmpeg-publish-video-only");

    assert!(answer.contains("a=group:BUNDLE 1\r\n"));
    assert!(answer.contains("a=setup:active\r\n"));
    let [video] = tracks.as_slice() else { panic!("{tracks:?}") };
    assert_eq!((video.mid.as_str(), video.kind), ("1", MediaKind::Video));
    let [format] = video.formats.as_slice() else { panic!("{video:?}") };
    assert_eq!(
        (format.payload_type, format.codec, format.rtx),
        (PayloadType(106), Codec::H264, Some(PayloadType(105)))
    );
    assert_eq!((format.nack, format.pli, video.transport_cc), (true, false, false));
    assert_eq!(video.ssrcs.len(), 1);
    assert!(video.ssrcs.first().unwrap().rtx.is_some());
    assert_eq!(video.extensions.iter().count(), 0);
}

#[test]
fn our_role_follows_the_offer() {
    for (name, role, setup) in [
        ("ffmpeg-publish", Role::Client, "a=setup:active"),
        ("ffmpeg-publish-active", Role::Server, "a=setup:passive"),
        ("chromium-publish", Role::Server, "a=setup:passive"),
    ] {
        let text = read(name);
        assert_eq!(Offer::parse(&text).unwrap().role(), role, "{name}");
        assert!(answer(name, &text).contains(setup), "{name}");
    }
}

#[test]
fn chromium_keeps_every_codec_that_we_forward_in_its_order() {
    let (_, tracks) = publish("chromium-publish");
    let [audio, video] = tracks.as_slice() else { panic!("{tracks:?}") };

    let codecs: Vec<Codec> = video.formats.iter().map(|format| format.codec).collect();
    let h264 = [Codec::H264; 6];
    assert_eq!(codecs, [&[Codec::Vp8][..], &h264, &[Codec::Av1, Codec::Vp9, Codec::Vp9]].concat());
    assert!(
        video.formats.iter().all(|format| format.rtx.is_some() && format.nack && format.pli && format.fir)
    );
    assert_eq!(video.rids, ["q", "h", "f"]);
    assert!(video.transport_cc && audio.transport_cc);
    assert_eq!(video.extensions.id(Extension::RepairedRid), Some(11));
    assert_eq!(video.extensions.id(Extension::DependencyDescriptor), Some(12));
    let audio_codecs: Vec<Codec> = audio.formats.iter().map(|format| format.codec).collect();
    assert_eq!(audio_codecs, [Codec::Opus, Codec::Red]);
    assert_eq!(audio.formats.get(1).unwrap().parameters, "111/111");
}

#[test]
fn firefox_extensions_that_flow_the_other_way_are_left_out() {
    let (answer, tracks) = publish("firefox-publish");
    let video = tracks.iter().find(|track| track.kind == MediaKind::Video).unwrap();

    assert_eq!(video.extensions.id(Extension::PlayoutDelay), None);
    assert_eq!(video.extensions.id(Extension::Rid), Some(9));
    assert!(answer.contains("a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"));
    assert_eq!(video.rids, ["q", "h", "f"]);
    assert_eq!(video.ssrcs.len(), 3);
    assert!(video.ssrcs.iter().all(|pair| pair.rtx.is_some()));
    assert_eq!(Offer::parse(&read("firefox-publish")).unwrap().candidates(), []);
}

#[test]
fn obs_gets_all_of_its_layers_and_remb() {
    for (name, layers, codec) in [
        ("obs31-publish", 0, Codec::H264),
        ("obs32-publish-simulcast-3", 3, Codec::H264),
        ("obs32-publish-simulcast-4-h265", 4, Codec::H265),
    ] {
        let (answer, tracks) = publish(name);
        let video = tracks.iter().find(|track| track.kind == MediaKind::Video).unwrap();

        let rids: Vec<String> = (0..layers).map(|rid| rid.to_string()).collect();
        assert_eq!(video.rids, rids, "{name}");
        assert_eq!(answer.contains("a=simulcast:recv "), layers > 0, "{name}");
        assert!(video.formats.iter().any(|format| format.codec == codec), "{name}");
        assert!(answer.contains(" goog-remb\r\n") && !answer.contains("transport-cc"), "{name}");
    }
}

#[test]
fn a_browser_that_watches_gets_all_it_could_decode_and_its_own_sources() {
    let (answer, tracks) = watch("chromium-watch-data");
    let [video, audio] = tracks.as_slice() else { panic!("{tracks:?}") };

    for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        assert!(video.formats.iter().any(|format| format.codec == codec), "{codec:?}");
    }
    assert!(video.formats.iter().all(|format| format.rtx.is_some()));
    assert_eq!((video.ssrc, video.rtx_ssrc, audio.ssrc), (Ssrc(1_000), Some(Ssrc(1_001)), Ssrc(1_002)));
    assert_eq!(audio.rtx_ssrc, None);
    assert!(audio.formats.iter().any(|format| format.codec == Codec::Red));
    assert_eq!(video.extensions.id(Extension::Rid), None);
    assert!(answer.contains("a=msid:nearcast video\r\n") && answer.contains("a=msid:nearcast audio\r\n"));
    assert!(answer.contains("a=ssrc-group:FID 1000 1001\r\n"));
    assert!(Offer::parse(&read("chromium-watch-data")).unwrap().has_data_channel());
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    assert!(answer.contains(data) && answer.contains("a=sctp-port:5000\r\na=max-message-size:16384\r\n"));
}

#[test]
fn a_publisher_that_also_receives_is_only_received_from() {
    let (answer, tracks) = publish("aiortc-publish");

    assert_eq!(tracks.len(), 2);
    assert_eq!(answer.matches("a=recvonly\r\n").count(), 2);
}

fn check_section(name: &str, asked: &str, given: &str) {
    let (asked_m, given_m) = (words(asked), words(given));
    assert_eq!(asked_m.first(), given_m.first(), "{name}");
    assert_eq!(given_m.get(1), Some(&"9"), "{name}: no section is turned off");
    assert_eq!(asked_m.get(2), given_m.get(2), "{name}");
    assert_eq!(lines(asked, "a=mid:"), lines(given, "a=mid:"), "{name}");
    // The payload types of the answer are offered ones, in the offer's order but for retransmissions.
    let offered: Vec<&&str> = asked_m.iter().skip(3).collect();
    assert!(given_m.len() > 3 && given_m.iter().skip(3).all(|number| offered.contains(&number)), "{name}");
    for line in lines(given, "a=rtpmap:").iter().chain(&lines(given, "a=rtcp-fb:")) {
        assert!(lines(asked, line).contains(line), "{name}: {line} was not offered");
    }
    for line in lines(given, "a=extmap:") {
        let (id, uri) = line.split_once(' ').unwrap();
        let id = id.split('/').next().unwrap();
        let offered = |line: &&str| line.starts_with(id) && line.ends_with(uri);
        assert!(lines(asked, "a=extmap:").iter().any(offered), "{name}: {line} was not offered");
    }
    if given_m.first() != Some(&"m=application") {
        assert_eq!(lines(given, "a=rtcp-mux").len(), 1, "{name}");
        let direction = if name.contains("publish") { "a=recvonly" } else { "a=sendonly" };
        assert_eq!(lines(given, direction).len(), 1, "{name}");
    }
    for required in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ", "a=setup:"] {
        assert_eq!(lines(given, required).len(), 1, "{name}: {required}");
    }
    for rid in lines(asked, "a=rid:") {
        assert!(lines(given, "a=rid:").contains(&rid.replace(" send", " recv").as_str()), "{name}: {rid}");
    }
    let simulcast: Vec<String> =
        lines(asked, "a=simulcast:").iter().map(|line| line.replace(":send ", ":recv ")).collect();
    assert_eq!(lines(given, "a=simulcast:"), simulcast, "{name}");
}

fn answer(name: &str, text: &str) -> String {
    let offer = Offer::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let answer = if name.contains("publish") {
        sdp::answer_publish(&offer, &config()).map(|(answer, _)| answer)
    } else {
        sdp::answer_watch(&offer, &config(), &mut sources()).map(|(answer, _)| answer)
    };
    answer.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn publish(name: &str) -> (String, Vec<PublishedTrack>) {
    sdp::answer_publish(&Offer::parse(&read(name)).unwrap(), &config()).unwrap()
}

fn watch(name: &str) -> (String, Vec<ViewedTrack>) {
    sdp::answer_watch(&Offer::parse(&read(name)).unwrap(), &config(), &mut sources()).unwrap()
}

fn config() -> AnswerConfig {
    let addresses = ["192.0.2.7:8080".parse().unwrap(), "[2001:db8::7]:8080".parse().unwrap()];
    AnswerConfig {
        credentials: Credentials::from_entropy(&[42; ENTROPY_LEN]),
        fingerprint: Fingerprint::of(HashAlgorithm::Sha256, b"a certificate"),
        candidates: host_candidates(&addresses, &addresses),
        session_id: 1_234_567_890,
        cname: "nearcast-demo".to_owned(),
    }
}

fn sources() -> impl FnMut() -> Ssrc {
    let mut next = 1_000;
    move || {
        next += 1;
        Ssrc(next - 1)
    }
}

fn offers() -> BTreeMap<String, String> {
    let files = fs::read_dir(golden("offers")).unwrap().map(|entry| entry.unwrap().path());
    let offers = files.filter(|path| path.extension().is_some_and(|extension| extension == "sdp"));
    offers
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(golden("offers").join(format!("{name}.sdp"))).unwrap()
}

fn golden(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(folder)
}

fn sections(text: &str) -> Vec<&str> {
    let starts: Vec<usize> =
        text.match_indices("m=").filter(|(at, _)| is_line_start(text, *at)).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| text.get(start..end).unwrap()).collect()
}

fn is_line_start(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.ends_with('\n'))
}

fn lines<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(prefix)).collect()
}

fn words(section: &str) -> Vec<&str> {
    section.lines().next().unwrap().split(' ').collect()
}
