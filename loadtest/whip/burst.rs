//! Packets that leave together: neighbours of one length go to the kernel in one call.

use std::io;
use std::net::SocketAddr;

use crate::socket::Socket;

/// Gathers packets to one address into runs. A shorter packet may end a run; it takes the run with it.
#[derive(Debug)]
pub(super) struct Burst {
    run: Vec<u8>,
    count: usize,
    /// The length of the run's packets.
    segment: usize,
    /// Whether the path divides runs; until it refuses one.
    divides: bool,
    tally: Tally,
}

/// What was handed to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Packets that the kernel did not take.
    pub(super) errors: u64,
}

impl Burst {
    /// Makes an empty burst.
    pub(super) const fn new() -> Self {
        let tally = Tally { packets: 0, bytes: 0, errors: 0 };
        Self { run: Vec::new(), count: 0, segment: 0, divides: true, tally }
    }

    /// Adds a packet, and sends the run before it when it does not continue it.
    pub(super) fn push(&mut self, packet: &[u8], socket: &Socket, to: SocketAddr) {
        let longer = self.run.len().saturating_add(packet.len());
        let continues = packet.len() <= self.segment && longer <= RUN_BYTES_MAX;
        if !continues {
            self.flush(socket, to);
            self.segment = packet.len();
        }
        self.run.extend_from_slice(packet);
        self.count = self.count.saturating_add(1);
        if packet.len() < self.segment || self.count == RUN_PACKETS_MAX {
            self.flush(socket, to);
        }
    }

    /// Sends what is gathered.
    pub(super) fn flush(&mut self, socket: &Socket, to: SocketAddr) {
        if self.run.is_empty() {
            return;
        }
        if self.count > 1 && self.divides {
            let segment = u16::try_from(self.segment).unwrap_or(u16::MAX);
            let sent = socket.send_run(&self.run, segment, to);
            self.divides = !matches!(&sent, Err(error) if error.kind() != io::ErrorKind::WouldBlock);
            if self.divides {
                self.tally.add(self.count, self.run.len(), sent.is_ok());
                return self.clear();
            }
        }
        for packet in self.run.chunks(self.segment.max(1)) {
            let sent = socket.send(packet, to).is_ok();
            self.tally.add(1, packet.len(), sent);
        }
        self.clear();
    }

    /// Returns what was sent so far.
    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    fn clear(&mut self) {
        self.run.clear();
        self.count = 0;
        self.segment = 0;
    }
}

impl Tally {
    fn add(&mut self, packets: usize, bytes: usize, sent: bool) {
        let [packets, bytes] = [packets, bytes].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
        if sent {
            self.packets = self.packets.saturating_add(packets);
            self.bytes = self.bytes.saturating_add(bytes);
        } else {
            self.errors = self.errors.saturating_add(packets);
        }
    }
}

/// What the kernel divides at most (`UDP_MAX_SEGMENTS`).
const RUN_PACKETS_MAX: usize = 64;
/// The longest UDP payload.
const RUN_BYTES_MAX: usize = 65_507;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::ReceiveBuffer;

    #[test]
    fn packets_arrive_in_their_order_and_each_by_itself_whatever_their_lengths() {
        let mut lengths = vec![1_200; 10];
        lengths.extend([1_199; 5]);
        lengths.extend([40, 1_000, 1_001, 1_001, 900, 900, 7]);
        lengths.extend([500; 150]);

        let (received, tally) = send(&lengths, Burst::new());

        assert_eq!(received, lengths);
        let bytes = lengths.iter().sum::<usize>() as u64;
        assert_eq!(tally, Tally { packets: lengths.len() as u64, bytes, errors: 0 });
    }

    #[test]
    fn a_path_that_does_not_divide_gets_the_packets_one_by_one() {
        let lengths = [1_200, 1_200, 1_200, 300];

        let (received, tally) = send(&lengths, Burst { divides: false, ..Burst::new() });

        assert_eq!(received, lengths);
        assert_eq!((tally.packets, tally.errors), (4, 0));
    }

    #[test]
    fn what_the_kernel_does_not_take_is_counted() {
        let socket = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let unreachable = SocketAddr::from(([192, 0, 2, 1], 9));
        let mut burst = Burst::new();

        burst.push(&[1; 100], &socket, unreachable);
        burst.push(&[2; 100], &socket, unreachable);
        burst.flush(&socket, unreachable);

        assert_eq!(burst.tally(), Tally { packets: 0, bytes: 0, errors: 2 });
    }

    fn send(lengths: &[usize], mut burst: Burst) -> (Vec<usize>, Tally) {
        let [from, to] = [(); 2].map(|()| Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap());
        for (index, length) in lengths.iter().enumerate() {
            burst.push(&vec![u8::try_from(index % 256).unwrap(); *length], &from, to.local());
        }
        burst.flush(&from, to.local());

        let mut buffer = ReceiveBuffer::new();
        let mut received = Vec::new();
        while let Ok(run) = to.receive(&mut buffer) {
            for packet in run.packets() {
                assert_eq!(usize::from(packet[0]), received.len() % 256, "in order");
                received.push(packet.len());
            }
        }
        (received, burst.tally())
    }
}
