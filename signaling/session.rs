//! A session's own URL: trickle and ICE restart by PATCH, the end by DELETE (RFC 9725 §4.2, §4.3).
//!
//! Checks go from the outside in, so that the most useful refusal wins: does the session exist, is the bearer its
//! own, is the body of the right type, is there an `If-Match`, is its tag the current one.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use node::Role;

use crate::Shared;
use crate::error::{Code, Problem};
use crate::headers::{self, ACCEPT_PATCH, IfMatch, SDP_FRAGMENT};
use crate::limits;

/// The parameters of a session's path.
pub(crate) type SessionPath = Path<(String, String)>;

/// Routes the methods of `/whip/{room}/s/{session}` or `/whep/{room}/s/{session}`.
pub(crate) fn resource(role: Role) -> MethodRouter<Shared> {
    get(move |state: State<Shared>, path: SessionPath, request: Request| async move {
        probe(role, &state, &path, &request)
    })
    .patch(move |state: State<Shared>, path: SessionPath, request: Request| patch(role, state, path, request))
    .delete(move |state: State<Shared>, path: SessionPath, request: Request| async move {
        delete(role, &state, &path, &request)
    })
    .options(async || {
        let allow = HeaderValue::from_static("PATCH, DELETE, GET, HEAD, OPTIONS");
        (StatusCode::NO_CONTENT, [(ACCEPT_PATCH, SDP_FRAGMENT), (ALLOW, allow)])
    })
}

/// GET and HEAD are reserved; they answer an empty 2xx with the entity tag.
fn probe(
    role: Role,
    State(shared): &State<Shared>,
    Path((_, session)): &SessionPath,
    request: &Request,
) -> Result<Response<Body>, Problem> {
    let credential = headers::bearer(request.headers())?;
    let etag = shared.node.etag((session, role), credential)?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, quote(&etag)?), (ACCEPT_PATCH, SDP_FRAGMENT)]).into_response())
}

async fn patch(
    role: Role,
    State(shared): State<Shared>,
    Path((_, session)): SessionPath,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let id = (session.as_str(), role);
    let credential = headers::bearer(request.headers())?.map(str::to_owned);
    let current = shared.node.etag(id, credential.as_deref())?;
    headers::content_type(request.headers(), &SDP_FRAGMENT, ACCEPT_PATCH)?;
    let wanted = headers::if_match(request.headers())?
        .ok_or_else(|| Problem::new(Code::MissingEtag, "the PATCH has no If-Match"))?;
    let host = headers::reached_at(&request, limits::remote(&request));
    let fragment = limits::read_text(request, Code::FragmentSyntax).await?;
    match wanted {
        IfMatch::Any => {
            let restarted = shared.node.restart_ice(id, &fragment, host, credential.as_deref())?;
            let headers = [(CONTENT_TYPE, SDP_FRAGMENT), (ETAG, quote(&restarted.etag)?)];
            Ok((StatusCode::OK, headers, restarted.fragment).into_response())
        }
        IfMatch::Tags(tags) => {
            let tag = tags.iter().find(|tag| **tag == current).or_else(|| tags.first());
            let tag = tag.map_or("", String::as_str);
            shared.node.trickle(id, tag, &fragment, credential.as_deref())?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

/// Ends the session. The answer is 200, not 204: OBS warns on anything else; and it has a body: ffmpeg reports an error
/// when there is nothing to read. `If-Match` does not matter.
fn delete(
    role: Role,
    State(shared): &State<Shared>,
    Path((_, session)): &SessionPath,
    request: &Request,
) -> Result<&'static str, Problem> {
    let credential = headers::bearer(request.headers())?;
    shared.node.close((session, role), credential)?;
    Ok("session ended\n")
}

fn quote(etag: &str) -> Result<HeaderValue, Problem> {
    headers::quoted(etag).ok_or_else(|| Problem::new(Code::Internal, "the entity tag cannot be written"))
}
