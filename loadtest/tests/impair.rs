//! The emulator as people run it: the binary between sockets, changed by lines.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end its process"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running emulator.
struct Emulator {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Emulator {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"))
            .args(["impair", "--json"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut emulator = Self { process, stdin, stdout, ready: Value::Null };
        emulator.ready = emulator.answer();
        assert_eq!(emulator.ready["event"], "ready");
        emulator
    }

    /// In front of this server, on a free port.
    fn before(server: &UdpSocket, arguments: &[&str]) -> Self {
        let to = server.local_addr().unwrap().to_string();
        Self::start(&[&["--listen", "127.0.0.1:0", "--to", &to], arguments].concat())
    }

    fn address(&self) -> SocketAddr {
        self.ready["listen"].as_str().unwrap().parse().unwrap()
    }

    fn say(&mut self, line: &str) -> Value {
        writeln!(self.stdin, "{line}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// A socket that sends to the emulator.
    fn remote(&self) -> UdpSocket {
        let remote = socket();
        remote.connect(self.address()).unwrap();
        remote
    }

    fn interrupt(mut self) -> Value {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let last = self.answer();
        assert!(self.process.wait().unwrap().success());
        last
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..bytes].to_vec(), from)
}

#[test]
fn two_remotes_seem_two_addresses_to_the_server_and_get_their_own_answers() {
    let server = socket();
    let emulator = Emulator::before(&server, &[]);
    let (first, second) = (emulator.remote(), emulator.remote());

    first.send(b"first").unwrap();
    let (heard_first, first_seen) = receive(&server);
    second.send(b"second").unwrap();
    let (heard_second, second_seen) = receive(&server);
    server.send_to(b"to the second", second_seen).unwrap();
    server.send_to(b"to the first", first_seen).unwrap();

    assert_eq!((heard_first.as_slice(), heard_second.as_slice()), (&b"first"[..], &b"second"[..]));
    assert_ne!(first_seen, second_seen);
    assert_eq!(receive(&first), (b"to the first".to_vec(), emulator.address()));
    assert_eq!(receive(&second), (b"to the second".to_vec(), emulator.address()));
    let stats = emulator.interrupt();
    assert_eq!(stats["remotes"], 2);
    assert_eq!((&stats["up"]["delivered"], &stats["down"]["delivered"]), (&2.into(), &2.into()));
}

#[test]
fn the_delay_holds_in_each_direction() {
    let server = socket();
    let emulator = Emulator::before(&server, &["--up", "delay=60ms", "--down", "delay=30ms"]);
    let remote = emulator.remote();

    let start = Instant::now();
    remote.send(b"ping").unwrap();
    let (_, seen) = receive(&server);
    let up = start.elapsed();
    let start = Instant::now();
    server.send_to(b"pong", seen).unwrap();
    receive(&remote);
    let down = start.elapsed();

    // The upper bounds leave room for a busy machine.
    assert!((Duration::from_millis(60)..Duration::from_millis(160)).contains(&up), "{up:?}");
    assert!((Duration::from_millis(30)..Duration::from_millis(130)).contains(&down), "{down:?}");
}

#[test]
fn the_rate_can_be_changed_while_packets_wait() {
    let server = socket();
    // 1,000 bytes with their headers take 100 ms.
    let mut emulator = Emulator::before(&server, &["--up", "rate=80k,queue=5s"]);
    let remote = emulator.remote();
    let start = Instant::now();
    for number in 0..20_u8 {
        remote.send(&[number; 972]).unwrap();
    }

    receive(&server);
    let first = start.elapsed();
    let answer = emulator.say("up rate=8M");
    let numbers: Vec<u8> = (1..20).map(|_| receive(&server).0[0]).collect();
    let all = start.elapsed();

    assert_eq!(answer["up"], "clear,rate=8M,queue=5s");
    assert!(first >= Duration::from_millis(100), "{first:?}");
    assert_eq!(numbers, (1..20).collect::<Vec<u8>>());
    assert!(all < Duration::from_millis(1500), "{all:?}: at the old rate it would have been 2 s");
    assert_eq!(emulator.say("stats")["up"]["queue_dropped"], 0);
}

#[test]
fn garbage_is_refused_with_a_good_example_and_changes_nothing() {
    let server = socket();
    let mut emulator = Emulator::before(&server, &["--down", "delay=5ms"]);

    for (line, expected) in [
        ("faster please", "down SPEC, up SPEC"),
        ("down", "delay=50ms"),
        ("down loss=150%", "loss=5%"),
        ("both delay=9ms,rate=fast", "rate=1.5M"),
        ("up jitter=10ms", "delay=10ms,jitter=10ms"),
        ("to the moon", "to 127.0.0.1:8080"),
        ("\u{0}\u{1b}\u{fffd}", "stats"),
        (&"x".repeat(4000), "is no command"),
    ] {
        let answer = emulator.say(line);
        assert_eq!(answer["event"], "error", "{line:?}");
        assert!(answer["message"].as_str().unwrap().contains(expected), "{line:?}: {answer}");
    }

    let answer = emulator.say("both clear,loss=0%");
    assert_eq!((&answer["down"], &answer["up"]), (&"clear".into(), &"clear".into()));
    let answer = emulator.say("down delay=5ms");
    assert_eq!(answer["down"], "clear,delay=5ms");
}

#[test]
fn a_blackout_takes_everything_and_is_counted() {
    let server = socket();
    let mut emulator = Emulator::before(&server, &[]);
    let remote = emulator.remote();

    emulator.say("both blackout");
    for _ in 0..5 {
        remote.send(b"nobody hears").unwrap();
    }
    while emulator.say("stats")["up"]["blackout_dropped"] != 5 {}
    emulator.say("both clear");
    remote.send(b"back").unwrap();

    assert_eq!(receive(&server).0, b"back");
}

#[test]
fn the_server_can_be_named_and_changed_later() {
    let (first, second) = (socket(), socket());
    let mut emulator = Emulator::start(&["--listen", "127.0.0.1:0"]);
    let remote = emulator.remote();
    remote.send(b"too early").unwrap();
    while emulator.say("stats")["refused"] != 1 {}

    for server in [&first, &second] {
        let answer = emulator.say(&format!("to {}", server.local_addr().unwrap()));
        assert_eq!(answer["event"], "turned");
        remote.send(b"hello").unwrap();

        assert_eq!(receive(server).0, b"hello");
    }
}

#[test]
fn the_end_of_stdin_is_not_the_end() {
    let server = socket();
    let mut emulator = Emulator::before(&server, &[]);
    let remote = emulator.remote();

    let sink = Command::new("true").stdin(Stdio::piped()).spawn().unwrap().stdin.take().unwrap();
    drop(std::mem::replace(&mut emulator.stdin, sink));
    remote.send(b"still there").unwrap();

    assert_eq!(receive(&server).0, b"still there");
    assert_eq!(emulator.interrupt()["event"], "stats");
}

#[test]
fn a_wrong_command_line_is_refused_with_a_good_example() {
    for (arguments, expected) in [
        (&["--listen", "127.0.0.1:0", "--down", "delay=50"][..], "delay=50ms"),
        (&["--listen", "nowhere"], "--listen"),
        (&[], "--listen"),
        (&["--tun", "a/b"], "write for example slow"),
        (&["--tun", "nctest", "--tun-net", "10.77.0.1"], "10.77.0.0"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"))
            .arg("impair")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();

        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
