//! The answer to a publisher (WHIP, RFC 9725 §4.2): we receive.

use super::OfferError;
use super::answer::{Agreed, Answer, AnswerConfig, is_accepted, kind_name};
use super::limits::LAYERS_MAX;
use super::offer::Offer;
use super::section::{Content, Section};
use rtp::negotiation::PublishedTrack;
use rtp::{Extension, MediaKind};

/// Answers a publisher's offer: every codec that we forward, every simulcast layer, one track of each kind.
///
/// # Errors
/// When the offer cannot be accepted as a whole: nothing to send, two tracks of one kind, more layers than we
/// forward, a sending section without a codec of ours, or one that is not DTLS-SRTP.
pub fn answer_publish(
    offer: &Offer,
    config: &AnswerConfig,
) -> Result<(String, Vec<PublishedTrack>), OfferError> {
    let mut answer = Answer::begin(offer, config, false);
    let mut tracks: Vec<PublishedTrack> = Vec::new();
    for section in &offer.sections {
        match sent_kind(section) {
            Some(kind) => tracks.push(receive(&mut answer, offer, section, kind, &tracks)?),
            None => answer.unused(section),
        }
    }
    if tracks.is_empty() {
        return Err(OfferError::NothingTo { verb: "send" });
    }
    Ok((answer.finish()?, tracks))
}

/// Returns the kind of media that a section sends.
fn sent_kind(section: &Section) -> Option<MediaKind> {
    let Content::Media(kind) = section.content else { return None };
    (section.direction.sends && !section.rejected).then_some(kind)
}

fn receive(
    answer: &mut Answer<'_>,
    offer: &Offer,
    section: &Section,
    kind: MediaKind,
    tracks: &[PublishedTrack],
) -> Result<PublishedTrack, OfferError> {
    if !is_accepted(section) {
        return Err(OfferError::Transport);
    }
    if tracks.iter().any(|track| track.kind == kind) {
        return Err(OfferError::TooManyTracks { kind: kind_name(kind) });
    }
    if section.rids.len() > LAYERS_MAX {
        return Err(OfferError::TooManyLayers { layers: section.rids.len(), max: LAYERS_MAX });
    }
    let agreed = Agreed::find(section, offer, true)?;
    answer.media(section, &agreed, "recvonly");
    for rid in &section.rids {
        answer.line(format_args!("a=rid:{rid} recv"));
    }
    if !section.rids.is_empty() {
        answer.line(format_args!("a=simulcast:recv {}", section.rids.join(";")));
    }
    let extensions = agreed.to_map();
    Ok(PublishedTrack {
        mid: section.mid.clone().unwrap_or_default(),
        kind,
        formats: agreed.to_formats(),
        rids: section.rids.clone(),
        ssrcs: section.sources.clone(),
        transport_cc: extensions.id(Extension::TransportCc).is_some(),
        extensions,
        cname: section.cname.clone(),
    })
}
