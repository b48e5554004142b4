//! What holds for any input of a stranger's datagram or text. The fuzz targets run the same functions.

use rtp::{MonoTime, Ssrc};
use std::net::SocketAddr;
use transport::Path;
use transport::dtls::{Fingerprint, HashAlgorithm};
use transport::ice::{Credentials, ENTROPY_LEN, IceLite};
use transport::sdp::{self, ANSWER_MAX, AnswerConfig, Offer, OfferError, fragment, host_candidates, limits};
use transport::stun::{self, BindingRequest};

/// The session of the corpus: its checks are sealed with this password.
pub(crate) const UFRAG: &str = "OurUfrag";
const PWD: &str = "abcdefghijklmnopqrstuvwx";

/// A datagram that the demultiplexer took for STUN.
pub(crate) fn stun(datagram: &[u8]) {
    let path = Path::udp(0, SocketAddr::from(([203, 0, 113, 9], 50_000)));
    let credentials = Credentials { ufrag: UFRAG.to_owned(), pwd: PWD.to_owned() };
    let mut ice = IceLite::new(credentials, MonoTime::ZERO);

    let answered = ice.handle_stun(MonoTime::ZERO, path, datagram);

    let request = BindingRequest::parse(datagram);
    let is_right = request.is_ok_and(|request| request.local_ufrag() == UFRAG && request.verify(PWD).is_ok());
    assert_eq!(answered.is_ok(), is_right);
    assert_eq!(ice.is_validated(&path), is_right);
    assert_eq!(stun::username(datagram).is_some(), request.is_ok());
    match answered {
        Ok(response) => assert!(response.as_bytes().len() <= datagram.len().max(76)),
        Err(_) => assert_eq!(ice.selected(), None),
    }
}

/// The body of a POST.
pub(crate) fn sdp(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    let Ok(offer) = Offer::parse(text) else { return };
    assert!(text.len() <= limits::TEXT_MAX);
    assert!(offer.candidates().len() <= limits::CANDIDATES_MAX);
    let config = AnswerConfig {
        credentials: Credentials::from_entropy(&[1; ENTROPY_LEN]),
        fingerprint: Fingerprint::of(HashAlgorithm::Sha256, b"certificate"),
        candidates: host_candidates(&[SocketAddr::from(([192, 0, 2, 7], 8_080))], &[]),
        session_id: 7,
        cname: "cname".to_owned(),
    };
    let published = sdp::answer_publish(&offer, &config);
    if let Ok((_, tracks)) = &published {
        assert!((1..=2).contains(&tracks.len()));
        assert!(
            tracks.iter().all(|track| !track.formats.is_empty() && track.rids.len() <= limits::LAYERS_MAX)
        );
    }
    let mut last = 0;
    let mut sources = || {
        last += 1;
        Ssrc(last)
    };
    let watched = sdp::answer_watch(&offer, &config, &mut sources);
    if let Ok((_, tracks)) = &watched {
        assert!((1..=2).contains(&tracks.len()));
    }
    for answer in [published.map(|(answer, _)| answer), watched.map(|(answer, _)| answer)] {
        match answer {
            Ok(answer) => check_answer(&offer, &answer),
            Err(error) => assert!(error.to_string().len() < 300),
        }
    }
}

/// The body of a PATCH.
pub(crate) fn sdpfrag(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    let Ok(read) = fragment::parse(text) else { return };
    assert!(read.candidates.len() <= limits::CANDIDATES_MAX);
    assert_eq!(read.ufrag.is_some(), read.pwd.is_some());
    for kept in [read.ufrag, read.pwd, read.mid].into_iter().flatten() {
        assert!(kept.len() <= limits::STRING_MAX && !kept.contains(char::is_control));
    }
}

/// No offer can put a line of its own into an answer.
fn check_answer(offer: &Offer, answer: &str) {
    assert!(answer.len() <= ANSWER_MAX && answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"));
    let count = |prefix: &str| answer.lines().filter(|line| line.starts_with(prefix)).count();
    assert!(!answer.replace("\r\n", "").contains(char::is_control));
    assert_eq!(count("m="), offer.section_count());
    assert_eq!((count("v="), count("o="), count("t="), count("a=ice-lite")), (1, 1, 1, 1));
    assert!(count("a=candidate:") <= 1);
    let accepted = count("a=ice-ufrag:");
    assert!(accepted <= count("m="));
    assert_eq!((count("a=fingerprint:"), count("a=setup:")), (accepted, accepted));
    match Offer::parse(answer) {
        Ok(read) => assert_eq!(read.section_count(), offer.section_count()),
        // A section of the offer may have had no group to be in.
        Err(error) => assert_eq!(error, OfferError::NotBundled, "{answer}"),
    }
}
