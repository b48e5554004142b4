//! What requests say in their header lines, read strictly, and what answers say in theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
};
use axum::http::uri::Authority;

use crate::error::{Code, Problem};

/// Names the types that POST takes (W3C Linked Data Platform; RFC 9725 §4.1).
pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// Names the types that PATCH takes (RFC 5789 §3.1).
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The type of offers and answers.
pub(crate) const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
/// The type of trickle fragments (RFC 8840).
pub(crate) const SDP_FRAGMENT: HeaderValue = HeaderValue::from_static("application/trickle-ice-sdpfrag");
/// The type of layer choices.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What `If-Match` asks for (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// `*`: an ICE restart (RFC 9725 §4.3.2).
    Any,
    /// Entity tags, without quotes.
    Tags(Vec<String>),
}

/// Reads `If-Match`; `None` when the request has none.
///
/// # Errors
/// When the value is neither `*` nor a list of entity tags. A weak tag is read and never matches.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let bad = || Problem::new(Code::Syntax, "If-Match is neither * nor a quoted entity tag");
    let text = value.to_str().map_err(|_| bad())?.trim();
    if text == "*" {
        return Ok(Some(IfMatch::Any));
    }
    let tags: Option<Vec<String>> = text.split(',').map(|tag| entity_tag(tag.trim())).collect();
    tags.map(|tags| Some(IfMatch::Tags(tags))).ok_or_else(bad)
}

/// Reads one entity tag. The quotes may be missing: some clients lose them. A weak tag keeps its prefix, so that it
/// equals none of ours (a strong comparison is asked for).
fn entity_tag(text: &str) -> Option<String> {
    if text.starts_with("W/") {
        return Some(text.to_owned());
    }
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let plain = !inner.is_empty() && inner.len() <= 64 && !inner.contains('"');
    plain.then(|| inner.to_owned())
}

/// Reads the bearer token. Another scheme counts as none: it may belong to a proxy in front.
///
/// # Errors
/// When the token is longer than 4 KiB or not of the characters of RFC 6750 §2.1.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let bad = || Problem::new(Code::AuthMissing, "the bearer token has characters that no token has");
    let text = value.to_str().map_err(|_| bad())?;
    let Some((scheme, token)) = text.split_once(' ') else { return Ok(None) };
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Ok(None);
    }
    let plain = token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then_some(Some(token)).ok_or_else(bad)
}

/// Checks the body's type, parameters aside.
///
/// # Errors
/// 415 that names `wanted`, in the header `accept` too.
pub(crate) fn content_type(
    headers: &HeaderMap,
    wanted: &HeaderValue,
    accept: HeaderName,
) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.map(|text| text.split(';').next().unwrap_or_default().trim());
    let wanted_text = wanted.to_str().unwrap_or_default();
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted_text)) {
        return Ok(());
    }
    let title = essence.map_or_else(
        || format!("the body has no Content-Type, {wanted_text} is wanted"),
        |essence| {
            format!("the body is {}, {wanted_text} is wanted", essence.chars().take(64).collect::<String>())
        },
    );
    Err(Problem::new(Code::MediaType, title).with_header(accept, wanted.clone()))
}

/// Says whether the client asked for JSON rather than a page.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let position = |text: &str, wanted: &str| text.find(wanted);
    accept.into_iter().any(|text| match (position(text, "application/json"), position(text, "text/html")) {
        (Some(json), Some(html)) => json < html,
        (json, _) => json.is_some(),
    })
}

/// Returns the address by which this request reached us: an IP literal, or loopback for `localhost` (of the family
/// that `remote` came by).
pub(crate) fn reached_at(request: &Request, remote: Option<IpAddr>) -> Option<IpAddr> {
    let authority = request.uri().authority().cloned().or_else(|| {
        let host = request.headers().get(HOST)?.to_str().ok()?;
        host.parse::<Authority>().ok()
    })?;
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        let six = matches!(remote, Some(IpAddr::V6(address)) if address == Ipv6Addr::LOCALHOST);
        return Some(if six { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
        .filter(|address| !address.is_unspecified())
}

/// Puts an entity tag into its quotes.
pub(crate) fn quoted(etag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\"")).ok()
}

const TOKEN_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())])
    }

    #[test]
    fn if_match_tells_a_restart_from_a_tag() {
        let read = |text: &str| if_match(&headers(IF_MATCH, text)).unwrap();

        assert_eq!(read("*"), Some(IfMatch::Any));
        assert_eq!(read("\"k3f9\""), Some(IfMatch::Tags(vec!["k3f9".to_owned()])));
        assert_eq!(read("k3f9"), Some(IfMatch::Tags(vec!["k3f9".to_owned()])));
        assert_eq!(read("\"a\", \"b\""), Some(IfMatch::Tags(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_weak_tag_matches_nothing_of_ours() {
        let read = if_match(&headers(IF_MATCH, "W/\"k3f9\"")).unwrap();

        assert_eq!(read, Some(IfMatch::Tags(vec!["W/\"k3f9\"".to_owned()])));
    }

    #[test]
    fn a_broken_if_match_is_a_bad_request() {
        for bad in ["", "\"", "\"a\"b\"", "\"a\",,\"b\"", "\"\""] {
            assert_eq!(if_match(&headers(IF_MATCH, bad)).unwrap_err().code(), Code::Syntax, "{bad}");
        }
    }

    #[test]
    fn bearer_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer(&headers(AUTHORIZATION, "bearer a.b-c~+/=")).unwrap(), Some("a.b-c~+/="));
        assert_eq!(bearer(&headers(AUTHORIZATION, "Basic YTpi")).unwrap(), None);
        assert_eq!(bearer(&headers(AUTHORIZATION, "Bearer ")).unwrap(), None);
        assert!(bearer(&headers(AUTHORIZATION, &format!("Bearer {}", "x".repeat(5000)))).is_err());
        assert!(bearer(&headers(AUTHORIZATION, "Bearer a b")).is_err());
    }

    #[test]
    fn content_type_may_have_parameters_and_any_case() {
        let check = |text: &str| content_type(&headers(CONTENT_TYPE, text), &SDP, ACCEPT_PATCH);

        assert!(check("Application/SDP; charset=utf-8").is_ok());
        assert_eq!(check("text/plain").unwrap_err().code(), Code::MediaType);
        assert!(content_type(&HeaderMap::new(), &SDP, ACCEPT_PATCH).is_err());
    }

    #[test]
    fn a_browser_that_opens_the_page_gets_html() {
        assert!(!wants_json(&headers(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")));
        assert!(wants_json(&headers(ACCEPT, "application/json")));
        assert!(wants_json(&headers(ACCEPT, "application/json, text/html;q=0.5")));
        assert!(!wants_json(&headers(ACCEPT, "*/*")));
    }

    #[test]
    fn host_gives_an_address_only_when_it_is_one() {
        let reached = |host: &str, remote: &str| {
            let request = Request::builder().header(HOST, host).body(axum::body::Body::empty()).unwrap();
            reached_at(&request, remote.parse().ok()).map(|address| address.to_string())
        };

        assert_eq!(reached("192.168.1.4:8080", "").as_deref(), Some("192.168.1.4"));
        assert_eq!(reached("[2001:db8::1]:8080", "").as_deref(), Some("2001:db8::1"));
        assert_eq!(reached("localhost:8080", "127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(reached("localhost", "::1").as_deref(), Some("::1"));
        assert_eq!(reached("localhost", "172.17.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(reached("live.example.com", ""), None);
        assert_eq!(reached("0.0.0.0:8080", ""), None);
    }
}
