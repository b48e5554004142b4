//! ICE-TCP sockets, from the first check to the end of their session, on shards that do not run.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use transport::dtls::Role;
use transport::ice::{Credentials, ENTROPY_LEN};
use transport::link::LinkConfig;
use transport::tcp_framing;

use super::{Bench, at};
use crate::handle::NodeHandle;
use crate::mesh::EndReason;
use crate::name::{RoomName, SessionId};
use crate::registry::{NewMedia, NewSession};
use crate::shard::table::PATHS_MAX;
use crate::shard::tcp;

#[test]
fn a_socket_that_never_runs_dry_leaves_the_others_their_turn_and_loses_nothing() {
    let mut bench = Bench::new(1);
    let noise = [0, 1, NOISE].repeat(FLOOD);
    let flood = bench.accept(0, &noise);
    let other = bench.accept(0, &[0, 1, BROKEN_STUN]);

    bench.shards[0].receive(at(0));
    let first = bench.dropped_as("unclassified");
    assert!((1..FLOOD as u64 / 10).contains(&first), "{first} frames in one turn");
    assert_eq!(bench.dropped_as("stun_malformed"), 1);

    for _ in 0..FLOOD {
        bench.shards[0].receive(at(0));
    }
    assert_eq!(bench.dropped_as("unclassified"), FLOOD as u64);
    assert!(bench.shards[0].readable_tcp.is_empty());
    drop((flood, other));
}

#[test]
fn a_socket_that_its_session_has_forgotten_is_closed_but_never_the_selected_one() {
    let mut bench = Bench::new(1);
    bench.admit();
    let mut sockets: Vec<TcpStream> = (0..PATHS_MAX).map(|_| bench.check(0)).collect();
    // The latest nomination is that of the oldest socket.
    bench.send((0, 0), &mut sockets[0], &framed(&CHECK));

    sockets.push(bench.check(0));

    let open: Vec<bool> = sockets.iter_mut().map(is_open).collect();
    let expected: Vec<bool> = (0..=PATHS_MAX).map(|socket| socket != 1).collect();
    assert_eq!(open, expected);

    let key = bench.shards[0].table.keys()[0];
    bench.shards[0].end_session(at(0), key, EndReason::Deleted);
    assert!(!sockets.iter_mut().any(is_open));
}

#[test]
fn a_socket_finds_its_session_on_another_shard_and_loses_no_half_of_a_frame_on_the_way() {
    let mut bench = Bench::new(2);
    bench.admit();
    let first = bench.check(0);
    let mut second = bench.accept(1, &[framed(&CHECK), vec![0, 2, NOISE]].concat());

    bench.shards[1].receive(at(0));
    bench.shards[0].take_mail(at(0));
    bench.send((0, 1), &mut second, &[NOISE]);

    let sessions: Vec<usize> = bench.shards.iter().map(|shard| shard.table.len()).collect();
    assert_eq!(sessions, [1, 0]);
    let key = bench.shards[0].table.keys()[0];
    assert_eq!(bench.shards[0].table.get(key).unwrap().paths.len(), 2);
    assert_eq!(bench.dropped_as("unclassified"), 1, "the frame that was cut");
    drop(first);
}

impl Bench {
    /// Lets the registry have a publisher that answers to [`CHECK`].
    pub(super) fn admit(&mut self) {
        let world = &self.shards[0].world;
        let certificate = Arc::clone(&world.certificate);
        let session = NewSession {
            id: SessionId::draw().unwrap(),
            room: RoomName::parse("demo").unwrap(),
            credential: None,
            etag: String::new(),
            link: LinkConfig {
                ice: Credentials::from_entropy(&[0; ENTROPY_LEN]),
                role: Role::Server,
                fingerprint: certificate.fingerprint().clone(),
                certificate,
                viewer: false,
            },
            media: NewMedia::Publisher(Vec::new()),
            began: at(0),
        };
        world.registry().admit(at(0), session).unwrap();
    }

    /// Opens a socket whose check a shard takes.
    fn check(&mut self, shard: usize) -> TcpStream {
        let socket = self.accept(shard, &framed(&CHECK));
        self.shards[shard].receive(at(0));
        self.shards[shard].service_touched(at(0));
        self.shards[shard].sender.flush();
        socket
    }

    /// Opens a socket, sends some bytes on it, and gives it to a shard as the listener does; its other end.
    fn accept(&mut self, shard: usize, bytes: &[u8]) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, remote) = listener.accept().unwrap();
        near.write_all(bytes).unwrap();
        let mut seen = vec![0; bytes.len()];
        while far.peek(&mut seen).unwrap() < bytes.len() {}
        // The listener reads as much as tells the protocol. Shards are chosen by the port.
        let mut first = vec![0; bytes.len().min(10)];
        (&far).read_exact(&mut first).unwrap();
        let remote = SocketAddr::new(remote.ip(), u16::try_from(shard).unwrap());
        NodeHandle::new(Arc::clone(&self.shards[0].world)).accept_ice_tcp(far, remote, first);
        self.shards[shard].take_mail(at(0));
        near
    }

    /// Sends on a socket, and lets the shard that has it under a number receive that.
    fn send(&mut self, (shard, number): (usize, u32), socket: &mut TcpStream, bytes: &[u8]) {
        let shard = &mut self.shards[shard];
        let mut events = mio::Events::with_capacity(64);
        shard.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        socket.write_all(bytes).unwrap();
        while !events.iter().any(|event| event.token() == tcp::token(number)) {
            shard.poll.poll(&mut events, Some(PATIENCE)).unwrap();
        }
        shard.readable_tcp.push_back(number);
        shard.receive(at(0));
        shard.service_touched(at(0));
    }
}

/// Says whether the server keeps a socket open, reading what it has sent.
fn is_open(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let outcome = socket.read_to_end(&mut Vec::new());
    outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(tcp_framing::frame(datagram, &mut bytes));
    bytes
}

/// A first byte that belongs to no protocol.
const NOISE: u8 = 0x40;

/// A first byte of STUN, and nothing behind it.
const BROKEN_STUN: u8 = 0;

/// Frames that a socket's buffer in the kernel holds at once.
const FLOOD: usize = 10_000;

const PATIENCE: Duration = Duration::from_secs(5);

/// A Binding request with USE-CANDIDATE, of the user name `AAAAAAAA:themtoo` and for the password of 24 times `A`: the
/// credentials that are made of zeros.
pub(super) const CHECK: [u8; 76] = [
    0x00, 0x01, 0x00, 0x38, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, //
    0x00, 0x06, 0x00, 0x10, b'A', b'A', b'A', b'A', b'A', b'A', b'A', b'A', b':', b't', b'h', b'e', b'm',
    b't', b'o', b'o', //
    0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, //
    0x00, 0x25, 0x00, 0x00, //
    0x00, 0x08, 0x00, 0x14, 0xf9, 0xe9, 0x43, 0xa8, 0x9c, 0xd4, 0xb0, 0x9d, 0x06, 0x8e, 0x0c, 0x99, 0x45,
    0x13, 0xea, 0x5f, 0x95, 0xec, 0x59, 0x7e,
];
