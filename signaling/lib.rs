//! HTTP: WHIP, WHEP, the session's own URLs, the API, the pages, health and metrics.
//!
//! Think of this crate as a translator. A handler reads a request strictly, asks the node one short question, and
//! turns the answer into HTTP; it keeps no state of a session. Everything that holds for all routes (request ids,
//! problem details, CORS, limits) is a layer of [`router`], not a line in a handler. [`listener`] is the TCP side:
//! it tells HTTP from ICE-TCP on the one port.
//!
//! Invariants: no media passes here; no credential or secret id reaches a log; only `error` knows what status a
//! refusal has. WHIP is RFC 9725, WHEP is draft-ietf-wish-whep-03, problems are RFC 9457.
//!
//! Start reading at [`router`], then `whip`, then `session`.

mod admin;
mod api;
mod cors;
mod endpoint;
mod error;
mod events;
mod headers;
mod health;
mod layer;
mod limits;
pub mod listener;
mod pages;
mod request_id;
mod session;
mod whep;
mod whip;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, put};
use node::{NodeHandle, Role};

pub use cors::Origins;
pub use error::{Code, Problem};
pub use limits::Rate;

use crate::events::Subscriptions;
use crate::limits::Limiter;

/// What an operator may choose about HTTP.
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    /// Whose scripts may use this server from other origins.
    pub origins: Origins,
    /// How often one address may change something.
    pub rate: Rate,
    /// Whether requests that come straight from this machine may list rooms and sessions.
    pub admin_from_loopback: bool,
}

impl Default for SignalingConfig {
    fn default() -> Self {
        Self { origins: Origins::default(), rate: Rate::default(), admin_from_loopback: true }
    }
}

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeHandle,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) config: Arc<SignalingConfig>,
}

/// Builds all routes over a node. The listener that serves them must put the client's address into
/// [`axum::extract::ConnectInfo`], as [`listener::Listeners::serve`] does.
pub fn router(node: NodeHandle, config: SignalingConfig) -> Router {
    let limiter = Limiter::new(config.rate);
    let origins = config.origins.clone();
    let shared = Shared { node, subscriptions: Subscriptions::default(), config: Arc::new(config) };
    Router::new()
        .route("/whip/{room}", whip::endpoint())
        .route("/whip/{room}/s/{session}", session::resource(Role::Publisher))
        .route("/whep/{room}", whep::endpoint())
        .route("/whep/{room}/s/{session}", session::resource(Role::Viewer))
        .route("/whep/{room}/s/{session}/layer", layer::extension())
        .route("/whep/{room}/s/{session}/events", events::extension())
        .route("/whep/{room}/s/{session}/events/{subscription}", get(events::open))
        .route("/api/v1/sessions", get(api::sessions))
        .route("/api/v1/sessions/{id}/layer", put(api::put_layer))
        .route("/api/v1/sessions/{id}/explain", get(api::explain))
        .route("/api/v1/rooms", get(api::rooms))
        .route("/api/v1/rooms/{room}", get(api::room))
        .route("/healthz", get(health::live))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/studio/{room}", get(pages::studio))
        .route("/r/{room}", get(pages::room))
        .route("/errors/{*code}", get(pages::error_code))
        .fallback(pages::file)
        .with_state(shared)
        .layer(from_fn_with_state(limiter, limits::apply))
        .layer(from_fn(error::render))
        .layer(from_fn_with_state(origins, cors::apply))
        .layer(from_fn(request_id::name))
}
