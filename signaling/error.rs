//! Problem details (RFC 9457): the one place where a refusal becomes an HTTP status.
//!
//! A handler returns a [`Problem`]; it travels as an extension of an empty response until [`render`], the
//! middleware around all routes, writes it as `application/problem+json` with the request's id. The same
//! middleware gives a body to the refusals that the router makes itself (404, 405, …). Invariant: no error leaves
//! without a `code` from [`Code`], a `title` that says what was wrong with this request, and a `hint` that says
//! what to do.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;
use node::{JoinError, OfferClass, OfferError, SessionError};
use serde::Serialize;

use crate::request_id::RequestId;

/// A refusal, on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    title: String,
    retry_after_s: Option<u32>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Makes a refusal; `title` says what was wrong with this one request, in lower case.
    pub fn new(code: Code, title: impl Into<String>) -> Self {
        Self { code, title: title.into(), retry_after_s: code.retry_after_s(), headers: Vec::new() }
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Asks the client to wait so many seconds.
    #[must_use]
    pub const fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Returns what went wrong.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    fn body(&self, status: StatusCode, request_id: &str) -> String {
        let code = self.code.as_str();
        let body = Body9457 {
            r#type: format!("/errors/{code}"),
            title: &self.title,
            status: status.as_u16(),
            code,
            hint: self.code.hint(),
            reason: self.code.reason(),
            retry_after_s: self.retry_after_s,
            request_id,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = self.code.status().into_response();
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        let code = match &error {
            JoinError::RoomNotFound { .. } => Code::RoomNotFound,
            JoinError::Offline { .. } => Code::StreamOffline,
            JoinError::Conflict { .. } => Code::StreamConflict,
            JoinError::Offer(offer) => offer_code(offer),
            JoinError::Overloaded(_) => Code::Overloaded,
            JoinError::Draining => Code::Draining,
            JoinError::NoRandomness => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let code = match &error {
            SessionError::NotFound => Code::SessionNotFound,
            SessionError::Unauthenticated => Code::AuthMissing,
            SessionError::Denied => Code::AuthDenied,
            SessionError::StaleEtag { .. } => Code::StaleEtag,
            SessionError::Fragment(_) => Code::FragmentSyntax,
            SessionError::WrongRole(_) => Code::NoLayer,
            SessionError::NoRandomness => Code::Internal,
            SessionError::Busy => return Self::new(Code::Overloaded, error.to_string()).with_retry_after(1),
        };
        Self::new(code, error.to_string())
    }
}

const fn offer_code(error: &OfferError) -> Code {
    match error.class() {
        OfferClass::Syntax => Code::OfferSyntax,
        OfferClass::Codec => Code::MediaCodec,
        OfferClass::Unsupported => Code::OfferUnsupported,
    }
}

#[derive(Serialize)]
struct Body9457<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'static str,
    hint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
    request_id: &'a str,
}

/// Gives every refusal its body; the outermost layer but for CORS.
pub(crate) async fn render(request: Request, next: Next) -> Response<Body> {
    let head = request.method() == Method::HEAD;
    let what = format!("{} {}", request.method(), request.uri().path());
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| of_router(status, &what));
    tracing::debug!(
        code = problem.code.as_str(),
        status = status.as_u16(),
        request_id = id.as_str(),
        "request was refused"
    );
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_OF_PROBLEMS));
    response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    let body = problem.body(status, id.as_str());
    *response.body_mut() = if head { Body::empty() } else { Body::from(body) };
    response
}

/// Names a refusal that the router, not a handler, made.
fn of_router(status: StatusCode, what: &str) -> Problem {
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::Method,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::MediaType,
        StatusCode::REQUEST_TIMEOUT => Code::Timeout,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        status if status.is_server_error() => Code::Internal,
        _ => Code::Syntax,
    };
    let title = match code {
        Code::NotFound => format!("nothing answers to {what}"),
        Code::Method => format!("{what} is not possible"),
        _ => format!("{what} was refused"),
    };
    Problem::new(code, title)
}

