//! SDP fragments of trickle ICE and ICE restart (RFC 8840 §9, RFC 9725 §4.3).
//!
//! A fragment is no SDP: it has a few attribute lines and at most a mock `m=` line for each section. We read the
//! credentials, the first mid and the candidates that could be used as they stand.

use super::candidate::{Candidate, RemoteCandidate};
use super::limits::{self, CANDIDATES_MAX};
use crate::ice;
use thiserror::Error;

/// What a fragment says.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// The sender's user name fragment; with other credentials than before, this is an ICE restart.
    pub ufrag: Option<String>,
    /// The sender's password.
    pub pwd: Option<String>,
    /// The candidates that can be used without resolving a name; others are dropped silently.
    pub candidates: Vec<RemoteCandidate>,
    /// The first section's media identification.
    pub mid: Option<String>,
    /// Whether the sender says that no candidate follows.
    pub end_of_candidates: bool,
}

impl std::fmt::Debug for Fragment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = formatter.debug_struct("Fragment");
        fields.field("ufrag", &self.ufrag).field("mid", &self.mid);
        fields.field("candidates", &self.candidates.len()).finish_non_exhaustive()
    }
}

/// Why a fragment is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// It is longer than an offer may be.
    #[error("the fragment has {bytes} bytes, at most {max} are accepted")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A line is no `type=value` line, too long, or has a control character.
    #[error("line {line} is not an SDP line")]
    Line {
        /// The line's number, from one.
        line: usize,
    },
    /// It has more candidates than a session may have.
    #[error("the fragment has more than {max} candidates")]
    TooManyCandidates {
        /// The limit.
        max: usize,
    },
    /// An attribute cannot be understood.
    #[error("the attribute {attribute} is malformed")]
    Malformed {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// There is a user name fragment without a password, or the reverse.
    #[error("ice-ufrag and ice-pwd belong together")]
    HalfCredentials,
}

/// Reads a fragment.
///
/// # Errors
/// The first thing that is wrong. Attributes that we do not know are skipped.
pub fn parse(text: &str) -> Result<Fragment, FragmentError> {
    if text.len() > limits::TEXT_MAX {
        return Err(FragmentError::TooLarge { bytes: text.len(), max: limits::TEXT_MAX });
    }
    let mut fragment = Fragment::default();
    let mut candidates: usize = 0;
    for (place, line) in text.split_terminator('\n').enumerate() {
        let number = place.saturating_add(1);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let Some(attribute) = read_line(line, number)? else { continue };
        if attribute.starts_with("candidate:") {
            candidates = candidates.saturating_add(1);
        }
        if candidates > CANDIDATES_MAX {
            return Err(FragmentError::TooManyCandidates { max: CANDIDATES_MAX });
        }
        fragment.note(attribute)?;
    }
    if fragment.ufrag.is_some() != fragment.pwd.is_some() {
        return Err(FragmentError::HalfCredentials);
    }
    Ok(fragment)
}

/// Writes the fragment that answers an ICE restart: our new credentials and all candidates.
///
/// `mid` and `kind` (`audio`, `video` or `application`) name the first section of the session.
#[must_use]
pub fn render(credentials: &ice::Credentials, candidates: &[Candidate], mid: &str, kind: &str) -> String {
    let mut lines = vec![
        "a=ice-lite".to_owned(),
        format!("a=ice-ufrag:{}", credentials.ufrag),
        format!("a=ice-pwd:{}", credentials.pwd),
        format!("m={kind} 9 UDP/TLS/RTP/SAVPF 0"),
        format!("a=mid:{mid}"),
    ];
    lines.extend(candidates.iter().map(|candidate| format!("a=candidate:{candidate}")));
    lines.push("a=end-of-candidates".to_owned());
    lines.push(String::new());
    lines.join("\r\n")
}

