//! The name of one request, in its answer and in the log.
//!
//! A proxy in front may have named the request already (`x-request-id`); a well-formed name is kept, so that one
//! name finds the lines of both.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response};
use axum::middleware::Next;

/// The id of a request: 1 to 64 of `A–Z a–z 0–9 _ -`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        ((1..=64).contains(&text.len()) && plain).then(|| Self(text.into()))
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self(format!("{:016x}", getrandom::u64().unwrap_or_default()).into())
    }
}

/// Names the request for all that lies inside, and writes one line for it at `debug`.
pub(crate) async fn name(mut request: Request, next: Next) -> Response<Body> {
    let given = request.headers().get(&X_REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = given.and_then(RequestId::parse).unwrap_or_default();
    let method = request.method().clone();
    let began = Instant::now();
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    // The path is left out: it holds the secret id of a session.
    tracing::debug!(
        request_id = id.as_str(),
        %method,
        status = response.status().as_u16(),
        elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request was answered"
    );
    response
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_forge_a_log_line_are_replaced() {
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            assert!(RequestId::parse(bad).is_none(), "{bad}");
        }
        assert!(RequestId::parse("01JDB3_x-9").is_some());
    }

    #[test]
    fn drawn_ids_differ() {
        assert_ne!(RequestId::default().as_str(), RequestId::default().as_str());
    }
}
