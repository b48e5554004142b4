//! The bare limit: what this machine's kernel gives to somebody who only sends.
//!
//! One pinned thread sends GSO runs to N loopback sockets, no protection, no protocol, no reading, and charges itself
//! by thread CPU time, so that other work on the machine moves the figure little. Nobody reads the sockets: their
//! buffers are full after the first run, so each packet is charged with sending, routing and the receive half up to
//! the drop. A server's CPU per packet set against this says how far it is from the machine, whatever the machine.
//!
//! Whether the receiving socket takes runs whole (`UDP_GRO`) decides most of the receive half, which loopback charges
//! to the sender; whether somebody reads decides whether the sender's memory comes back to it warm. [`Receiver`] names
//! all three, and plain sockets are what the scenarios are measured by. A fourth, [`Receiver::Viewers`], is no limit of
//! the machine but of the task: what is left of a server when nothing has to be decided.

mod protect;

use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use nix::sys::socket::sockopt::UdpGroSegment;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, setsockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::SockRef;

use self::protect::Sealed;
use super::{affinity, table};
use crate::descriptors;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// To how many addresses in turn.
    pub addresses: usize,
    /// Packets handed to the kernel at once for one address.
    pub run: u16,
    /// Bytes of each packet, as UDP payload.
    pub size_bytes: u16,
    /// How much thread CPU time to spend sending.
    pub cpu_time: Duration,
    /// The core of the sender.
    pub core: usize,
    /// How the receiving sockets are set.
    pub receiver: Receiver,
}

/// `limit`: prints this machine's bare limit of sending, for every kind of receiver unless one is named.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// To how many addresses in turn.
    #[arg(long, default_value_t = 500)]
    addresses: usize,
    /// Packets a run.
    #[arg(long, default_value_t = 8)]
    run: u16,
    /// Bytes a packet.
    #[arg(long, default_value_t = 1_228)]
    size: u16,
    /// CPU seconds to spend on each kind of receiver.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The sender's core [default: the first allowed one].
    #[arg(long)]
    core: Option<usize>,
    /// Who receives [default: one after the other].
    #[arg(long)]
    receiver: Option<Receiver>,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Those of [`measure`].
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let all = || vec![Receiver::Plain, Receiver::Gro, Receiver::Read, Receiver::Viewers];
    let receivers = arguments.receiver.map_or_else(all, |one| vec![one]);
    let core = match arguments.core {
        Some(core) => core,
        None => *affinity::allowed()?.first().context("this process may use no core")?,
    };
    let mut limits = Vec::new();
    for receiver in receivers {
        let config = Config {
            addresses: arguments.addresses,
            run: arguments.run,
            size_bytes: arguments.size,
            cpu_time: Duration::from_secs(arguments.seconds),
            core,
            receiver,
        };
        limits.push((config, measure(config)?));
    }
    table::print_limits(&limits, arguments.json)
}

/// How the sockets take what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Receiver {
    /// `UDP_GRO`: a run stays one buffer to the end. The load's own sockets are like this.
    Gro,
    /// As `gro`, and another core reads them, if there is one: what a server meets whose clients are on its machine.
    Read,
    /// As a socket is made: the kernel cuts each run into packets at the receiver, at the sender's cost.
    Plain,
    /// As `read`, at the pace of a show and with its protection: a run for each address thirty times a second, each
    /// packet sealed for it alone, read by another core every 16 ms, as the load does.
    Viewers,
}

impl Receiver {
    const fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Viewers)
    }

    /// How long its reader leaves the sockets alone.
    const fn pause(self) -> Duration {
        match self {
            Self::Viewers => VIEWERS_ROUND,
            Self::Gro | Self::Read | Self::Plain => Duration::ZERO,
        }
    }
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Packets the kernel took.
    pub packets: u64,
    /// The sender's thread CPU time for them.
    pub cpu_time: Duration,
}

/// What a scenario's figures are set against.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To plain sockets.
    pub plain: Limit,
    /// To sockets that take runs whole.
    pub gro: Limit,
    /// To the likeness of viewers; absent where there is no second core to read on.
    pub viewers: Option<Limit>,
}

