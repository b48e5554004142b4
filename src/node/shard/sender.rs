//! What leaves a shard: runs of datagrams per UDP socket, bounded buffers per TCP socket. Packet path.

use transport::path::{Path, Via};
use transport::udp::{GsoMode, SendBatch, UdpSocket};

use super::tcp::TcpTable;

/// One UDP socket with the batch that gathers for it.
#[derive(Debug)]
struct Lane {
    socket: UdpSocket,
    batch: SendBatch,
}

/// Gathers what is to be sent in one turn and sends it at the end.
#[derive(Debug)]
pub(super) struct Sender {
    lanes: Vec<Lane>,
    pub(super) tcp: TcpTable,
    scratch: Box<[u8]>,
    /// Datagrams the kernel would not take since the counters were last read.
    pub(super) unsent: u64,
}

impl Sender {
    pub(super) fn new(sockets: Vec<UdpSocket>, gso: GsoMode) -> Self {
        let lanes =
            sockets.into_iter().map(|socket| Lane { batch: SendBatch::new(gso, &socket), socket }).collect();
        Self { lanes, tcp: TcpTable::default(), scratch: vec![0; PACKET_MAX].into_boxed_slice(), unsent: 0 }
    }

    pub(super) fn socket(&self, lane: usize) -> Option<&UdpSocket> {
        self.lanes.get(lane).map(|lane| &lane.socket)
    }

    pub(super) const fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Returns room for one packet on a path; `None` when the path's socket is gone.
    pub(super) fn slot(&mut self, path: Path) -> Option<&mut [u8]> {
        match path.via {
            Via::Tcp(_) => Some(&mut self.scratch),
            Via::Udp(lane) => {
                let Lane { socket, batch } = self.lanes.get_mut(usize::from(lane))?;
                if batch.slot(PACKET_MAX).is_none() {
                    self.unsent += u64::from(batch.flush(socket).dropped);
                }
                batch.slot(PACKET_MAX)
            }
        }
    }

    /// Returns how many bytes the next datagram on a path may have to leave in one run with the last one; zero when it
    /// would leave alone.
    pub(super) fn room_along(&self, path: Path) -> usize {
        match path.via {
            Via::Tcp(_) => 0,
            Via::Udp(lane) => {
                self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.batch.room_along(path.remote))
            }
        }
    }

    /// Takes the first `len` bytes of the slot last returned for this path.
    pub(super) fn commit(&mut self, path: Path, len: usize) {
        match path.via {
            Via::Tcp(socket) => {
                if let Some(packet) = self.scratch.get(..len) {
                    self.unsent += u64::from(!self.tcp.send(socket, packet));
                }
            }
            Via::Udp(lane) => {
                if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
                    lane.batch.commit(path.remote, len);
                }
            }
        }
    }

    /// Sends a datagram that exists already.
    pub(super) fn send(&mut self, path: Path, datagram: &[u8]) {
        let Some(slot) = self.slot(path) else { return };
        if let Some(slot) = slot.get_mut(..datagram.len()) {
            slot.copy_from_slice(datagram);
            self.commit(path, datagram.len());
        }
    }

    /// Hands everything gathered to the kernel.
    pub(super) fn flush(&mut self) {
        for Lane { socket, batch } in &mut self.lanes {
            if !batch.is_empty() {
                self.unsent += u64::from(batch.flush(socket).dropped);
            }
        }
        self.tcp.flush();
    }

    /// Says whether a path takes more media now; UDP always does.
    pub(super) fn is_writable(&self, path: Path) -> bool {
        match path.via {
            Via::Udp(_) => true,
            Via::Tcp(socket) => self.tcp.is_writable(socket),
        }
    }

    /// Says whether nothing waits on a path; UDP never makes anything wait.
    pub(super) fn is_drained(&self, path: Path) -> bool {
        match path.via {
            Via::Udp(_) => true,
            Via::Tcp(socket) => self.tcp.is_drained(socket),
        }
    }
}

/// A full datagram of a publisher, larger header extensions, and the SRTP tag.
pub(super) const PACKET_MAX: usize = 1_700;
