//! More sockets than a shell's or a service manager's usual soft limit of descriptors allows.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::Server;

#[test]
fn a_server_with_a_low_soft_limit_of_descriptors_answers_behind_400_sockets() {
    let server = Server::start_after("ulimit -Sn 256");
    let idle: Vec<TcpStream> = (0..400)
        .map(|_| {
            let mut socket = TcpStream::connect(server.http).unwrap();
            // A request that has begun may stay for 10 s; a silent socket would be closed after 5.
            socket.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            socket
        })
        .collect();

    let began = Instant::now();
    let healthy = server.get("/healthz");

    let took = began.elapsed();
    assert_eq!(healthy.status, 200);
    assert!(took < Duration::from_secs(5), "took {took:?}\n{}", server.log_tail());
    assert!(!server.log().contains("socket was not accepted"), "{}", server.log_tail());
    drop(idle);
}

#[test]
fn a_server_whose_hard_limit_of_descriptors_is_low_starts_and_says_what_to_do() {
    let mut server = Server::start_after("ulimit -n 256");

    let log = server.log();
    assert_eq!(log.matches("LimitNOFILE").count(), 1, "{}", server.log_tail());
    server.assert_sound();
}
