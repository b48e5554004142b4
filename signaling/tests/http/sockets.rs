//! The listener with real sockets: which protocol a socket speaks, how many there may be, how they end.

use std::net::SocketAddr;

use crate::support::Server;
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

struct Door {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    _server: Server,
}

impl Door {
    fn open(limits: SocketLimits) -> Self {
        let server = Server::start();
        let listeners = Listeners::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        let (stop, stopped) = watch::channel(false);
        let serve = listeners.serve(server.router.clone(), server.node.handle(), limits, stopped);
        Self { address, stop, serving: tokio::spawn(serve), _server: server }
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
