//! The listener with real sockets: which protocol a socket speaks, how many there may be, what one may do, how they end.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Server, post, publish_offer, request, watch_offer};
use axum::http::StatusCode;
use signaling::listener::{Listeners, SocketLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[tokio::test]
async fn http_is_served_however_its_bytes_are_cut() {
    let door = Door::open(SocketLimits::default());
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    socket.set_nodelay(true).unwrap();

    for piece in ["G", "ET /heal", "thz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"] {
        socket.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }

    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.ends_with(b"ok\n"));
}

#[tokio::test]
async fn http2_is_told_by_its_preface() {
    let door = Door::open(SocketLimits::default());
    let mut socket = TcpStream::connect(door.address).await.unwrap();

    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();

    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the first frame is SETTINGS");
}

#[tokio::test]
async fn tls_and_unknown_protocols_are_closed_without_an_answer() {
    let door = Door::open(SocketLimits::default());

    for first in [&[0x16, 3, 1, 2, 0][..], b"\x80\x01\x02", b"ssh-2.0", &[0, 96, 0, 1, 0, 76, 1, 2, 3, 4]] {
        let mut socket = TcpStream::connect(door.address).await.unwrap();
        socket.write_all(first).await.unwrap();
        assert!(read_all(&mut socket).await.is_empty(), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_closed() {
    let door = Door::open(SocketLimits::default());
    let mut silent = TcpStream::connect(door.address).await.unwrap();
    let mut undecided = TcpStream::connect(door.address).await.unwrap();
    undecided.write_all(&[0, 96, 0]).await.unwrap();

    assert!(read_all(&mut silent).await.is_empty());
    assert!(read_all(&mut undecided).await.is_empty());
}

#[tokio::test]
async fn one_address_may_open_only_so_many_sockets() {
    let door = Door::open(SocketLimits { total: 10, per_address: 2 });
    let mut kept =
        [TcpStream::connect(door.address).await.unwrap(), TcpStream::connect(door.address).await.unwrap()];
    for socket in &mut kept {
        assert!(get(socket, "/healthz").await.starts_with("HTTP/1.1 200"));
    }

    let mut third = TcpStream::connect(door.address).await.unwrap();

    assert!(read_all(&mut third).await.is_empty());
    assert!(get(&mut kept[0], "/healthz").await.starts_with("HTTP/1.1 200"), "the others go on");
}

#[tokio::test]
async fn stopping_closes_idle_sockets_and_ends() {
    let door = Door::open(SocketLimits::default());
    let mut idle = TcpStream::connect(door.address).await.unwrap();
    assert!(get(&mut idle, "/healthz").await.starts_with("HTTP/1.1 200"));

    door.stop.send(true).unwrap();
    door.serving.await.unwrap();

    assert!(read_all(&mut idle).await.is_empty());
    assert!(TcpStream::connect(door.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let door = Door::open(SocketLimits::default());

    let error = Listeners::bind(&[door.address]).unwrap_err();

    assert_eq!(error.address, door.address);
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn later_zeros_take_the_port_of_the_first() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners = Listeners::bind(&[any, SocketAddr::from(([127, 0, 0, 2], 0))]).unwrap();

    let ports: Vec<u16> = listeners.addresses().iter().map(SocketAddr::port).collect();

    assert_eq!(ports[0], ports[1]);
}

#[tokio::test]
async fn viewers_are_refused_while_a_shard_is_busy_and_let_in_again_when_it_has_time() {
    let door = Door::open(SocketLimits::default());
    door.server.join("/whip/demo", &publish_offer()).await;
    door.server.join("/whep/demo", &watch_offer()).await;

    let flood = Flood::begin(door.address);
    door.wait_until("nearcast_joins_open 0").await;
    let refused = door.server.send(post("/whep/demo", &watch_offer())).await;
    flood.end();
    door.wait_until("nearcast_joins_open 1").await;

    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let title = refused.json()["title"].as_str().unwrap().to_owned();
    assert!(title.starts_with("this node is full: its busiest thread works "), "{title}");
    door.server.join("/whep/demo", &watch_offer()).await;
}

/// An ICE-TCP socket that gives its shard more to look at than it can.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Flood {
    fn begin(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // A frame that begins like a check, so that the socket is taken for ICE-TCP, and frames of one byte.
        let mut check = [0; 22];
        check[..10].copy_from_slice(&[0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        let frames = [0, 1, 0x40].repeat(20_000);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A socket without a valid check is closed after a while; then comes the next one.
                let mut socket = std::net::TcpStream::connect(address).unwrap();
                let mut written = socket.write_all(&check);
                while written.is_ok() && !stopped.load(Ordering::Relaxed) {
                    written = socket.write_all(&frames);
                }
            }
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

struct Door {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    server: Server,
}

impl Door {
    fn open(limits: SocketLimits) -> Self {
        let server = Server::start();
        let listeners = Listeners::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        let (stop, stopped) = watch::channel(false);
        let serve = listeners.serve(server.router.clone(), server.node.handle(), limits, stopped);
        Self { address, stop, serving: tokio::spawn(serve), server }
    }
}

impl Door {
    /// Waits until the metrics have a line.
    async fn wait_until(&self, line: &str) {
        let waiting = async {
            while !self.metrics().await.lines().any(|other| other == line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "waited for {line}");
    }

    async fn metrics(&self) -> String {
        self.server.send(request("GET", "/metrics", &[], "")).await.text
    }
}

/// Reads until the other side closes; a reset counts as closed.
async fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes).await;
    bytes
}

/// Sends a request on a kept-alive socket and returns the answer as far as one read gives it.
async fn get(socket: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = [0; 4096];
    let count = socket.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}