impl Fragment {
    fn note(&mut self, attribute: &str) -> Result<(), FragmentError> {
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let checked =
            |attribute, valid| if valid { Ok(()) } else { Err(FragmentError::Malformed { attribute }) };
        match key {
            "ice-ufrag" => {
                checked("ice-ufrag", limits::is_ice_string(value, limits::UFRAG_MIN))?;
                self.ufrag.get_or_insert_with(|| value.to_owned());
            }
            "ice-pwd" => {
                checked("ice-pwd", limits::is_ice_string(value, limits::PWD_MIN))?;
                self.pwd.get_or_insert_with(|| value.to_owned());
            }
            "mid" => {
                checked("mid", limits::is_token(value))?;
                self.mid.get_or_insert_with(|| value.to_owned());
            }
            "candidate" => self.candidates.extend(RemoteCandidate::parse(value)),
            "end-of-candidates" => self.end_of_candidates = true,
            _ => {}
        }
        Ok(())
    }
}

/// Checks a line and returns its attribute, when it is one.
fn read_line(line: &str, number: usize) -> Result<Option<&str>, FragmentError> {
    let refused = FragmentError::Line { line: number };
    if number > limits::LINES_MAX || line.len() > limits::LINE_MAX || line.chars().any(char::is_control) {
        return Err(refused);
    }
    match line.split_once('=') {
        Some(("a", attribute)) => Ok(Some(attribute)),
        Some((kind, _)) if kind.len() == 1 => Ok(None),
        _ => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_a_trickle_are_read_and_names_dropped_silently() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n\
                    a=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
                    a=candidate:2 1 udp 2122260223 5f9d1e7e-2c1a.local 61765 typ host\r\na=end-of-candidates\r\n";

        let fragment = parse(text).unwrap();

        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.mid.as_deref(), Some("0"));
        assert_eq!(fragment.candidates.len(), 1);
        assert_eq!(fragment.candidates[0].address, "192.0.2.1:61764".parse().unwrap());
        assert!(fragment.end_of_candidates);
    }

    #[test]
    fn broken_fragments_are_refused_by_name() {
        let pwd = "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
        let candidate = "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n";
        let cases = [
            ("a=ice-ufrag:EsAw\r\n".to_owned(), FragmentError::HalfCredentials),
            (pwd.to_owned(), FragmentError::HalfCredentials),
            (format!("a=ice-ufrag:abc\r\n{pwd}"), FragmentError::Malformed { attribute: "ice-ufrag" }),
            ("a=mid:0\ra=mid:1\r\n".to_owned(), FragmentError::Line { line: 1 }),
            ("a=mid:0\r\nwhat is this\r\n".to_owned(), FragmentError::Line { line: 2 }),
            ("a=mid:a b\r\n".to_owned(), FragmentError::Malformed { attribute: "mid" }),
            (candidate.repeat(CANDIDATES_MAX + 1), FragmentError::TooManyCandidates { max: CANDIDATES_MAX }),
            ("a=x\r\n".repeat(1_001), FragmentError::Line { line: 1_001 }),
            ("a".repeat(20_001), FragmentError::TooLarge { bytes: 20_001, max: 20_000 }),
        ];
        for (text, error) in cases {
            assert_eq!(parse(&text), Err(error));
        }
    }

    #[test]
    fn our_own_restart_fragment_is_readable() {
        let credentials = ice::Credentials::from_entropy(&[7; ice::ENTROPY_LEN]);
        let candidates = super::super::host_candidates(&["192.0.2.7:8080".parse().unwrap()], &[]);

        let fragment = parse(&render(&credentials, &candidates, "1", "video")).unwrap();

        assert_eq!(fragment.ufrag.as_ref(), Some(&credentials.ufrag));
        assert_eq!(fragment.pwd.as_ref(), Some(&credentials.pwd));
        assert_eq!(fragment.candidates[0].address, candidates[0].address);
        assert_eq!(fragment.mid.as_deref(), Some("1"));
    }

    #[test]
    fn a_fragment_is_logged_without_its_password() {
        let fragment = Fragment { pwd: Some("P2uYro0UCOQ4zxjKXaWCBui1".to_owned()), ..Fragment::default() };

        assert!(!format!("{fragment:?}").contains("P2uYro"));
    }
}
