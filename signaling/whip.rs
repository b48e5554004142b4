//! WHIP (RFC 9725): `/whip/{room}` makes publisher sessions.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::{MethodRouter, get};

use crate::Shared;
use crate::endpoint::{self, Offered};
use crate::error::Problem;

/// Routes the methods of `/whip/{room}`.
pub(crate) fn endpoint() -> MethodRouter<Shared> {
    get(probe).post(publish).options(async || endpoint::options())
}

/// GET and HEAD are reserved and answer an empty 2xx (RFC 9725 §4.1).
async fn probe() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn publish(
    State(shared): State<Shared>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let offered = Offered::read(&room, request).await?;
    let joined = shared.node.publish(offered.join_request())?;
    tracing::debug!(room = %offered.room(), session = joined.public_id, "publisher session was created");
    endpoint::created(&format!("/whip/{}/s/{}", offered.room(), joined.session), joined)
}
