//! What WHIP and WHEP endpoints have in common: read an offer, ask the node, answer 201.

use std::net::IpAddr;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use node::{JoinRequest, Joined, RoomName};

use crate::error::{Code, Problem};
use crate::headers::{self, ACCEPT_PATCH, ACCEPT_POST, SDP, SDP_FRAGMENT};
use crate::limits;

/// An offer as it came by POST.
#[derive(Debug)]
pub(crate) struct Offered {
    room: RoomName,
    sdp: String,
    host: Option<IpAddr>,
    credential: Option<String>,
    began: Instant,
}

impl Offered {
    /// Reads the request of a POST to `/whip/{room}` or `/whep/{room}`.
    ///
    /// # Errors
    /// 404 for a name that no room can have, 415, 413, 408, 401, and 400 for a body that is no text.
    pub(crate) async fn read(room: &str, request: Request) -> Result<Self, Problem> {
        let began = Instant::now();
        let room = room_name(room)?;
        headers::content_type(request.headers(), &SDP, ACCEPT_POST)?;
        if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Problem::new(Code::MediaType, "the body is compressed").with_header(ACCEPT_POST, SDP));
        }
        let credential = headers::bearer(request.headers())?.map(str::to_owned);
        let host = headers::reached_at(&request, limits::remote(&request));
        let sdp = limits::read_text(request, Code::OfferSyntax).await?;
        Ok(Self { room, sdp, host, credential, began })
    }

    pub(crate) fn join_request(&self) -> JoinRequest<'_> {
        JoinRequest {
            room: &self.room,
            offer: &self.sdp,
            host: self.host,
            credential: self.credential.as_deref(),
            began: self.began,
        }
    }

    pub(crate) const fn room(&self) -> &RoomName {
        &self.room
    }
}

/// Reads a room's name out of a path.
///
/// # Errors
/// 404: a room of such a name cannot exist.
pub(crate) fn room_name(text: &str) -> Result<RoomName, Problem> {
    RoomName::parse(text).ok_or_else(|| Problem::new(Code::RoomNotFound, "no room can have this name"))
}

/// Answers 201 (RFC 9725 §4.2). `Location` is an absolute path without a query: OBS copes with nothing else.
///
/// # Errors
/// Only if an id or tag cannot stand in a header, which would be our fault.
pub(crate) fn created(location: &str, joined: Joined) -> Result<Response<Body>, Problem> {
    let fault = || Problem::new(Code::Internal, "the session's URL cannot be written");
    let location = HeaderValue::from_str(location).map_err(|_| fault())?;
    let etag = headers::quoted(&joined.etag).ok_or_else(fault)?;
    let headers = [(CONTENT_TYPE, SDP), (LOCATION, location), (ETAG, etag), (ACCEPT_PATCH, SDP_FRAGMENT)];
    Ok((StatusCode::CREATED, headers, joined.answer).into_response())
}

/// Answers OPTIONS on an endpoint: no authorization is asked for, no ICE server is told.
pub(crate) fn options() -> impl IntoResponse {
    let allow = HeaderValue::from_static("POST, GET, HEAD, OPTIONS");
    (StatusCode::NO_CONTENT, [(ACCEPT_POST, SDP), (ALLOW, allow)])
}
