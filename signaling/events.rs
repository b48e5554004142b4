//! The WHEP server-sent-events extension: a viewer that is not ours learns of the room's state.
//!
//! POST of a list of event names to `…/events` makes a *subscription*, whose own unguessable URL an `EventSource`
//! opens: it can send no `Authorization`. Events are `active` and `inactive` (a publisher is there or not), `layers`
//! and `viewercount`; each is sent once at the start and then when it changes, at most twice a second.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{MethodRouter, post};
use futures_util::stream::{self, Stream};
use node::{LayerBrief, LayerStatus, NodeHandle, Role, RoomStatus};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::Shared;
use crate::error::{Code, Problem};
use crate::headers::{self, ACCEPT_POST, JSON};
use crate::limits;
use crate::session::SessionPath;

/// The events there are, in the order in which they are sent.
pub(crate) const NAMES: [&str; 4] = ["active", "inactive", "layers", "viewercount"];

/// Who subscribed to what. Bounded: at [`SUBSCRIPTIONS_MAX`] those of ended sessions go, then a new one is refused.
#[derive(Clone, Debug)]
pub(crate) struct Subscriptions {
    by_id: Arc<Mutex<HashMap<String, Subscription>>>,
    open: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
struct Subscription {
    session: String,
    events: Vec<&'static str>,
    room: watch::Receiver<RoomStatus>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self { by_id: Arc::default(), open: Arc::new(Semaphore::new(SUBSCRIPTIONS_MAX)) }
    }
}

impl Subscriptions {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Subscription>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, node: &NodeHandle, subscription: Subscription) -> Result<String, Problem> {
        let id = format!("{:016x}{:016x}", draw()?, draw()?);
        let mut table = self.table();
        if table.len() >= SUBSCRIPTIONS_MAX {
            table.retain(|_, kept| exists(node, &kept.session));
        }
        let of_session = table.values().filter(|kept| kept.session == subscription.session).count();
        if table.len() >= SUBSCRIPTIONS_MAX || of_session >= SUBSCRIPTIONS_PER_SESSION_MAX {
            return Err(Problem::new(Code::Overloaded, "there are too many event subscriptions"));
        }
        table.insert(id.clone(), subscription);
        Ok(id)
    }

    fn find(&self, node: &NodeHandle, session: &str, id: &str) -> Option<Subscription> {
        let mut table = self.table();
        let found = table.get(id).filter(|found| found.session == session)?.clone();
        if exists(node, session) {
            return Some(found);
        }
        table.remove(id);
        None
    }
}

/// Routes the methods of `/whep/{room}/s/{session}/events`.
pub(crate) fn extension() -> MethodRouter<Shared> {
    post(subscribe)
}

async fn subscribe(
    State(shared): State<Shared>,
    Path((room, session)): SessionPath,
    request: Request,
) -> Result<Response<Body>, Problem> {
    headers::content_type(request.headers(), &JSON, ACCEPT_POST)?;
    let credential = headers::bearer(request.headers())?.map(str::to_owned);
    let updates = shared.node.session_events((&session, Role::Viewer), credential.as_deref())?;
    let body = limits::read_body(request, limits::JSON_BYTES_MAX).await?;
    let events = parse_names(&body)?;
    let subscription = Subscription { session: session.clone(), events, room: updates };
    let id = shared.subscriptions.add(&shared.node, subscription)?;
    let location = HeaderValue::from_str(&format!("/whep/{room}/s/{session}/events/{id}"))
        .map_err(|_| Problem::new(Code::RoomNotFound, "no room can have this name"))?;
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

/// Opens the events of a subscription.
pub(crate) async fn open(
    State(shared): State<Shared>,
    Path((_, session, id)): Path<(String, String, String)>,
) -> Result<Response<Body>, Problem> {
    let found = shared.subscriptions.find(&shared.node, &session, &id);
    let subscription = found.ok_or_else(|| Problem::new(Code::SessionNotFound, "the session has ended"))?;
    let permit = Arc::clone(&shared.subscriptions.open).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(Code::Overloaded, "too many clients follow events"))?;
    let events =
        follow(Follower { node: shared.node, subscription, sent: None, queue: Vec::new(), _permit: permit });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], sse).into_response())
}

/// Reads a list of event names; unknown ones are ignored, an empty body means all.
fn parse_names(body: &[u8]) -> Result<Vec<&'static str>, Problem> {
    if body.is_empty() {
        return Ok(NAMES.to_vec());
    }
    let names: Vec<String> = serde_json::from_slice(body)
        .map_err(|_| Problem::new(Code::Syntax, "the body is not a JSON list of event names"))?;
    Ok(NAMES.into_iter().filter(|known| names.iter().any(|name| name == known)).collect())
}

