//! The emulator between two interfaces. Needs root, /dev/net/tun and network namespaces, which a test run by anybody
//! anywhere has not: `make test-impair`. Asked for, it fails without them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

const NAME: &str = "nctest";
const CONNECT: &str = "\
import socket, time
start = time.monotonic()
connection = socket.create_connection(('10.77.4.1', PORT), 10)
print(time.monotonic() - start)
connection.sendall(b'from the namespace')
connection.shutdown(socket.SHUT_WR)
assert connection.recv(100) == b'from here'
";

#[test]
#[ignore = "needs root and /dev/net/tun; `make test-impair` as root"]
fn tcp_from_a_namespace_meets_the_delay_of_both_ways_and_nothing_is_left_behind() {
    let mut emulator = Command::new(env!("CARGO_BIN_EXE_nearcast-loadtest"))
        .args(["impair", "--json", "--tun", NAME, "--tun-net", "10.77.4.0"])
        .args(["--down", "delay=40ms", "--up", "delay=20ms"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(emulator.stdout.take().unwrap()).lines();
    let ready = lines.next().expect("run as root, where /dev/net/tun is; the reason is above").unwrap();
    assert!(ready.contains(r#""there":"10.77.4.2""#), "{ready}");

    let listener = TcpListener::bind("10.77.4.1:0").unwrap();
    let program = CONNECT.replace("PORT", &listener.local_addr().unwrap().port().to_string());
    let client = Command::new("ip")
        .args(["netns", "exec", NAME, "python3", "-c", &program])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut accepted, from) = listener.accept().unwrap();
    let mut heard = String::new();
    accepted.read_to_string(&mut heard).unwrap();
    accepted.write_all(b"from here").unwrap();
    drop(accepted);
    let output = client.wait_with_output().unwrap();
    assert!(Command::new("kill").args(["-TERM", &emulator.id().to_string()]).status().unwrap().success());
    let stats: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(emulator.wait().unwrap().success());

    assert!(output.status.success());
    let seconds: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!((0.060..0.2).contains(&seconds), "a TCP handshake took {seconds} s over 60 ms of round trip");
    assert_eq!(heard, "from the namespace");
    assert_eq!(from.ip().to_string(), "10.77.4.2");
    assert!(stats["up"]["delivered"].as_u64().unwrap() >= 4, "{stats}");
    let left = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8(left.stdout).unwrap().contains(NAME));
    let left = Command::new("ip").args(["link", "show", &format!("{NAME}0")]).output().unwrap();
    assert!(!left.status.success());
}