/// Everything that can be wrong, by the stable word that programs act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The offer is not SDP, or breaks a limit.
    OfferSyntax,
    /// The offer is SDP that this server does not answer.
    OfferUnsupported,
    /// No codec in common.
    MediaCodec,
    /// The request, as HTTP or JSON, cannot be read.
    Syntax,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    Method,
    /// The body did not come in time.
    Timeout,
    /// The body is too large.
    TooLarge,
    /// The header is too large.
    HeaderTooLarge,
    /// The body has the wrong type.
    MediaType,
    /// The session was created with a bearer, the request has none.
    AuthMissing,
    /// The bearer is not the session's.
    AuthDenied,
    /// The caller is not an administrator.
    AdminOnly,
    /// No such room.
    RoomNotFound,
    /// No such session, or it has ended.
    SessionNotFound,
    /// Somebody else publishes into the room.
    StreamConflict,
    /// Nobody publishes into the room.
    StreamOffline,
    /// The entity tag is of an earlier ICE generation.
    StaleEtag,
    /// The PATCH names no entity tag.
    MissingEtag,
    /// The SDP fragment cannot be read.
    FragmentSyntax,
    /// The session has no layer to choose.
    NoLayer,
    /// Too many requests from one address.
    RateLimited,
    /// The node is full.
    Overloaded,
    /// The node is shutting down.
    Draining,
    /// Our fault.
    Internal,
}

impl Code {
    /// All of them, for the documentation pages.
    pub const ALL: [Self; 25] = [
        Self::OfferSyntax,
        Self::OfferUnsupported,
        Self::MediaCodec,
        Self::Syntax,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::TooLarge,
        Self::HeaderTooLarge,
        Self::MediaType,
        Self::AuthMissing,
        Self::AuthDenied,
        Self::AdminOnly,
        Self::RoomNotFound,
        Self::SessionNotFound,
        Self::StreamConflict,
        Self::StreamOffline,
        Self::StaleEtag,
        Self::MissingEtag,
        Self::FragmentSyntax,
        Self::NoLayer,
        Self::RateLimited,
        Self::Overloaded,
        Self::Draining,
        Self::Internal,
    ];

