//! The few plain HTTP requests that the bench itself makes: metrics, discovery, and one join to see how it is refused.
//!
//! One request a TCP connection, `http` only, headers kept as they came: a refusal is looked at, not interpreted.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, ensure};

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Response {
    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").context("the response has no end of headers")?;
        let mut lines = head.lines();
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Ok(Self {
            status: status.with_context(|| format!("not a status line: {status_line:?}"))?,
            headers: headers.collect(),
            body: body.to_owned(),
        })
    }
}

/// GETs `url`.
///
/// # Errors
/// When the URL is not `http://host:port/path`, or nothing readable comes back in time.
pub fn get(url: &str) -> anyhow::Result<Response> {
    exchange("GET", url, "Accept: application/json, text/plain\r\n", "")
}

/// POSTs an SDP offer to `url`.
///
/// # Errors
/// As [`get`].
pub fn post_offer(url: &str, offer: &str) -> anyhow::Result<Response> {
    exchange("POST", url, "Content-Type: application/sdp\r\n", offer)
}

/// DELETEs `url`.
///
/// # Errors
/// As [`get`].
pub fn delete(url: &str) -> anyhow::Result<Response> {
    exchange("DELETE", url, "", "")
}

/// The `http://host:port` of a URL.
///
/// # Errors
/// When it is no `http` URL.
pub fn origin(url: &str) -> anyhow::Result<&str> {
    let (authority, _) = split(url)?;
    let length = "http://".len().saturating_add(authority.len());
    Ok(url.get(..length).unwrap_or(url))
}

fn exchange(method: &str, url: &str, headers: &str, body: &str) -> anyhow::Result<Response> {
    let (authority, path) = split(url)?;
    let host = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let address = host.to_socket_addrs()?.next().with_context(|| format!("{host} has no address"))?;
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    // In one piece: who answers and closes after the first one would break the pipe under the others.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {authority}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket
        .take(RESPONSE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(|| format!("no answer from {url}"))?;
    Response::parse(&String::from_utf8_lossy(&bytes))
}

fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("not an http URL: {url}"))?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    ensure!(!authority.is_empty(), "no host in {url}");
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

const PATIENCE: Duration = Duration::from_secs(5);
/// Far above any metrics page of ours.
const RESPONSE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_refusal_is_read_with_its_headers_and_its_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/whep/x", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = vec![0; 4_096];
            let length = socket.read(&mut request).unwrap();
            socket
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n{\"code\":\"x\"}")
                .unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });

        let response = post_offer(&url, "v=0").unwrap();

        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("5"));
        assert_eq!(response.body, r#"{"code":"x"}"#);
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /whep/x HTTP/1.0\r\n"), "{request}");
        assert!(request.ends_with("Content-Length: 3\r\nConnection: close\r\n\r\nv=0"), "{request}");
    }

    #[test]
    fn an_origin_is_scheme_and_authority() {
        assert_eq!(origin("http://h:1/whep/x").unwrap(), "http://h:1");
        assert_eq!(origin("http://h").unwrap(), "http://h");
        assert!(origin("https://h/").is_err());
        assert!(origin("http:///x").is_err());
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        assert!(Response::parse("").is_err());
        assert!(Response::parse("SSH-2.0\r\n\r\n").is_err());
    }
}
