//! Reading an offer: limits first, then the grammar, then what we understand of it.

use super::limits::{self, CANDIDATES_MAX, PUBLISH_SECTIONS_MAX};
use super::section::{Content, Section};
use super::{OfferError, RemoteCandidate};
use crate::dtls::{Fingerprint, Role};
use rtc_sdp::description::common::Attribute;
use rtc_sdp::{MediaDescription, SessionDescription};
use std::io::Cursor;

/// An offer that passed every check which does not depend on the endpoint.
#[derive(Clone, Debug)]
pub struct Offer {
    pub(super) sections: Vec<Section>,
    /// The mids of the BUNDLE group in its order; empty for a single section without a group.
    pub(super) bundle: Vec<String>,
    pub(super) extmap_allow_mixed: bool,
    ice_ufrag: String,
    ice_pwd: String,
    fingerprint: Fingerprint,
    role: Role,
    candidates: Vec<RemoteCandidate>,
}

impl Offer {
    /// Reads an offer. Costs one pass of the grammar over at most [`limits::TEXT_MAX`] bytes.
    ///
    /// # Errors
    /// The first thing that is wrong; its [class](OfferError::class) says which status that is.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        limits::check_text(text)?;
        let session = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|error| OfferError::Grammar { reason: excerpt(&error.to_string()) })?;
        let media = &session.media_descriptions;
        if media.len() > PUBLISH_SECTIONS_MAX {
            return Err(OfferError::TooMany { what: "sections", max: PUBLISH_SECTIONS_MAX });
        }
        let sections: Vec<Section> = media.iter().map(Section::read).collect::<Result<_, _>>()?;
        let bundle = read_bundle(&session.attributes, &sections)?;
        let transport = Transport::find(&session, &sections, &bundle)?;
        for section in sections.iter().filter(|section| !section.rejected) {
            if let (Content::Media(_), false) = (section.content, section.rtcp_mux) {
                return Err(OfferError::MissingRtcpMux);
            }
        }
        let allows_mixed = |attributes: &[Attribute]| has(attributes, "extmap-allow-mixed");
        Ok(Self {
            extmap_allow_mixed: allows_mixed(&session.attributes)
                || media.iter().any(|media| allows_mixed(&media.attributes)),
            sections,
            bundle,
            ice_ufrag: transport.ice_ufrag,
            ice_pwd: transport.ice_pwd,
            fingerprint: transport.fingerprint,
            role: transport.role,
            candidates: read_candidates(&session.attributes, media)?,
        })
    }

    /// Returns the other side's ICE user name fragment.
    #[must_use]
    pub fn ice_ufrag(&self) -> &str {
        &self.ice_ufrag
    }

    /// Returns the other side's ICE password; an ICE-lite agent sends no checks and needs it for nothing.
    #[must_use]
    pub fn ice_pwd(&self) -> &str {
        &self.ice_pwd
    }

    /// Returns the fingerprint that the other side's certificate must have.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Returns our side of the handshake: the server, unless the offer insists on `passive` (RFC 8842 §5.3).
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Tells whether the offer asks for data channels.
    #[must_use]
    pub fn has_data_channel(&self) -> bool {
        self.sections.iter().any(|section| section.content == Content::Data && !section.rejected)
    }

    /// Returns how many sections the offer has.
    #[must_use]
    pub const fn section_count(&self) -> usize {
        self.sections.len()
    }

    /// Returns the candidates that could be used without resolving a name; empty is normal.
    #[must_use]
    pub fn candidates(&self) -> &[RemoteCandidate] {
        &self.candidates
    }

    /// Returns the mid that transport attributes hang on: the first of the group.
    #[must_use]
    pub fn first_mid(&self) -> Option<&str> {
        self.bundle.first().map(String::as_str).or_else(|| self.sections.first()?.mid.as_deref())
    }
}

/// The transport of the bundle: from its first section, and from the session where that has none.
struct Transport {
    ice_ufrag: String,
    ice_pwd: String,
    fingerprint: Fingerprint,
    role: Role,
}

