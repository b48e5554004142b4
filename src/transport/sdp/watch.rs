//! The answer to a viewer (WHEP): we send one MediaStream with at most one track of each kind.

use super::OfferError;
use super::answer::{Agreed, Answer, AnswerConfig, MEDIA_STREAM, is_accepted, kind_name};
use super::limits::WATCH_SECTIONS_MAX;
use super::offer::Offer;
use super::section::{Content, Section};
use rtp::negotiation::ViewedTrack;
use rtp::{Extension, MediaKind, Ssrc};

/// Answers a viewer's offer: every codec of ours that the viewer offered, so that a publisher with another codec
/// is a change of payload type and not of the session.
///
/// `new_ssrc` gives the sources that we send with: non-zero, and each one new.
///
/// # Errors
/// When the offer cannot be accepted as a whole: too many sections, nothing to receive, a receiving section
/// without a codec of ours, or one that is not DTLS-SRTP.
pub fn answer_watch(
    offer: &Offer,
    config: &AnswerConfig,
    new_ssrc: &mut dyn FnMut() -> Ssrc,
) -> Result<(String, Vec<ViewedTrack>), OfferError> {
    if offer.sections.len() > WATCH_SECTIONS_MAX {
        return Err(OfferError::TooMany { what: "sections", max: WATCH_SECTIONS_MAX });
    }
    let mut answer = Answer::begin(offer, config, true);
    let mut tracks: Vec<ViewedTrack> = Vec::new();
    let all = agree(offer)?;
    // One kind of feedback leads a whole session, and transport-wide numbers are what browsers are tried with.
    let by_number = all.iter().flatten().any(|(_, agreed)| agreed.transport_cc);
    for (section, agreed) in offer.sections.iter().zip(all) {
        match agreed {
            Some((kind, mut agreed)) => {
                agreed.ccfb &= !by_number;
                let track = track(section, kind, &agreed, config, new_ssrc);
                answer.media(section, &agreed, "sendonly");
                if section.receiver_round_trip {
                    answer.line("a=rtcp-xr:rcvr-rtt=all");
                }
                describe_sources(&mut answer, &track);
                tracks.push(track);
            }
            None => answer.unused(section),
        }
    }
    if tracks.is_empty() {
        return Err(OfferError::NothingTo { verb: "receive" });
    }
    Ok((answer.finish()?, tracks))
}

/// Finds what each section that receives has in common with us.
fn agree(offer: &Offer) -> Result<Vec<Option<(MediaKind, Agreed<'_>)>>, OfferError> {
    let mut kinds: Vec<MediaKind> = Vec::new();
    let find = |section| {
        // A second section of a kind has nothing to carry: answered inactive.
        let Some(kind) = received_kind(section).filter(|kind| !kinds.contains(kind)) else { return Ok(None) };
        if !is_accepted(section) {
            return Err(OfferError::Transport);
        }
        kinds.push(kind);
        Ok(Some((kind, Agreed::find(section, offer, false)?)))
    };
    offer.sections.iter().map(find).collect()
}

/// Returns the kind of media that a section receives.
fn received_kind(section: &Section) -> Option<MediaKind> {
    let Content::Media(kind) = section.content else { return None };
    (section.direction.receives && !section.rejected).then_some(kind)
}

fn track(
    section: &Section,
    kind: MediaKind,
    agreed: &Agreed<'_>,
    config: &AnswerConfig,
    new_ssrc: &mut dyn FnMut() -> Ssrc,
) -> ViewedTrack {
    let formats = agreed.to_formats();
    let extensions = agreed.to_map();
    let retransmits = formats.iter().any(|format| format.rtx.is_some());
    ViewedTrack {
        mid: section.mid.clone().unwrap_or_default(),
        kind,
        ssrc: new_ssrc(),
        rtx_ssrc: retransmits.then(new_ssrc),
        transport_cc: extensions.id(Extension::TransportCc).is_some(),
        ccfb: agreed.ccfb,
        formats,
        extensions,
        cname: config.cname.clone(),
    }
}

/// Writes the MediaStream and the sources (RFC 8830, RFC 5576).
fn describe_sources(answer: &mut Answer<'_>, track: &ViewedTrack) {
    let name = kind_name(track.kind);
    answer.line(format_args!("a=msid:{MEDIA_STREAM} {name}"));
    let Ssrc(media) = track.ssrc;
    if let Some(Ssrc(rtx)) = track.rtx_ssrc {
        answer.line(format_args!("a=ssrc-group:FID {media} {rtx}"));
    }
    for Ssrc(ssrc) in [Some(track.ssrc), track.rtx_ssrc].into_iter().flatten() {
        answer.line(format_args!("a=ssrc:{ssrc} cname:{}", track.cname));
        answer.line(format_args!("a=ssrc:{ssrc} msid:{MEDIA_STREAM} {name}"));
    }
}
