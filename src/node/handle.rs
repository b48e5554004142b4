//! The door between signaling and the shards.
//!
//! Every call is short: it parses, takes the registry's lock once, and at most puts a message into a shard's
//! mailbox. No call waits for a shard, but [`NodeHandle::shutdown`] and [`NodeHandle::explain`], for a bounded time.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rtp::MonoTime;
use sfu::viewer::LayerRequest;
use tokio::sync::{oneshot, watch};
use transport::dtls::Certificate;
use transport::ice::Credentials;
use transport::link::LinkConfig;
use transport::sdp::{self, AnswerConfig, Offer};

use crate::admission::Admission;
use crate::advertise::Advertised;
use crate::api::{JoinError, JoinRequest, Joined, Restarted, Role, RoomStatus, SessionError, SessionStatus};
use crate::clock::Clock;
use crate::explain::Explanation;
use crate::mesh::{EndReason, Mailboxes, Message};
use crate::metrics::Metrics;
use crate::name::{PublicId, RoomName, SessionId};
use crate::registry::{Admitted, Credential, Ended, NewMedia, NewSession, Refusal, Registry, Session};

/// The node as signaling sees it; cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) clock: Clock,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) metrics: Metrics,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) advertised: Advertised,
    pub(crate) admission: Admission,
    pub(crate) draining: AtomicBool,
    pub(crate) stopped: watch::Receiver<usize>,
}

impl Inner {
    /// Takes the registry's lock. A panic elsewhere must not take the node down with it, so poison is ignored: each
    /// change of the registry is complete before anything in it can fail.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeHandle {
    pub(crate) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Answers a WHIP offer and makes its publisher session. A publisher that has been silent for a second is
    /// replaced.
    ///
    /// # Errors
    /// [`JoinError::Conflict`] while another publisher is live, [`JoinError::Offer`] for an offer that cannot be
    /// answered, [`JoinError::Overloaded`] and [`JoinError::Draining`] by the node's state.
    pub fn publish(&self, request: JoinRequest<'_>) -> Result<Joined, JoinError> {
        let offer = self.read_offer(request)?;
        let draft = self.draft(request)?;
        let (answer, tracks) = sdp::answer_publish(&offer, &draft.answer)?;
        self.admit(request, &offer, draft, (answer, NewMedia::Publisher(tracks)))
    }

    /// Answers a WHEP offer and makes its viewer session.
    ///
    /// # Errors
    /// [`JoinError::RoomNotFound`] and [`JoinError::Offline`] when there is nothing to watch, otherwise as
    /// [`Self::publish`].
    pub fn watch(&self, request: JoinRequest<'_>) -> Result<Joined, JoinError> {
        // First, so that a crowd that is sent away costs as little as it can.
        self.inner.admission.check().map_err(JoinError::Overloaded)?;
        let offer = self.read_offer(request)?;
        let draft = self.draft(request)?;
        let (answer, tracks) = sdp::answer_watch(&offer, &draft.answer, &mut draw_ssrc)?;
        self.admit(request, &offer, draft, (answer, NewMedia::Viewer(tracks)))
    }