    /// Returns the stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns the status it is sent with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// Returns what a developer can do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        self.row().2
    }

    /// How long a client should wait by default, where waiting helps.
    const fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::StreamConflict | Self::RateLimited => Some(1),
            Self::StreamOffline => Some(2),
            Self::Overloaded | Self::Draining => Some(15),
            _ => None,
        }
    }

    /// Why another path may serve the client better.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Overloaded => Some("capacity"),
            Self::Draining => Some("drain"),
            Self::MediaCodec => Some("codec"),
            _ => None,
        }
    }

    #[rustfmt::skip]
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::OfferSyntax => ("offer/syntax", S::BAD_REQUEST, "send the unchanged text of an SDP offer as the body"),
            Self::OfferUnsupported => ("offer/unsupported", S::UNPROCESSABLE_ENTITY, "offer one bundle with rtcp-mux over DTLS-SRTP, as browsers do with bundlePolicy max-bundle"),
            Self::MediaCodec => ("media/codec", S::UNPROCESSABLE_ENTITY, "offer Opus for audio, and H264, VP8, VP9, AV1 or H265 for video"),
            Self::Syntax => ("request/syntax", S::BAD_REQUEST, "see docs/protocol.md for what this path takes"),
            Self::NotFound => ("request/not-found", S::NOT_FOUND, "endpoints are /whip/{room} and /whep/{room}, pages /studio/{room} and /r/{room}"),
            Self::Method => ("request/method", S::METHOD_NOT_ALLOWED, "the Allow header names the methods of this path"),
            Self::Timeout => ("request/timeout", S::REQUEST_TIMEOUT, "send the whole body within 10 s"),
            Self::TooLarge => ("request/too-large", S::PAYLOAD_TOO_LARGE, "an SDP body may have 64 KiB"),
            Self::HeaderTooLarge => ("request/header-too-large", S::REQUEST_HEADER_FIELDS_TOO_LARGE, "all header lines together may have 16 KiB"),
            Self::MediaType => ("request/media-type", S::UNSUPPORTED_MEDIA_TYPE, "the Accept-Post or Accept-Patch header names the Content-Type"),
            Self::AuthMissing => ("auth/missing", S::UNAUTHORIZED, "send Authorization: Bearer with the token that created the session"),
            Self::AuthDenied => ("auth/denied", S::FORBIDDEN, "use the token that created the session"),
            Self::AdminOnly => ("auth/admin-only", S::FORBIDDEN, "ask on the server itself, by http://127.0.0.1 and not through a proxy"),
            Self::RoomNotFound => ("room/not-found", S::NOT_FOUND, "check the name: 1 to 64 of A-Z a-z 0-9 _ -; a room exists once somebody publishes into it"),
            Self::SessionNotFound => ("session/not-found", S::NOT_FOUND, "the session has ended; POST a new offer"),
            Self::StreamConflict => ("stream/conflict", S::CONFLICT, "retry: the room becomes free when its publisher leaves or falls silent for a second"),
            Self::StreamOffline => ("stream/offline", S::CONFLICT, "retry: the room is known, but nobody publishes at the moment"),
            Self::StaleEtag => ("ice/stale-etag", S::PRECONDITION_FAILED, "use the ETag of the latest 201 or 200, or restart ICE with If-Match: *"),
            Self::MissingEtag => ("ice/missing-etag", S::PRECONDITION_REQUIRED, "send If-Match with the session's ETag to trickle, or * to restart ICE"),
            Self::FragmentSyntax => ("ice/fragment", S::BAD_REQUEST, "send a=ice-ufrag, a=ice-pwd and a=candidate lines (RFC 8840)"),
            Self::NoLayer => ("session/no-layer", S::UNPROCESSABLE_ENTITY, "only a viewer's session chooses a layer"),
            Self::RateLimited => ("rate-limited", S::TOO_MANY_REQUESTS, "slow down: this address sends too many requests"),
            Self::Overloaded => ("server/overloaded", S::SERVICE_UNAVAILABLE, "retry later: this node is full"),
            Self::Draining => ("server/draining", S::SERVICE_UNAVAILABLE, "retry: this node is being restarted"),
            Self::Internal => ("server/internal", S::INTERNAL_SERVER_ERROR, "please report it with the request_id"),
        }
    }
}

const CONTENT_TYPE_OF_PROBLEMS: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_with_a_name_and_a_hint_of_its_own() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(!code.hint().is_empty(), "{code:?}");
        }
    }

    #[test]
    fn a_conflict_is_retried_after_one_second_and_silence_after_two() {
        let conflict = Problem::from(JoinError::Conflict { room: "demo".to_owned() }).into_response();
        let offline = Problem::from(JoinError::Offline { room: "demo".to_owned() }).into_response();

        assert_eq!((conflict.status(), retry_after(&conflict)), (StatusCode::CONFLICT, Some("1")));
        assert_eq!((offline.status(), retry_after(&offline)), (StatusCode::CONFLICT, Some("2")));
    }

    #[test]
    fn a_missing_bearer_is_asked_for_and_a_wrong_one_denied() {
        let missing = Problem::from(SessionError::Unauthenticated).into_response();
        let wrong = Problem::from(SessionError::Denied).into_response();

        assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(missing.headers().get(WWW_AUTHENTICATE).map(HeaderValue::as_bytes), Some(&b"Bearer"[..]));
        assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
        assert!(!wrong.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn the_body_has_the_members_that_clients_read() {
        let problem = Problem::new(Code::Overloaded, "the node is \"full\"");

        let body: serde_json::Value =
            serde_json::from_str(&problem.body(problem.code.status(), "r1")).unwrap();

        assert_eq!(
            body,
            serde_json::json!({
                "type": "/errors/server/overloaded",
                "title": "the node is \"full\"",
                "status": 503,
                "code": "server/overloaded",
                "hint": "retry later: this node is full",
                "reason": "capacity",
                "retry_after_s": 15,
                "request_id": "r1",
            })
        );
    }

    fn retry_after(response: &Response<Body>) -> Option<&str> {
        response.headers().get(RETRY_AFTER)?.to_str().ok()
    }
}
