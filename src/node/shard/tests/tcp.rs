//! ICE-TCP sockets of shards that do not run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::{Bench, at};
use crate::handle::NodeHandle;

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

impl Bench {
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

    /// Datagrams that all shards have dropped for a reason.
    fn dropped_as(&mut self, reason: &str) -> u64 {
        for shard in &mut self.shards {
            shard.counters.flush(&shard.world.metrics);
        }
        self.shards[0].world.metrics.drops.with_label_values(&[reason]).get()
    }
}

/// A first byte that belongs to no protocol.
const NOISE: u8 = 0x40;

/// A first byte of STUN, and nothing behind it.
const BROKEN_STUN: u8 = 0;

/// Frames that a socket's buffer in the kernel holds at once.
const FLOOD: usize = 10_000;