    /// Takes a trickle fragment (RFC 8840). The candidates themselves are not needed: an ICE-lite agent learns
    /// addresses from the checks that arrive.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn trickle(
        &self,
        session: (&str, Role),
        if_match: &str,
        fragment: &str,
        credential: Option<&str>,
    ) -> Result<(), SessionError> {
        let registry = self.inner.registry();
        let (_, session) = find(&registry, session, credential)?;
        if session.etag != if_match {
            return Err(SessionError::StaleEtag {
                given: if_match.to_owned(),
                current: session.etag.clone(),
            });
        }
        drop(registry);
        parse_fragment(fragment).map(drop)
    }

    /// Restarts ICE (RFC 9725 §4.3.2): new credentials beside the old ones, which stay valid until the first valid
    /// check on the new.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn restart_ice(
        &self,
        session: (&str, Role),
        fragment: &str,
        host: Option<IpAddr>,
        credential: Option<&str>,
    ) -> Result<Restarted, SessionError> {
        parse_fragment(fragment)?;
        let credentials = Credentials::generate().map_err(|_| SessionError::NoRandomness)?;
        let etag = draw_etag();
        let (id, owner, section) = {
            let mut registry = self.inner.registry();
            let (id, found) = find(&registry, session, credential)?;
            let (owner, section) = (found.owner, found.section.clone());
            registry.restart_ice(id, &credentials, etag.clone());
            (id, owner, section)
        };
        if let Some(owner) = owner {
            self.inner
                .mailboxes
                .post(owner, Message::RestartIce { session: id, credentials: credentials.clone() });
        }
        let candidates = self.inner.advertised.candidates(host);
        let fragment = sdp::fragment::render(&credentials, &candidates, &section.mid, section.kind);
        Ok(Restarted { etag, fragment })
    }

    /// Ends a session at once: consent is revoked, its URLs become unknown.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn close(&self, session: (&str, Role), credential: Option<&str>) -> Result<(), SessionError> {
        let now = self.inner.clock.now();
        let mut registry = self.inner.registry();
        let found = match find(&registry, session, credential) {
            Err(SessionError::NotFound) => return part(&mut registry, now, session, credential),
            found => found.map(|(id, _)| id),
        };
        let ended = registry.end(now, found?);
        drop(registry);
        self.tell(ended, EndReason::Deleted);
        Ok(())
    }

    /// Chooses what layer a viewer wants, by the secret id of its session.
    ///
    /// # Errors
    /// [`SessionError::WrongRole`] for a publisher's session, otherwise see [`SessionError`].
    pub fn set_layer(
        &self,
        session: &str,
        request: LayerRequest,
        credential: Option<&str>,
    ) -> Result<(), SessionError> {
        let mut registry = self.inner.registry();
        let id = SessionId::parse(session).ok_or(SessionError::NotFound)?;
        let found = registry.session(id).ok_or(SessionError::NotFound)?;
        check_credential(found.credential.as_ref(), credential)?;
        self.ask_layer(&mut registry, id, request)
    }

    /// Chooses what layer a viewer wants, by the short id; for administrators.
    ///
    /// # Errors
    /// As [`Self::set_layer`].
    pub fn set_layer_by_public_id(&self, public_id: &str, request: LayerRequest) -> Result<(), SessionError> {
        let mut registry = self.inner.registry();
        let id =
            PublicId::parse(public_id).and_then(|id| registry.by_public(id)).ok_or(SessionError::NotFound)?;
        self.ask_layer(&mut registry, id, request)
    }

    fn ask_layer(
        &self,
        registry: &mut Registry,
        id: SessionId,
        request: LayerRequest,
    ) -> Result<(), SessionError> {
        let role = registry.session(id).ok_or(SessionError::NotFound)?.role;
        if role != Role::Viewer {
            return Err(SessionError::WrongRole(role.as_str()));
        }
        if let Some((owner, request)) = registry.wish(id, request) {
            self.inner.mailboxes.post(owner, Message::SetLayer { session: id, request: Box::new(request) });
        }
        Ok(())
    }

    /// Explains a session, by its secret id.
    ///
    /// # Errors
    /// [`SessionError::Busy`] when its shard does not answer within half a second, otherwise see [`SessionError`].
    pub async fn explain(
        &self,
        session: &str,
        credential: Option<&str>,
    ) -> Result<Explanation, SessionError> {
        let id = SessionId::parse(session).ok_or(SessionError::NotFound)?;
        {
            let registry = self.inner.registry();
            let found = registry.session(id).ok_or(SessionError::NotFound)?;
            check_credential(found.credential.as_ref(), credential)?;
        }
        self.ask_explanation(id).await
    }

    /// Explains a session, by its short id; for administrators.
    ///
    /// # Errors
    /// As [`Self::explain`].
    pub async fn explain_by_public_id(&self, public_id: &str) -> Result<Explanation, SessionError> {
        let id = PublicId::parse(public_id).and_then(|id| self.inner.registry().by_public(id));
        self.ask_explanation(id.ok_or(SessionError::NotFound)?).await
    }

    async fn ask_explanation(&self, id: SessionId) -> Result<Explanation, SessionError> {
        let (reply, answer) = oneshot::channel();
        {
            let registry = self.inner.registry();
            if let Some(explanation) = registry.explain_unreached(self.inner.clock.now(), id) {
                return Ok(explanation);
            }
            let found = registry.session(id).ok_or(SessionError::NotFound)?;
            let owner = found.owner.ok_or(SessionError::NotFound)?;
            if !self.inner.mailboxes.post(owner, Message::Explain { session: id, reply }) {
                return Err(SessionError::Busy);
            }
        }
        match tokio::time::timeout(EXPLAIN_MAX, answer).await {
            Ok(Ok(explanation)) => Ok(explanation),
            // The shard let go of the question: the session has ended.
            Ok(Err(_)) => Err(SessionError::NotFound),
            Err(_) => Err(SessionError::Busy),
        }
    }

    /// Returns a room as it is now; `None` when it is unknown.
    #[must_use]
    pub fn room(&self, name: &RoomName) -> Option<RoomStatus> {
        self.inner.registry().room_status(name)
    }

    /// Returns all rooms in the order of their names.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomStatus> {
        self.inner.registry().rooms()
    }

    /// Returns all sessions, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionStatus> {
        self.inner.registry().session_statuses(self.inner.clock.now())
    }

    /// Follows the room of a session; the sender is dropped when the room ends.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn session_events(
        &self,
        session: (&str, Role),
        credential: Option<&str>,
    ) -> Result<watch::Receiver<RoomStatus>, SessionError> {
        let registry = self.inner.registry();
        let (_, found) = find(&registry, session, credential)?;
        registry.room_events(&found.room).ok_or(SessionError::NotFound)
    }

    /// Returns a session's entity tag, without quotes.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn etag(&self, session: (&str, Role), credential: Option<&str>) -> Result<String, SessionError> {
        let registry = self.inner.registry();
        find(&registry, session, credential).map(|(_, found)| found.etag.clone())
    }

    /// Says whether joins are welcome: the shards run and nobody asked for a shutdown.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.inner.draining.load(Ordering::Relaxed) && *self.inner.stopped.borrow() == 0
    }

    /// Returns the metrics in Prometheus' text format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let census = self.inner.registry().census();
        self.inner.metrics.render(census, self.inner.mailboxes.dropped(), &self.inner.admission)
    }

    /// Takes over a TCP socket that began with an ICE check (RFC 6544), with what was read of it. Gives it to a shard
    /// chosen by the port, as the kernel spreads UDP; one that does not own the session hands the socket on.
    pub fn accept_ice_tcp(&self, socket: TcpStream, remote: SocketAddr, first: Vec<u8>) {
        let shard = usize::from(remote.port()) % self.inner.mailboxes.len();
        self.inner.mailboxes.post(shard, Message::Tcp { socket, remote, first: first.into_boxed_slice() });
    }

    /// Stops the node: no more joins, a BYE and a closed DTLS for every session. Returns when every shard has ended,
    /// after three seconds at the latest.
    pub async fn shutdown(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.mailboxes.wake_all();
        let mut stopped = self.inner.stopped.clone();
        let shards = self.inner.mailboxes.len();
        let all = stopped.wait_for(|count| *count >= shards);
        if tokio::time::timeout(SHUTDOWN_MAX, all).await.is_err() {
            tracing::warn!("shards did not stop in time");
        }
    }

    fn read_offer(&self, request: JoinRequest<'_>) -> Result<Offer, JoinError> {
        if self.inner.draining.load(Ordering::Relaxed) {
            return Err(JoinError::Draining);
        }
        Ok(Offer::parse(request.offer)?)
    }

    fn draft(&self, request: JoinRequest<'_>) -> Result<Draft, JoinError> {
        let id = SessionId::draw().map_err(|_| JoinError::NoRandomness)?;
        let answer = AnswerConfig {
            credentials: Credentials::generate().map_err(|_| JoinError::NoRandomness)?,
            fingerprint: self.inner.certificate.fingerprint().clone(),
            candidates: self.inner.advertised.candidates(request.host),
            session_id: u64::from(draw_u32()),
            cname: format!("{:08x}", draw_u32()),
        };
        Ok(Draft { id, answer })
    }

    fn admit(
        &self,
        request: JoinRequest<'_>,
        offer: &Offer,
        draft: Draft,
        (answer, media): (String, NewMedia),
    ) -> Result<Joined, JoinError> {
        let viewer = matches!(media, NewMedia::Viewer(_));
        let etag = draw_etag();
        let new = NewSession {
            id: draft.id,
            room: request.room.clone(),
            credential: request.credential.map(Credential::new),
            etag: etag.clone(),
            link: LinkConfig {
                ice: draft.answer.credentials,
                role: offer.role(),
                fingerprint: offer.fingerprint().clone(),
                certificate: Arc::clone(&self.inner.certificate),
                viewer,
            },
            media,
            began: self.inner.clock.at(request.began),
        };
        let admitted = self.inner.registry().admit(self.inner.clock.now(), new);
        let Admitted { public_id, replaced } =
            admitted.map_err(|refusal| self.refuse(refusal, request.room))?;
        self.tell(replaced, EndReason::TakenOver);
        Ok(Joined { session: draft.id.secret(), public_id: public_id.to_string(), etag, answer })
    }

    fn refuse(&self, refusal: Refusal, room: &RoomName) -> JoinError {
        let room = room.to_string();
        match refusal {
            Refusal::RoomNotFound => JoinError::RoomNotFound { room },
            Refusal::Offline => JoinError::Offline { room },
            Refusal::Conflict => JoinError::Conflict { room },
            Refusal::Full(overload) => JoinError::Overloaded(overload),
        }
    }

    fn tell(&self, ended: Option<Ended>, reason: EndReason) {
        if let Some(Ended { session, owner: Some(owner), .. }) = ended {
            self.inner.mailboxes.post(owner, Message::End { session, reason });
        }
    }
}