struct Follower {
    node: NodeHandle,
    subscription: Subscription,
    sent: Option<RoomStatus>,
    /// What is to be sent next, last first.
    queue: Vec<(&'static str, Value)>,
    _permit: OwnedSemaphorePermit,
}

fn follow(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(follower, |mut follower| async move {
        while follower.queue.is_empty() {
            follower.wait().await?;
        }
        let (name, data) = follower.queue.pop()?;
        Some((Ok(Event::default().event(name).data(data.to_string())), follower))
    })
}

impl Follower {
    /// Waits for news and queues them; `None` when the room or the session has ended.
    async fn wait(&mut self) -> Option<()> {
        if self.sent.is_some() {
            tokio::time::sleep(EVENT_GAP_MIN).await;
            let changed = tokio::time::timeout(SESSION_CHECK, self.subscription.room.changed()).await;
            if matches!(changed, Ok(Err(_))) || !exists(&self.node, &self.subscription.session) {
                return None;
            }
        }
        let status = self.subscription.room.borrow_and_update().clone();
        let mut news = changes(self.sent.as_ref(), &status);
        news.retain(|(name, _)| self.subscription.events.contains(name));
        news.reverse();
        self.queue = news;
        self.sent = Some(status);
        Some(())
    }
}

/// Returns the events that lead from one state of a room to the next.
fn changes(before: Option<&RoomStatus>, now: &RoomStatus) -> Vec<(&'static str, Value)> {
    let mut events = Vec::new();
    if before.is_none_or(|before| before.live != now.live) {
        events.push((if now.live { "active" } else { "inactive" }, json!({})));
    }
    if before.is_none_or(|before| before.layers != now.layers) {
        events.push(("layers", layers(now)));
    }
    if before.is_none_or(|before| before.viewers != now.viewers) {
        events.push(("viewercount", json!({ "viewercount": now.viewers })));
    }
    events
}

/// Writes the layers in the extension's shape. A session has one video track, called "0" as by other servers;
/// the layer choice ignores the name.
fn layers(status: &RoomStatus) -> Value {
    let list = |active: Option<bool>| -> Vec<Value> {
        let can_be_had = |layer: &LayerStatus| layer.active || layer.resting;
        let chosen =
            status.layers.iter().filter(|layer| active.is_none_or(|active| can_be_had(layer) == active));
        chosen
            .filter_map(|layer| {
                let LayerBrief { rid, width, height, bitrate } = &layer.brief;
                Some(json!({
                    "encodingId": rid.as_ref()?,
                    "width": width,
                    "height": height,
                    "bitrate": bitrate,
                }))
            })
            .collect()
    };
    json!({ "0": { "layers": list(None), "active": list(Some(true)), "inactive": list(Some(false)) } })
}

fn exists(node: &NodeHandle, session: &str) -> bool {
    // Existence is asked for without the bearer: what counts is that it is not gone.
    !matches!(node.etag((session, Role::Viewer), None), Err(node::SessionError::NotFound))
}

fn draw() -> Result<u64, Problem> {
    getrandom::u64().map_err(|_| Problem::new(Code::Internal, "the system has no randomness to give"))
}

/// How many subscriptions and open event streams there may be; a viewer needs one.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// A page that reloads its events needs one more than it has.
const SUBSCRIPTIONS_PER_SESSION_MAX: usize = 4;
/// Bitrates change all the time; nobody reads them faster.
const EVENT_GAP_MIN: Duration = Duration::from_millis(500);
/// How long an ended session's events may stay open.
const SESSION_CHECK: Duration = Duration::from_secs(5);
/// Below the idle limits of usual proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_follower_learns_the_whole_state() {
        let names: Vec<&str> = changes(None, &room(true, 3)).into_iter().map(|(name, _)| name).collect();

        assert_eq!(names, ["active", "layers", "viewercount"]);
    }

    #[test]
    fn later_only_what_changed_is_told() {
        let before = room(true, 3);

        assert!(changes(Some(&before), &before).is_empty());
        assert_eq!(changes(Some(&before), &room(true, 4)), [("viewercount", json!({ "viewercount": 4 }))]);
        assert_eq!(changes(Some(&before), &room(false, 3)), [("inactive", json!({}))]);
    }

    #[test]
    fn layers_are_told_by_rid_and_sorted_into_active_and_inactive() {
        let told = layers(&room(true, 0));

        assert_eq!(told["0"]["layers"].as_array().unwrap().len(), 2);
        assert_eq!(told["0"]["active"][0]["encodingId"], "h");
        assert_eq!(told["0"]["active"][0]["height"], 720);
        assert_eq!(told["0"]["inactive"][0]["encodingId"], "l");
    }

    #[test]
    fn a_layer_that_rests_can_be_chosen() {
        let mut room = room(true, 0);
        room.layers[1].resting = true;

        let told = layers(&room);

        assert_eq!(told["0"]["active"][1]["encodingId"], "l");
        assert_eq!(told["0"]["inactive"], json!([]));
    }

    #[test]
    fn event_names_are_a_list_and_unknown_ones_are_ignored() {
        assert_eq!(parse_names(b"[\"layers\",\"reactions\"]").unwrap(), ["layers"]);
        assert_eq!(parse_names(b"").unwrap(), NAMES);
        assert!(parse_names(b"{}").is_err());
    }

    fn room(live: bool, viewers: usize) -> RoomStatus {
        let layer = |rid: &str, height, active| LayerStatus {
            brief: LayerBrief { rid: Some(rid.to_owned()), height: Some(height), ..LayerBrief::default() },
            active,
            ..LayerStatus::default()
        };
        RoomStatus {
            room: "demo".to_owned(),
            live,
            viewers,
            layers: vec![layer("h", 720, true), layer("l", 180, false)],
        }
    }
}
