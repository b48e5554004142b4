//! WHEP (draft-ietf-wish-whep-03): `/whep/{room}` makes viewer sessions.
//!
//! We always answer the viewer's offer and never send a counter-offer (406). The answer links two extensions: the
//! choice of a layer, and server-sent events about the room.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, Response};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

use crate::Shared;
use crate::endpoint::{self, Offered};
use crate::error::Problem;
use crate::events;
use crate::headers::SDP;

/// Routes the methods of `/whep/{room}`.
pub(crate) fn endpoint() -> MethodRouter<Shared> {
    get(probe).post(watch).options(async || endpoint::options())
}

/// Players recognise a WHEP endpoint by the type that HEAD tells.
async fn probe() -> impl IntoResponse {
    [(CONTENT_TYPE, SDP)]
}

async fn watch(
    State(shared): State<Shared>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let offered = Offered::read(&room, request).await?;
    let joined = shared.node.watch(offered.join_request())?;
    tracing::debug!(room = %offered.room(), session = joined.public_id, "viewer session was created");
    let location = format!("/whep/{}/s/{}", offered.room(), joined.session);
    let links = links(&location);
    let mut response = endpoint::created(&location, joined)?;
    // One header line each: clients split at commas that are followed by `<`.
    for link in links {
        if let Ok(value) = HeaderValue::from_str(&link) {
            response.headers_mut().append(LINK, value);
        }
    }
    Ok(response)
}

fn links(location: &str) -> [String; 2] {
    [
        format!("<{location}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\""),
        format!(
            "<{location}/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"{}\"",
            events::NAMES.join(",")
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_the_extensions_by_their_registered_relations() {
        let [layer, events] = links("/whep/demo/s/00");

        assert_eq!(layer, "</whep/demo/s/00/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\"");
        assert!(events.starts_with(
            "</whep/demo/s/00/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\""
        ));
        assert!(events.ends_with("; events=\"active,inactive,layers,viewercount\""));
    }
}
