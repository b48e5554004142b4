//! What sending costs per datagram: gathering runs, and handing them to the kernel.
//!
//! Budget, CPU time: a run of eight makes a datagram cost at most 0.45 of one that is sent alone in the same run of
//! the bench, a run of 16 at most 0.35, of four 0.6, of two 0.85, and gathering without runs (one call for many
//! addresses) no more than 1.1. Gathering itself, copy of the datagram included, may take 80 ns.
//!
//! The receivers are sockets on loopback that nobody reads: the kernel's receiving half is in these numbers, up to a
//! full buffer where it drops.
//!
//! `cargo bench --locked -p nearcast-transport --bench run`
#![expect(clippy::unwrap_used, reason = "a bench may end its process")]

#[path = "../../rtp/benches/budget/mod.rs"]
mod budget;

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use budget::{Bench, Budget, Chunk, Each, OverBudget, cpu_time};
use socket2::{Domain, Socket, Type};
use transport::udp::{GsoMode, SendBatch, UdpGroup, UdpSocket};

fn main() -> Result<(), OverBudget> {
    let mut bench = Bench::new("run");
    let group = UdpGroup::bind((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
    let sender = group.sockets.first().unwrap();
    assert!(sender.knows_gso(), "without UDP_SEGMENT there are no runs to measure");
    let viewers = Viewers::bind();

    alone(&mut bench, sender, &viewers);
    for (name, budget, length) in [
        ("send_runs_of_1", 1.1, 1),
        ("send_runs_of_2", 0.85, 2),
        ("send_runs_of_4", 0.6, 4),
        ("send_runs_of_8", 0.45, 8),
        ("send_runs_of_16", 0.35, 16),
    ] {
        send(&mut bench, (name, Budget::Times(budget, ALONE)), (sender, &viewers), length);
    }
    for (name, length) in [("gather_runs_of_1", 1), ("gather_runs_of_8", 8)] {
        gather(&mut bench, name, (sender, &viewers), length);
    }
    bench.finish()
}

fn alone(bench: &mut Bench, sender: &UdpSocket, viewers: &Viewers) {
    let datagram = [0x5a; DATAGRAM_BYTES];
    bench.part(ALONE, Budget::Reference, CHUNK, || {
        cpu_time(|| {
            for count in 0..CHUNK.operations {
                sender.send_to(black_box(&datagram), viewers.address(count)).unwrap();
            }
        })
    });
}

/// Everything from the first slot to the last flush.
fn send(
    bench: &mut Bench,
    (name, budget): (&'static str, Budget),
    (sender, viewers): (&UdpSocket, &Viewers),
    length: u64,
) {
    let datagram = [0x5a; DATAGRAM_BYTES];
    let mut batch = SendBatch::new(GsoMode::Auto, sender);
    bench.part(name, budget, CHUNK, || {
        let mut sent = 0;
        let spent = cpu_time(|| {
            for count in 0..CHUNK.operations {
                let remote = viewers.address(count / length);
                while !put(&mut batch, remote, black_box(&datagram)) {
                    sent += batch.flush(sender).sent;
                }
            }
            sent += batch.flush(sender).sent;
        });
        assert_eq!(u64::from(sent), CHUNK.operations, "the kernel takes every datagram");
        spent
    });
    assert!(batch.uses_gso(), "the kernel refused runs on the way");
}

/// The part of it that is ours: the tray filled, and flushed unmeasured.
fn gather(bench: &mut Bench, name: &'static str, (sender, viewers): (&UdpSocket, &Viewers), length: u64) {
    let datagram = [0x5a; DATAGRAM_BYTES];
    let mut batch = SendBatch::new(GsoMode::Auto, sender);
    let chunk = Chunk { operations: TRAY, ..CHUNK };
    bench.part(name, Budget::Nanos(80.0), chunk, || {
        let spent = cpu_time(|| {
            for count in 0..TRAY {
                assert!(put(&mut batch, viewers.address(count / length), black_box(&datagram)));
            }
        });
        batch.flush(sender);
        spent
    });
}

/// Puts a datagram on the tray; false when the tray is full.
fn put(batch: &mut SendBatch, remote: SocketAddr, datagram: &[u8]) -> bool {
    let Some(slot) = batch.slot(SLOT_BYTES) else { return false };
    let (head, _) = slot.split_at_mut(datagram.len());
    head.copy_from_slice(datagram);
    batch.commit(remote, datagram.len());
    true
}

/// Sockets that nobody reads.
struct Viewers {
    addresses: Vec<SocketAddr>,
    _sockets: Vec<Socket>,
}

impl Viewers {
    fn bind() -> Self {
        let sockets: Vec<Socket> = (0..VIEWERS)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
                socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
                socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
                socket
            })
            .collect();
        let address = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap();
        Self { addresses: sockets.iter().map(address).collect(), _sockets: sockets }
    }

    fn address(&self, turn: u64) -> SocketAddr {
        let place = usize::try_from(turn).unwrap() % self.addresses.len();
        *self.addresses.get(place).unwrap()
    }
}

const ALONE: &str = "send_alone";
/// 1,200 bytes of payload with header, extensions and tag.
const DATAGRAM_BYTES: usize = 1_236;
/// The most that a slot is asked for: a full datagram.
const SLOT_BYTES: usize = 1_500;
/// Fewer than the descriptors that a process has without asking.
const VIEWERS: usize = 500;
/// Full after a few datagrams, like that of a viewer which hangs.
const RECEIVE_BYTES: usize = 16 * 1_024;
/// Datagrams that fit the tray.
const TRAY: u64 = 192;
const CHUNK: Chunk = Chunk { operations: 1_600, each: Each::Bytes(DATAGRAM_BYTES) };
