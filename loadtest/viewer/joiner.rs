//! How a viewer comes in: a socket, an offer over HTTP, and a place in the crowd.

use super::crowd::{Crowd, Join, Number};
use crate::clock;
use crate::link::{Config, Identity, Link, Random};
use crate::signal::{Http, Offer, Session, SessionRequest, SignalError};
use crate::socket::Socket;
use anyhow::Context;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// What all viewers of a run join with.
#[derive(Debug)]
pub struct Joiner {
    http: Http,
    identity: Arc<Identity>,
    url: String,
    rooms: u64,
    token: Option<String>,
    wishes: Wishes,
    /// Where the server answers HTTP; which of our addresses it sees follows from it.
    server: SocketAddr,
}

/// What a viewer asks for beside video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Sound.
    pub audio: bool,
    /// A data channel, opened and kept.
    pub data_channel: bool,
}

/// Why a viewer did not come in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No socket.
    #[error("socket: {}", .0.kind())]
    Socket(#[source] io::Error),
    /// The server did not answer as hoped.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The crowd has ended.
    #[error("the crowd has ended")]
    Crowd(#[source] io::Error),
}

impl Joiner {
    /// Makes a joiner and finds the server. `{room}` in the URL stands for a number below `rooms`, in turns.
    ///
    /// # Errors
    /// When the URL is malformed or its host cannot be found.
    pub async fn new(
        identity: Arc<Identity>,
        (url, rooms): (String, u64),
        token: Option<String>,
        wishes: Wishes,
    ) -> anyhow::Result<Self> {
        let parsed = reqwest::Url::parse(&url).with_context(|| format!("not a URL: {url}"))?;
        let host = parsed.host_str().with_context(|| format!("no host in {url}"))?;
        let port = parsed.port_or_known_default().unwrap_or(80);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses =
            tokio::net::lookup_host((host, port)).await.with_context(|| format!("cannot find {host}"))?;
        let server = addresses.next().with_context(|| format!("{host} has no address"))?;
        Ok(Self { http: Http::new()?, identity, url, rooms, token, wishes, server })
    }

    /// Joins; from then on the crowd tells what happens to the viewer. The session is to be ended by its DELETE.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(&self, number: Number, crowd: &Crowd) -> Result<Session, JoinError> {
        let socket = Socket::bind_towards(self.server).map_err(JoinError::Socket)?;
        let identity = Arc::clone(&self.identity);
        let mut link = Link::new(Config { identity, random: Random::from_machine() });
        let offer = Offer::viewer(self.wishes.audio, Some(socket.local()));
        let offer = if self.wishes.data_channel {
            link.want_channel();
            offer.to_sdp_with_channel(link.local())
        } else {
            offer.to_sdp(link.local())
        };
        let room = number.checked_rem(self.rooms).unwrap_or_default();
        let url = self.url.replace("{room}", &room.to_string());
        let request = SessionRequest { url, token: self.token.clone(), offer };
        let posted_at = clock::now();
        let session = self.http.open(request).await?;
        let mut answer = session.answer.clone();
        answer.keep_reachable(socket.local());
        let join = Join { number, link, socket, answer, posted_at };
        crowd.join(join).map_err(JoinError::Crowd)?;
        Ok(session)
    }
}
