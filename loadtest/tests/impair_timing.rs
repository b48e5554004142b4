//! How exactly the emulator keeps its delay: `make test-impair`, on a quiet machine or ahead of everything else
//! (`chrt -f 50`, which the emulator inherits).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end its process")]

use std::io::{BufRead, BufReader, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use loadtest::clock::{WallClock, now};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use rtp::MonoTime;

const PACKETS: u64 = 50_000;
const GAP: Duration = Duration::from_micros(100);
const DELAY: Duration = Duration::from_millis(25);

#[test]
#[ignore = "measures the machine too; `make test-impair` on a quiet one"]
fn the_delay_is_kept_within_half_a_millisecond_at_10_000_packets_a_second() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    setsockopt(&server, sockopt::ReceiveTimestampns, &true).unwrap();
    // What the kernel drops here while this process waits for a core would count as lost by the emulator.
    setsockopt(&server, sockopt::RcvBuf, &(4 << 20)).unwrap();
    let to = server.local_addr().unwrap().to_string();
    let delay = format!("delay={DELAY:?}");
    let mut emulator = Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"))
        .args(["impair", "--json", "--listen", "127.0.0.1:0", "--to", &to, "--up", &delay])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(emulator.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let remote = UdpSocket::bind("127.0.0.1:0").unwrap();
    remote.connect(ready["listen"].as_str().unwrap()).unwrap();

    let (mut errors, seconds) = exchange(&remote, &server);
    let cpu = cpu_seconds(emulator.id());
    emulator.kill().unwrap();
    emulator.wait().unwrap();

    errors.sort_unstable();
    let at = |share: f64| errors[((errors.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    let rate = errors.len() as f64 / seconds;
    println!(
        "{rate:.0} packets/s: late by p50 {:.0} µs, p95 {:.0} µs, p99 {:.0} µs, at most {:.0} µs; {:.1} µs of CPU a packet",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
        cpu * 1e6 / errors.len() as f64
    );
    assert!(errors.len() as u64 >= PACKETS - PACKETS / 1000, "{} arrived", errors.len());
    assert!(errors[0] >= 0, "never early, but {} ns", errors[0]);
    assert!(at(0.5) <= 500.0);
    assert!(at(0.99) <= 2000.0);
}

/// Sends evenly and takes what comes out; returns how late each packet was in nanoseconds, and the time it took.
fn exchange(remote: &UdpSocket, server: &UdpSocket) -> (Vec<i64>, f64) {
    let wall = WallClock::compare();
    let begun = now();
    let mut errors = Vec::new();
    let (mut sent, mut last) = (0, begun);
    while sent < PACKETS || now().since(last) < DELAY * 4 {
        if sent < PACKETS && now().since(begun) >= GAP * sent as u32 {
            let mut payload = [0; 1200];
            payload[..8].copy_from_slice(&now().as_nanos().to_be_bytes());
            remote.send(&payload).unwrap();
            sent += 1;
            last = now();
        }
        while let Some((stamp, arrived)) = receive(server, wall) {
            errors.push((arrived.as_nanos() - stamp) as i64 - DELAY.as_nanos() as i64);
        }
    }
    (errors, last.since(begun).as_secs_f64())
}

/// Takes one datagram: the time written into it, and the kernel's time of its arrival.
fn receive(server: &UdpSocket, wall: WallClock) -> Option<(u64, MonoTime)> {
    let mut payload = [0; 1500];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut slices = [IoSliceMut::new(&mut payload)];
    let message =
        recvmsg::<()>(server.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty()).ok()?;
    let arrived = message.cmsgs().unwrap().find_map(|cmsg| match cmsg {
        ControlMessageOwned::ScmTimestampns(time) => {
            Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        }
        _ => None,
    });
    let arrived = wall.to_mono(arrived.unwrap());
    Some((u64::from_be_bytes(payload[..8].try_into().unwrap()), arrived))
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime in ticks of 10 ms (proc(5)).
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
