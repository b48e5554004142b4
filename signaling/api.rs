//! `/api/v1`: a viewer's choice of layer, why a session is as it is, and for administrators the rooms and sessions
//! there are.
//!
//! Lists show the short public ids, never the secret ones.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::error::{Code, Problem};
use crate::headers::{self, JSON};
use crate::{Shared, admin, endpoint, layer, limits};

/// A list, wrapped so that a cursor can stand beside it later.
#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
}

/// `PUT /api/v1/sessions/{id}/layer`: by the secret id with the session's own bearer, or by the public id for
/// administrators.
pub(crate) async fn put_layer(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let is_secret = is_secret(&id);
    if !is_secret {
        admin::require(&shared.config, &request)?;
    }
    headers::content_type(request.headers(), &JSON, ACCEPT)?;
    let credential = headers::bearer(request.headers())?.map(str::to_owned);
    let body = limits::read_body(request, limits::JSON_BYTES_MAX).await?;
    let choice = layer::parse_choice(&body)?;
    if is_secret {
        shared.node.set_layer(&id, choice, credential.as_deref())?;
    } else {
        shared.node.set_layer_by_public_id(&id, choice)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/sessions/{id}/explain`: by the secret id with the session's own bearer, or by the public id for
/// administrators.
pub(crate) async fn explain(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let explanation = if is_secret(&id) {
        let credential = headers::bearer(request.headers())?.map(str::to_owned);
        shared.node.explain(&id, credential.as_deref()).await?
    } else {
        admin::require(&shared.config, &request)?;
        shared.node.explain_by_public_id(&id).await?
    };
    Ok((NO_STORE, Json(explanation)))
}

/// `GET /api/v1/sessions`.
pub(crate) async fn sessions(
    State(shared): State<Shared>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    admin::require(&shared.config, &request)?;
    Ok((NO_STORE, Json(List { items: shared.node.sessions() })))
}

/// `GET /api/v1/rooms`.
pub(crate) async fn rooms(
    State(shared): State<Shared>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    admin::require(&shared.config, &request)?;
    Ok((NO_STORE, Json(List { items: shared.node.rooms() })))
}

/// `GET /api/v1/rooms/{room}`.
pub(crate) async fn room(
    State(shared): State<Shared>,
    Path(room): Path<String>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    admin::require(&shared.config, &request)?;
    let name = endpoint::room_name(&room)?;
    let status = shared.node.room(&name);
    let status =
        status.ok_or_else(|| Problem::new(Code::RoomNotFound, format!("room {name} does not exist")))?;
    Ok((NO_STORE, Json(status)))
}

/// Tells a secret id from a public one, by its length.
const fn is_secret(id: &str) -> bool {
    id.len() == 32
}

const NO_STORE: [(HeaderName, HeaderValue); 1] = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