impl Limit {
    /// CPU nanoseconds a packet; 0 when nothing was sent.
    pub fn cpu_ns_per_packet(&self) -> f64 {
        if self.packets == 0 {
            return 0.0;
        }
        self.cpu_time.as_secs_f64() * 1e9 / self.packets as f64
    }

    /// Packets in one second of one core.
    pub fn packets_per_core_s(&self) -> f64 {
        let cpu_s = self.cpu_time.as_secs_f64();
        if cpu_s > 0.0 { self.packets as f64 / cpu_s } else { 0.0 }
    }
}

/// Measures the bare limit on a thread of its own, pinned to the configured core.
///
/// # Errors
/// When the descriptor limit cannot be raised enough, a socket cannot be made or set, or the kernel refuses the runs
/// (no GSO).
pub fn measure(config: Config) -> anyhow::Result<Limit> {
    ensure!(config.addresses > 0 && config.run > 0 && config.size_bytes > 0, "nothing to send to nobody");
    descriptors::raise(u64::try_from(config.addresses)?)?;
    let receivers = open_receivers(&config)?;

    let limit = match config.receiver {
        Receiver::Gro | Receiver::Plain => affinity::on_core(config.core, || send(&config, &receivers))??,
        Receiver::Read | Receiver::Viewers => send_to_a_reader(&config, &receivers)?,
    };

    drop(receivers);
    Ok(limit)
}

fn open_receivers(config: &Config) -> anyhow::Result<Vec<UdpSocket>> {
    (0..config.addresses)
        .map(|_| {
            let socket =
                UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a receiving socket")?;
            let buffer = if config.receiver.is_read() { READ_BUFFER_BYTES } else { RECEIVE_BUFFER_BYTES };
            SockRef::from(&socket).set_recv_buffer_size(buffer)?;
            socket.set_nonblocking(true)?;
            if config.receiver != Receiver::Plain {
                setsockopt(&socket, UdpGroSegment, &true).context("cannot set UDP_GRO")?;
            }
            Ok(socket)
        })
        .collect()
}

/// Sends while a thread on all other cores empties the sockets in turns.
fn send_to_a_reader(config: &Config, receivers: &[UdpSocket]) -> anyhow::Result<Limit> {
    let others: Vec<usize> = affinity::allowed()?.into_iter().filter(|core| *core != config.core).collect();
    ensure!(!others.is_empty(), "there is no other core to read on");
    let sent_all = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            affinity::on_cores(&others, || read_until(&sent_all, receivers, config.receiver.pause()))
        });
        let limit = affinity::on_core(config.core, || send(config, receivers));
        sent_all.store(true, Ordering::Relaxed);
        let read = reader.join();
        ensure!(matches!(read, Ok(Ok(()))), "the reader ended early");
        limit?
    })
}

fn read_until(sent_all: &AtomicBool, receivers: &[UdpSocket], pause: Duration) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while !sent_all.load(Ordering::Relaxed) {
        for socket in receivers {
            while socket.recv(&mut buffer).is_ok() {}
        }
        thread::sleep(pause);
    }
}

fn send(config: &Config, receivers: &[UdpSocket]) -> anyhow::Result<Limit> {
    let addresses = socket_addresses(receivers)?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open the sending socket")?;
    SockRef::from(&sender).set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let run_bytes = usize::from(config.size_bytes).saturating_mul(usize::from(config.run));
    let mut runs_bytes = vec![0x5a_u8; run_bytes.saturating_mul(MESSAGES_PER_CALL)];
    let segments = [ControlMessage::UdpGsoSegments(&config.size_bytes)];
    let mut headers = MultiHeaders::preallocate(MESSAGES_PER_CALL, Some(nix::cmsg_space!(u16)));
    let is_show = config.receiver == Receiver::Viewers;
    let mut sealed = is_show.then(|| Sealed::new(config)).transpose()?;

    let began_at = Instant::now();
    let begin = thread_cpu_time()?;
    let mut runs: u64 = 0;
    let mut frames: u32 = 0;
    let spent = loop {
        for (index, group) in addresses.chunks(MESSAGES_PER_CALL).enumerate() {
            if let Some(sealed) = &mut sealed {
                let first = index.saturating_mul(MESSAGES_PER_CALL);
                sealed.write(first, group.len(), &mut runs_bytes)?;
            }
            let slices: Vec<_> = runs_bytes.chunks(run_bytes).map(|run| [IoSlice::new(run)]).collect();
            let sent =
                sendmmsg(sender.as_raw_fd(), &mut headers, &slices, group, segments, MsgFlags::empty())
                    .context("the kernel refused a run: is there no UDP GSO?")?
                    .count();
            runs = runs.saturating_add(u64::try_from(sent)?);
        }
        let spent = thread_cpu_time()?.saturating_sub(begin);
        if spent >= config.cpu_time {
            break spent;
        }
        if is_show {
            frames = frames.saturating_add(1);
            thread::sleep(FRAME.saturating_mul(frames).saturating_sub(began_at.elapsed()));
        }
    };
    Ok(Limit { packets: runs.saturating_mul(u64::from(config.run)), cpu_time: spent })
}

