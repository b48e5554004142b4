//! Liveness, readiness and metrics.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::IntoResponse;

use crate::Shared;
use crate::error::{Code, Problem};

/// `GET /healthz` and `/livez`: the process answers.
pub(crate) async fn live() -> impl IntoResponse {
    (NO_STORE, "ok\n")
}

/// `GET /readyz`: joins are welcome. False from the first moment of a shutdown.
pub(crate) async fn ready(State(shared): State<Shared>) -> Result<impl IntoResponse, Problem> {
    if shared.node.is_ready() {
        return Ok((NO_STORE, "ready\n"));
    }
    Err(Problem::new(Code::Draining, "the node takes no more sessions"))
}

/// `GET /metrics`, in Prometheus' text format.
pub(crate) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let text_format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, text_format)], shared.node.metrics_text())
}

const NO_STORE: [(HeaderName, HeaderValue); 1] = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
