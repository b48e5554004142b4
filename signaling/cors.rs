//! Cross-origin rules (the Fetch standard), in one layer around all routes.
//!
//! No route uses cookies, so `*` gives a foreign page nothing that its visitor could not ask for alone. Handlers set
//! no CORS header: what a script may read is decided here, once, and answers of every kind carry it, problems too.
//! Administrators' paths are the exception: they get no such header, see `admin.rs`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN,
    VARY,
};
use axum::http::{Method, Response, StatusCode};
use axum::middleware::Next;

/// Which origins' scripts may use this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// `*`, or `scheme://host[:port]` each.
    allowed: Arc<[HeaderValue]>,
}

impl Origins {
    /// Reads a list of origins; those that cannot stand in a header are left out.
    pub fn new<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self {
            allowed: origins
                .into_iter()
                .filter_map(|origin| HeaderValue::from_str(origin.as_ref()).ok())
                .collect(),
        }
    }

    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.is_any() {
            return Some(ANY);
        }
        self.allowed.contains(origin).then(|| origin.clone())
    }

    fn is_any(&self) -> bool {
        self.allowed.contains(&ANY)
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self { allowed: [ANY].into() }
    }
}

/// Answers preflights and marks what scripts may read.
pub(crate) async fn apply(State(origins): State<Origins>, request: Request, next: Next) -> Response<Body> {
    let origin = request.headers().get(ORIGIN).cloned();
    let options = request.method() == Method::OPTIONS;
    let path = request.uri().path();
    let closed = path.starts_with("/api/v1/rooms") || path == "/api/v1/sessions" || path == "/metrics";
    let mut response = next.run(request).await;
    if options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // The router names the methods of the path in `Allow`, but only as a refusal.
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
    }
    if closed {
        return response;
    }
    let headers = response.headers_mut();
    if !origins.is_any() {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(allowed) = origin.as_ref().and_then(|origin| origins.allow(origin)) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        expose(headers, options);
    } else if origins.is_any() {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        expose(headers, options);
    }
    response
}

fn expose(headers: &mut HeaderMap, preflight: bool) {
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
}

const ANY: HeaderValue = HeaderValue::from_static("*");
const EXPOSED: &str = "Location, ETag, Link, Accept-Patch, Retry-After, Accept-Post, x-request-id";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
// `Authorization` must be named: a wildcard does not cover it.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, Accept, x-request-id";
