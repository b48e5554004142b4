//! Who may see and steer what is not theirs.
//!
//! There are no administrators' tokens yet, so the only administrator is somebody on this machine: the socket comes
//! from loopback, the `Host` is loopback (a foreign name that resolves here is a rebinding attack), no proxy stands
//! between, and no foreign page's script is asking.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderName;
use axum::http::header::{FORWARDED, HOST, ORIGIN, VIA};

use crate::error::{Code, Problem};
use crate::{SignalingConfig, headers, limits};

/// Refuses all but administrators.
///
/// # Errors
/// 403 that says who may.
pub(crate) fn require(config: &SignalingConfig, request: &Request) -> Result<(), Problem> {
    let direct = PROXY_HEADERS.iter().all(|name| !request.headers().contains_key(name));
    let here = limits::remote(request).is_some_and(|address| address.is_loopback());
    let named = headers::reached_at(request, None).is_some_and(|address: IpAddr| address.is_loopback());
    if config.admin_from_loopback && direct && here && named && !is_cross_origin(request) {
        return Ok(());
    }
    Err(Problem::new(Code::AdminOnly, "this is answered only on the server's own machine"))
}

fn is_cross_origin(request: &Request) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return false };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
    origin.is_none() || origin != host
}

const PROXY_HEADERS: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;

    use super::*;

    #[test]
    fn only_a_direct_request_on_this_machine_is_an_administrators() {
        let allowed = |remote: &str, host: &str, extra: &[(&str, &str)]| {
            let mut request = Request::builder().header(HOST, host);
            for (name, value) in extra {
                request = request.header(*name, *value);
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(remote.parse::<SocketAddr>().unwrap()));
            require(&SignalingConfig::default(), &request).is_ok()
        };

        assert!(allowed("127.0.0.1:5000", "127.0.0.1:8080", &[]));
        assert!(allowed("[::1]:5000", "localhost:8080", &[]));
        assert!(allowed("127.0.0.1:5000", "localhost:8080", &[("origin", "http://localhost:8080")]));
        assert!(!allowed("192.168.1.9:5000", "127.0.0.1:8080", &[]), "from elsewhere");
        assert!(!allowed("127.0.0.1:5000", "evil.example:8080", &[]), "a rebound name");
        assert!(
            !allowed("127.0.0.1:5000", "localhost:8080", &[("x-forwarded-for", "192.0.2.1")]),
            "by a proxy"
        );
        assert!(
            !allowed("127.0.0.1:5000", "localhost:8080", &[("origin", "https://evil.example")]),
            "a foreign page"
        );
        assert!(!allowed("127.0.0.1:5000", "localhost:8080", &[("origin", "null")]), "a sandboxed page");
    }
}