impl Transport {
    fn find(
        session: &SessionDescription,
        sections: &[Section],
        bundle: &[String],
    ) -> Result<Self, OfferError> {
        let place = match bundle.first() {
            Some(first) => sections.iter().position(|section| section.mid.as_ref() == Some(first)),
            None => sections.iter().position(|section| !section.rejected),
        };
        let tagged: &[Attribute] = place
            .and_then(|place| session.media_descriptions.get(place))
            .map_or(&[], |media| &media.attributes);
        let value = |key: &str| value(tagged, key).or_else(|| value(&session.attributes, key));
        let ice = |key, shortest| value(key).filter(|text| limits::is_ice_string(text, shortest));
        let (Some(ufrag), Some(pwd)) = (ice("ice-ufrag", limits::UFRAG_MIN), ice("ice-pwd", limits::PWD_MIN))
        else {
            return Err(OfferError::MissingIce);
        };
        let role = match value("setup") {
            Some("actpass" | "active") | None => Role::Server,
            Some("passive") => Role::Client,
            Some(_) => return Err(OfferError::Setup),
        };
        let fingerprint = read_fingerprint(tagged).or_else(|missing| match missing {
            OfferError::MissingFingerprint => read_fingerprint(&session.attributes),
            other => Err(other),
        })?;
        Ok(Self { ice_ufrag: ufrag.to_owned(), ice_pwd: pwd.to_owned(), fingerprint, role })
    }
}

/// Takes the first fingerprint that is strong enough (RFC 8122 §5 lets an offer carry several).
fn read_fingerprint(attributes: &[Attribute]) -> Result<Fingerprint, OfferError> {
    let mut problem = OfferError::MissingFingerprint;
    for attribute in attributes.iter().filter(|attribute| attribute.key == "fingerprint") {
        let words = attribute.value.as_deref().unwrap_or_default().trim().split_once(' ');
        match words.and_then(|(algorithm, hex)| Fingerprint::parse(algorithm, hex.trim())) {
            Some(fingerprint) => return Ok(fingerprint),
            None => problem = OfferError::WeakFingerprint,
        }
    }
    Err(problem)
}

/// Reads the BUNDLE group, and refuses sections outside it (RFC 9143 §7.2: we have one transport).
fn read_bundle(session: &[Attribute], sections: &[Section]) -> Result<Vec<String>, OfferError> {
    let mids: Vec<&str> = sections.iter().filter_map(|section| section.mid.as_deref()).collect();
    let distinct: std::collections::BTreeSet<&str> = mids.iter().copied().collect();
    if distinct.len() != mids.len() {
        return Err(OfferError::DuplicateMid);
    }
    let groups = session.iter().filter(|attribute| attribute.key == "group");
    let mut bundles = groups.filter_map(|group| group.value.as_deref()?.strip_prefix("BUNDLE"));
    let bundle: Vec<String> =
        bundles.next().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
    let live: Vec<&Section> = sections.iter().filter(|section| !section.rejected).collect();
    if bundle.is_empty() {
        return if live.len() > 1 { Err(OfferError::NotBundled) } else { Ok(bundle) };
    }
    let grouped = |section: &&Section| section.mid.as_ref().is_some_and(|mid| bundle.contains(mid));
    let known = |mid: &String| distinct.contains(mid.as_str());
    if live.iter().all(grouped) && bundle.iter().all(known) {
        Ok(bundle)
    } else {
        Err(OfferError::NotBundled)
    }
}

/// Reads the candidates of each section, and keeps as many as one section may have: a browser without bundling
/// repeats them in every section and for both components.
fn read_candidates(
    session: &[Attribute],
    media: &[MediaDescription],
) -> Result<Vec<RemoteCandidate>, OfferError> {
    let mut candidates = Vec::new();
    for attributes in std::iter::once(session).chain(media.iter().map(|media| media.attributes.as_slice())) {
        let values = attributes.iter().filter(|attribute| attribute.key == "candidate");
        let values = values.filter_map(|attribute| attribute.value.as_deref());
        let of_rtp = values.filter(|value| value.split_ascii_whitespace().nth(1) != Some("2"));
        for (place, value) in of_rtp.enumerate() {
            if place >= CANDIDATES_MAX {
                return Err(OfferError::TooMany { what: "candidates in a section", max: CANDIDATES_MAX });
            }
            candidates.extend(RemoteCandidate::parse(value).filter(|_| candidates.len() < CANDIDATES_MAX));
        }
    }
    Ok(candidates)
}

fn value<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_deref()
}

fn has(attributes: &[Attribute], key: &str) -> bool {
    attributes.iter().any(|attribute| attribute.key == key)
}

/// Shortens and cleans what the parser says: it quotes the offer.
fn excerpt(reason: &str) -> String {
    // At the text's end the parser's reason ends in an empty quotation of it.
    let reason = reason.trim_end_matches([':', ' ']);
    reason.chars().filter(|character| !character.is_control()).take(EXCERPT_MAX).collect()
}

const EXCERPT_MAX: usize = 128;

#[cfg(test)]
mod tests;
