//! POST and DELETE over a pool of kept connections.

use super::{Answer, AnswerError};
use reqwest::{Client, StatusCode, Url, header};
use std::time::Duration;

/// The pool. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
}

/// A session to open.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// The endpoint.
    pub url: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The offer's SDP.
    pub offer: String,
}

/// An opened session.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the server answered.
    pub answer: Answer,
    /// Where the session is ended; `None` when the server named none.
    pub location: Option<Url>,
    token: Option<String>,
    http: Http,
}

/// Why a session was not opened or not ended.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The URL, or the header that points to the session, is malformed.
    #[error("http: malformed URL")]
    Url,
    /// No connection, or it broke.
    #[error("http: no response")]
    Transport(#[source] reqwest::Error),
    /// No response in time.
    #[error("http: timed out")]
    Timeout,
    /// Refused; with the server's word for it when it gave one.
    #[error("http {status}{}{problem}", if problem.is_empty() { "" } else { ": " })]
    Refused {
        /// The status code.
        status: u16,
        /// The title of a problem document (RFC 9457), its numbers left out; empty when there is none.
        problem: String,
    },
    /// The answer was unusable.
    #[error("sdp: {0}")]
    Answer(#[from] AnswerError),
}

impl Http {
    /// Makes an empty pool.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, SignalError> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .tcp_nodelay(true)
            .pool_idle_timeout(POOL_IDLE)
            .user_agent(concat!("nearcast-loadtest/", env!("CARGO_PKG_VERSION")));
        Ok(Self { client: client.build().map_err(SignalError::Transport)? })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// See [`SignalError`].
    pub async fn open(&self, request: SessionRequest) -> Result<Session, SignalError> {
        let SessionRequest { url, token, offer } = request;
        let url = Url::parse(&url).map_err(|_| SignalError::Url)?;
        let post = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/sdp");
        let response = authorize(post, token.as_deref()).body(offer).send().await.map_err(of_transport)?;
        let status = response.status();
        let location = response.headers().get(header::LOCATION).cloned();
        let body = response.text().await.map_err(of_transport)?;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        let location = location.map(|location| {
            let path = location.to_str().map_err(|_| SignalError::Url)?;
            url.join(path).map_err(|_| SignalError::Url)
        });
        Ok(Session {
            answer: Answer::parse(&body)?,
            location: location.transpose()?,
            token,
            http: self.clone(),
        })
    }
}

impl Session {
    /// Ends the session.
    ///
    /// # Errors
    /// See [`SignalError`]; that the session is already gone is none.
    pub async fn delete(self) -> Result<(), SignalError> {
        let Some(location) = self.location else { return Ok(()) };
        let delete = || authorize(self.http.client.delete(location.clone()), self.token.as_deref()).send();
        let response = match delete().await {
            // A kept connection may have been closed since, which shows when it is used; ending twice does no harm.
            Err(error) if !error.is_timeout() => delete().await,
            response => response,
        };
        let response = response.map_err(of_transport)?;
        let status = response.status();
        if status.is_success() || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(());
        }
        Err(refused(status, &response.text().await.unwrap_or_default()))
    }
}

fn authorize(request: reqwest::RequestBuilder, token: Option<&str>) -> reqwest::RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

fn of_transport(error: reqwest::Error) -> SignalError {
    if error.is_timeout() { SignalError::Timeout } else { SignalError::Transport(error) }
}

fn refused(status: StatusCode, body: &str) -> SignalError {
    let document: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let title = document.as_ref().and_then(|document| document.get("title")?.as_str());
    SignalError::Refused { status: status.as_u16(), problem: without_numbers(title.unwrap_or_default()) }
}

/// Puts `N` for each number, so that refusals for one reason count as one.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars().take(TITLE_CHARS_MAX) {
        let digit = letter.is_ascii_digit();
        if !digit {
            out.push(letter);
        } else if !out.ends_with('N') {
            out.push('N');
        }
    }
    out
}

/// A title is a line.
const TITLE_CHARS_MAX: usize = 120;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a ramp with a pause, shorter than servers keep.
const POOL_IDLE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
