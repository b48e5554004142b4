//! The pages and their files, embedded in the binary, and the discovery document of a room.
//!
//! Files under `assets/` have their content's hash in their name and never change; everything else is asked for
//! again each time, by entity tag. The content security policy allows nothing inline and nothing foreign.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse;
use node::{LayerStatus, RoomName};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::Serialize;

use crate::error::{Code, Problem};
use crate::{Shared, endpoint, headers};

/// What `vite build` made. In debug builds files are read when they are asked for.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Dist;

/// What a player needs to know of a room. A member is there only when the thing is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery {
    whep: String,
    whip: String,
    live: bool,
    viewers: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<LayerStatus>,
    transports: [&'static str; 1],
    /// Milliseconds since the Unix epoch.
    server_time: u64,
}

/// `GET /studio/{room}`.
pub(crate) async fn studio(Path(room): Path<String>, headers: HeaderMap) -> Result<Response<Body>, Problem> {
    endpoint::room_name(&room)?;
    page("studio.html", &headers)
}

/// `GET /r/{room}`: the page, or with `Accept: application/json` the discovery document.
pub(crate) async fn room(
    State(shared): State<Shared>,
    Path(room): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let room = endpoint::room_name(&room)?;
    let mut response = if headers::wants_json(&headers) {
        discovery(&shared, &room)
    } else {
        page("viewer.html", &headers)?
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// `GET /errors/{code}`: what a problem's `type` points at.
pub(crate) async fn error_code(Path(code): Path<String>) -> Result<String, Problem> {
    let found = Code::ALL.into_iter().find(|known| known.as_str() == code);
    let known = found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such error code"))?;
    Ok(format!("{}\nstatus: {}\nwhat to do: {}\n", known.as_str(), known.status(), known.hint()))
}

/// Everything without a route of its own: an embedded file, or 404.
pub(crate) async fn file(request: Request) -> Result<Response<Body>, Problem> {
    let path = request.uri().path().trim_start_matches('/');
    let name = if path.is_empty() { "index.html" } else { path };
    let Some(file) = Dist::get(name) else {
        if path.is_empty() {
            return Err(not_built());
        }
        let title = format!("nothing answers to {} {}", request.method(), request.uri().path());
        return Err(Problem::new(Code::NotFound, title));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let problem = Problem::new(Code::Method, format!("{} is not possible on a file", request.method()));
        return Err(problem.with_header(ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    Ok(answer(name, file.into(), request.headers()))
}

fn discovery(shared: &Shared, room: &RoomName) -> Response<Body> {
    let status = shared.node.room(room).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let document = Discovery {
        whep: format!("/whep/{room}"),
        whip: format!("/whip/{room}"),
        live: status.live,
        viewers: status.viewers,
        layers: status.layers,
        transports: ["webrtc"],
        server_time: u64::try_from(now.as_millis()).unwrap_or_default(),
    };
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(document)).into_response()
}

fn page(name: &str, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    Dist::get(name).map(|file| answer(name, file.into(), headers)).ok_or_else(not_built)
}

fn not_built() -> Problem {
    Problem::new(Code::NotFound, "the pages were not built into this server; `make run` builds both")
}

/// One file and the hash of its content.
struct Asset {
    content: Cow<'static, [u8]>,
    hash: [u8; 32],
}

impl From<EmbeddedFile> for Asset {
    fn from(file: EmbeddedFile) -> Self {
        Self { content: file.data, hash: file.metadata.sha256_hash() }
    }
}

fn answer(name: &str, asset: Asset, request: &HeaderMap) -> Response<Body> {
    let tag: String = asset.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut headers = HeaderMap::from_iter(SECURITY_HEADERS);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.extend(headers::quoted(&tag).map(|value| (ETAG, value)));
    if is_fresh(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(type_of(name)));
    (headers, asset.content.into_owned()).into_response()
}

fn is_fresh(request: &HeaderMap, tag: &str) -> bool {
    let asked = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The comparison is the weak one (RFC 9110 §13.1.2): a proxy that compresses marks the tag as weak.
    asked
        .split(',')
        .map(|one| one.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|one| one == tag || one == "*")
}

fn type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

const POLICY: &str = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self)",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_allows_nothing_inline_and_nothing_foreign() {
        let response = answer("viewer.html", asset(), &HeaderMap::new());

        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let first = answer("assets/studio-Xy12.js", asset(), &HeaderMap::new());
        let tag = first.headers()[ETAG].clone();

        let second = answer("assets/studio-Xy12.js", asset(), &HeaderMap::from_iter([(IF_NONE_MATCH, tag)]));

        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        assert!(first.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }

    #[test]
    fn a_changed_file_is_sent() {
        let other = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"0000000000000000\""))]);

        assert_eq!(answer("viewer.html", asset(), &other).status(), StatusCode::OK);
    }

    fn asset() -> Asset {
        Asset { content: Cow::Borrowed(b"<!doctype html>"), hash: [7; 32] }
    }
}
