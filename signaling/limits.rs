//! Bounds on what one client may ask for: rate by address, size and time of bodies, size of headers.
//!
//! The rate limiter is a token bucket an address (IPv6: a /64, as one client owns it whole). Its table is bounded:
//! when it is full, buckets that have refilled are forgotten, and if none has, all strangers share one bucket, so
//! that a flood of addresses throttles strangers and not those already known.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;

use crate::error::{Code, Problem};

/// How often one address may send POST, PUT, PATCH and DELETE, and ask for explanations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: f64,
    /// Requests at once after a pause.
    pub burst: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 50.0, burst: 200.0 }
    }
}

/// Token buckets by address.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    buckets: Arc<Mutex<Buckets>>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_address: HashMap<IpAddr, Bucket>,
    strangers: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Arc::default() }
    }

    /// Takes a token; `Err` says how long until there is one.
    fn take(&self, now: Instant, address: IpAddr) -> Result<(), Duration> {
        let address = network(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { tokens: self.rate.burst, at: now };
        if buckets.by_address.len() >= ADDRESSES_MAX && !buckets.by_address.contains_key(&address) {
            buckets.by_address.retain(|_, bucket| bucket.refilled(now, self.rate) < self.rate.burst);
        }
        let bucket =
            if buckets.by_address.len() >= ADDRESSES_MAX && !buckets.by_address.contains_key(&address) {
                buckets.strangers.get_or_insert(full)
            } else {
                buckets.by_address.entry(address).or_insert(full)
            };
        bucket.take(now, self.rate)
    }
}

impl Bucket {
    fn refilled(&self, now: Instant, rate: Rate) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second;
        (self.tokens + gained).min(rate.burst)
    }

    fn take(&mut self, now: Instant, rate: Rate) -> Result<(), Duration> {
        self.tokens = self.refilled(now, rate);
        self.at = now;
        if self.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / rate.per_second.max(0.001)));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

/// Refuses what comes too often with 429, and headers over the limit with 431.
pub(crate) async fn apply(State(limiter): State<Limiter>, request: Request, next: Next) -> Response<Body> {
    let header_bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes + request.uri().path().len() > HEADER_BYTES_MAX {
        return Problem::new(Code::HeaderTooLarge, format!("the header has {header_bytes} bytes"))
            .into_response();
    }
    if is_limited(&request)
        && let Err(wait) = limiter.take(Instant::now(), remote(&request).unwrap_or(UNKNOWN))
    {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let problem = Problem::new(Code::RateLimited, "this address sends requests too fast");
        return problem.with_retry_after(seconds).into_response();
    }
    next.run(request).await
}

/// Says whether a request counts against its address's rate: what changes something, and what asks a shard.
fn is_limited(request: &Request) -> bool {
    let changes = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let path = request.uri().path();
    changes || (path.starts_with("/api/v1/sessions/") && path.ends_with("/explain"))
}

/// Returns the address the request came from, when a listener told it.
pub(crate) fn remote(request: &Request) -> Option<IpAddr> {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(info.0.ip().to_canonical())
}

/// Reads a body of at most `bytes_max` bytes within [`BODY_TIME_MAX`].
///
/// # Errors
/// 413, 408, or 400 when the client goes away.
pub(crate) async fn read_body(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("the body has more than {bytes_max} bytes"));
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME_MAX, axum::body::to_bytes(request.into_body(), bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::Syntax, "the body ended early")),
        Err(_) => Err(Problem::new(Code::Timeout, "the body did not come in time")),
    }
}

/// Reads a body of text.
///
/// # Errors
/// As [`read_body`], and with `syntax` when it is empty or not UTF-8.
pub(crate) async fn read_text(request: Request, syntax: Code) -> Result<String, Problem> {
    let body = read_body(request, SDP_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(Problem::new(syntax, "the body is empty"));
    }
    String::from_utf8(body.into()).map_err(|_| Problem::new(syntax, "the body is not UTF-8"))
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// What one client owns: an IPv4 address or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// What an SDP body or fragment may have (whole requests of browsers have 2–10 kB).
pub(crate) const SDP_BYTES_MAX: usize = 64 * 1024;
/// What a JSON body may have here: layer choices and lists of event names.
pub(crate) const JSON_BYTES_MAX: usize = 4 * 1024;
/// What all header lines together may have.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to send a body.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How many addresses are remembered: 65,536 buckets are about 5 MB.
const ADDRESSES_MAX: usize = 65_536;
/// Stands for a request whose address nobody told (only in tests).
const UNKNOWN: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_long_run_rate_holds() {
        let limiter = Limiter::new(Rate { per_second: 10.0, burst: 3.0 });
        let start = Instant::now();
        let address = IpAddr::from([192, 0, 2, 1]);

        let passed = (0..5).filter(|_| limiter.take(start, address).is_ok()).count();
        let later = limiter.take(start + Duration::from_millis(100), address);
        let at_once = limiter.take(start + Duration::from_millis(100), address);

        assert_eq!(passed, 3);
        assert!(later.is_ok());
        assert!(at_once.unwrap_err() <= Duration::from_millis(100));
    }

    #[test]
    fn one_address_does_not_use_up_anothers_tokens() {
        let limiter = Limiter::new(Rate { per_second: 1.0, burst: 1.0 });
        let now = Instant::now();

        limiter.take(now, IpAddr::from([192, 0, 2, 1])).unwrap();

        assert!(limiter.take(now, IpAddr::from([192, 0, 2, 1])).is_err());
        assert!(limiter.take(now, IpAddr::from([192, 0, 2, 2])).is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let limiter = Limiter::new(Rate { per_second: 1.0, burst: 1.0 });
        let now = Instant::now();

        limiter.take(now, "2001:db8::1".parse().unwrap()).unwrap();

        assert!(limiter.take(now, "2001:db8::2".parse().unwrap()).is_err());
        assert!(limiter.take(now, "2001:db8:0:1::2".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_shares_one_bucket() {
        let limiter = Limiter::new(Rate { per_second: 0.001, burst: 2.0 });
        let now = Instant::now();
        let known = IpAddr::from([10, 0, 0, 0]);
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() {
            limiter.take(now, IpAddr::from((0x0a00_0000 + number).to_be_bytes())).unwrap();
        }

        let strangers =
            (0..10u8).filter(|last| limiter.take(now, IpAddr::from([192, 0, 2, *last])).is_ok()).count();

        assert_eq!(strangers, 2);
        assert!(limiter.take(now, known).is_ok());
        assert_eq!(limiter.buckets.lock().unwrap().by_address.len(), ADDRESSES_MAX);
    }
}