fn socket_addresses(sockets: &[UdpSocket]) -> anyhow::Result<Vec<Option<SockaddrIn>>> {
    sockets
        .iter()
        .map(|socket| {
            let port = socket.local_addr()?.port();
            Ok(Some(SockaddrIn::new(127, 0, 0, 1, port)))
        })
        .collect()
}

fn thread_cpu_time() -> anyhow::Result<Duration> {
    let time =
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("cannot read the thread's CPU time")?;
    Ok(Duration::from(time))
}

/// As many as the server's sender puts into one call at runs of 8.
const MESSAGES_PER_CALL: usize = 8;
/// Full after one run, whatever the kernel rounds it up to.
const RECEIVE_BUFFER_BYTES: usize = 2_304;
/// Some runs: a reader that falls behind loses packets, which does not matter here.
const READ_BUFFER_BYTES: usize = 128 * 1024;
const SEND_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Of thirty a second.
const FRAME: Duration = Duration::from_nanos(33_333_333);
/// As the load looks at viewers that have their picture.
const VIEWERS_ROUND: Duration = Duration::from_millis(16);

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            addresses: 3,
            run: 4,
            size_bytes: 600,
            cpu_time: Duration::from_millis(5),
            core: affinity::allowed().unwrap()[0],
            receiver: Receiver::Gro,
        }
    }

    #[test]
    fn the_limit_counts_packets_and_charges_at_least_the_asked_cpu_time() {
        let limit = measure(config()).unwrap();

        assert!(limit.packets >= 12, "{limit:?}");
        assert!(limit.cpu_time >= Duration::from_millis(5), "{limit:?}");
        assert!(limit.cpu_ns_per_packet() > 10.0, "{limit:?}");
    }

    #[test]
    fn a_reader_on_another_core_does_not_change_what_is_counted() {
        for receiver in [Receiver::Read, Receiver::Viewers] {
            let limit = measure(Config { receiver, ..config() });
            if affinity::allowed().unwrap().len() < 2 {
                assert!(limit.is_err());
                continue;
            }

            let limit = limit.unwrap();

            assert!(limit.packets >= 12 && limit.cpu_time >= Duration::from_millis(5), "{limit:?}");
        }
    }

    #[test]
    fn viewers_are_sent_thirty_runs_a_second() {
        let began_at = Instant::now();

        let limit =
            measure(Config { receiver: Receiver::Viewers, cpu_time: Duration::from_millis(2), ..config() });

        let limit = limit.unwrap();
        let frames = (limit.packets / 12) as u32;
        assert!(frames >= 2 && began_at.elapsed() >= FRAME * (frames - 1), "{limit:?}");
    }

    #[test]
    fn a_run_that_no_datagram_can_hold_is_an_error() {
        let refused = measure(Config { run: 60, size_bytes: 1_400, ..config() });

        assert!(refused.is_err(), "{refused:?}");
    }

    #[test]
    fn cpu_per_packet_and_packets_per_core_are_two_views_of_one_figure() {
        let limit = Limit { packets: 2_000_000, cpu_time: Duration::from_secs(2) };

        assert!((limit.cpu_ns_per_packet() - 1_000.0).abs() < 1e-6);
        assert!((limit.packets_per_core_s() - 1_000_000.0).abs() < 1e-6);
    }
}
