//! A node without a network around it, and the requests that tests send.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use node::{Node, NodeConfig};
use serde_json::Value;
use signaling::SignalingConfig;
use tower::ServiceExt;

/// A server's routes over a node on a port of its own.
pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) router: Router,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(SignalingConfig::default())
    }

    pub(crate) fn with(config: SignalingConfig) -> Self {
        Self::over(NodeConfig::default(), config)
    }

    /// A server whose node has its own limits.
    pub(crate) fn over(node: NodeConfig, config: SignalingConfig) -> Self {
        let node = Node::start(&NodeConfig { udp: SocketAddr::from(([127, 0, 0, 1], 0)), ..node }).unwrap();
        let router = signaling::router(node.handle(), config);
        Self { node, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.into()).unwrap(),
        }
    }

    /// Makes a session and returns the answer to its POST.
    pub(crate) async fn join(&self, path: &str, offer: &str) -> Answer {
        let answer = self.send(post(path, offer)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text);
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn post(path: &str, offer: &str) -> Request<Body> {
    request("POST", path, &[("content-type", "application/sdp")], offer)
}

/// Makes a request; `headers` are names and values.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8080");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from(body.to_owned())).unwrap()
}

/// Marks a request as sent from an address.
pub(crate) fn from(mut request: Request<Body>, remote: &str) -> Request<Body> {
    request.extensions_mut().insert(ConnectInfo(remote.parse::<SocketAddr>().unwrap()));
    request
}

/// A publisher's offer of Opus and VP8, as a browser makes it.
pub(crate) fn publish_offer() -> String {
    offer("sendonly", "a=msid:show camera\r\na=ssrc:1111 cname:host\r\n")
}

/// A viewer's offer of the same.
pub(crate) fn watch_offer() -> String {
    offer("recvonly", "")
}

/// A trickle fragment with these credentials.
pub(crate) fn fragment(ufrag: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host\r\na=end-of-candidates\r\n"
    )
}

fn offer(direction: &str, video: &str) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let transport = format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\na=ice-options:trickle\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=rtcp-mux\r\na={direction}\r\n"
    );
    format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n{transport}a=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
         a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n{video}"
    )
}
