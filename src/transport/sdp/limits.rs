//! What is checked of an offer before anything reads it, and every bound of this module.
//!
//! A text that passes these checks is short, has few and short lines, ends each of them with a line feed, and
//! holds no control character: the parser behind cannot be made to work long, and nothing copied from it into an
//! answer can begin a new line.

use super::OfferError;

/// The longest body that is looked at, in bytes.
pub const BODY_MAX: usize = 64 * 1024;
/// The longest offer, in bytes; a browser's has four to twelve thousand.
pub const TEXT_MAX: usize = 20_000;
/// The most lines of an offer.
pub const LINES_MAX: usize = 1_000;
/// The longest line, in bytes.
pub const LINE_MAX: usize = 2_048;
/// The longest string that we keep of an offer (names, formats' parameters), in bytes.
pub const STRING_MAX: usize = 256;
/// The most sections of a publisher's offer.
pub const PUBLISH_SECTIONS_MAX: usize = 8;
/// The most sections of a viewer's offer.
pub const WATCH_SECTIONS_MAX: usize = 4;
/// The most payload types of a section.
pub const FORMATS_MAX: usize = 64;
/// The most candidates of a section or a fragment; more mean a mistake, they are not used anyway.
pub const CANDIDATES_MAX: usize = 30;
/// The most simulcast layers that are read. Encoders send up to four and give up when one is refused.
pub const RIDS_MAX: usize = 8;
/// The most simulcast layers that are forwarded.
pub const LAYERS_MAX: usize = 4;
/// The most sources that a section may declare; more are ignored.
pub const SOURCES_MAX: usize = 12;
/// The shortest user name fragment (RFC 8839 §5.4).
pub const UFRAG_MIN: usize = 4;
/// The shortest ICE password (RFC 8839 §5.4).
pub const PWD_MIN: usize = 22;

/// Checks the size, the lines and the characters of an offer.
///
/// # Errors
/// The first limit that is passed.
pub(super) fn check_text(text: &str) -> Result<(), OfferError> {
    if text.len() > TEXT_MAX {
        return Err(OfferError::TooLarge { bytes: text.len(), max: TEXT_MAX });
    }
    for (place, line) in text.split_terminator('\n').enumerate() {
        let number = place.saturating_add(1);
        if number > LINES_MAX {
            return Err(OfferError::TooManyLines { max: LINES_MAX });
        }
        if line.len() > LINE_MAX {
            return Err(OfferError::LineTooLong { line: number, max: LINE_MAX });
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.chars().any(|character| character.is_control() && character != '\t') {
            return Err(OfferError::ControlCharacter { line: number });
        }
    }
    if !matches!(text.lines().next(), Some("v=0")) {
        return Err(OfferError::NotSdp);
    }
    Ok(())
}

/// Tells whether a value is a token of RFC 8866 §9 of an acceptable length: what a mid may be.
pub(super) fn is_token(value: &str) -> bool {
    let special = b"!#$%&'*+-.^_`{|}~";
    is_short(value) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || special.contains(&byte))
}

/// Tells whether a value may be a simulcast layer's name: RFC 8851 §10, and the hyphen and underscore of
/// RFC 8852 §3.
pub(super) fn is_rid(value: &str) -> bool {
    is_short(value) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Tells whether a value is printable ASCII of an acceptable length, blanks included.
pub(super) fn is_printable(value: &str) -> bool {
    value.len() <= STRING_MAX && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// Tells whether a value is made of `ice-char`s (RFC 8839 §5.4) and as long as it must be.
pub(super) fn is_ice_string(value: &str, shortest: usize) -> bool {
    let fits = (shortest..=STRING_MAX).contains(&value.len());
    // A few agents use base64url or hexadecimal with hyphens: what is no space does no harm.
    fits && value.bytes().all(|byte| byte.is_ascii_graphic())
}

const fn is_short(value: &str) -> bool {
    !value.is_empty() && value.len() <= STRING_MAX
}