/// A session on its way into the registry.
struct Draft {
    id: SessionId,
    answer: AnswerConfig,
}

fn find<'a>(
    registry: &'a Registry,
    (session, role): (&str, Role),
    credential: Option<&str>,
) -> Result<(SessionId, &'a Session), SessionError> {
    let id = SessionId::parse(session).ok_or(SessionError::NotFound)?;
    let found = registry.session(id).filter(|found| found.role == role).ok_or(SessionError::NotFound)?;
    check_credential(found.credential.as_ref(), credential)?;
    Ok((id, found))
}

/// Takes the DELETE of a session that its other side closed a moment before.
fn part(
    registry: &mut Registry,
    now: MonoTime,
    (session, role): (&str, Role),
    credential: Option<&str>,
) -> Result<(), SessionError> {
    let id = SessionId::parse(session).ok_or(SessionError::NotFound)?;
    let farewell = registry.farewell(now, id, role).ok_or(SessionError::NotFound)?;
    check_credential(farewell.credential.as_ref(), credential)?;
    registry.forget(id);
    Ok(())
}

fn check_credential(kept: Option<&Credential>, given: Option<&str>) -> Result<(), SessionError> {
    match (kept, given) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(SessionError::Unauthenticated),
        (Some(kept), Some(given)) if kept.matches(given) => Ok(()),
        (Some(_), Some(_)) => Err(SessionError::Denied),
    }
}

fn parse_fragment(text: &str) -> Result<sdp::fragment::Fragment, SessionError> {
    sdp::fragment::parse(text).map_err(|error| SessionError::Fragment(error.to_string()))
}

fn draw_etag() -> String {
    format!("{:08x}", draw_u32())
}

fn draw_ssrc() -> rtp::Ssrc {
    // Zero is what "no source" looks like in feedback, so it is never drawn.
    rtp::Ssrc(draw_u32().max(1))
}

fn draw_u32() -> u32 {
    getrandom::u32().unwrap_or_default()
}

/// A shard that works answers within a few milliseconds.
const EXPLAIN_MAX: Duration = Duration::from_millis(500);

const SHUTDOWN_MAX: Duration = Duration::from_secs(3);
