//! Which ICE checks find their session: of strangers, of known paths, of other generations. On shards that do not run.

use std::net::SocketAddr;

use transport::ice::Credentials;
use transport::path::Path;

use super::tcp::CHECK;
use super::{Bench, at};
use crate::mesh::Message;

#[test]
fn strangers_of_the_same_network_cut_off_no_path_that_leads_to_another_shard() {
    let mut bench = Bench::new(2);
    bench.admit();
    let claim = bench.shard().world.registry().claim("AAAAAAAA", 1);
    assert!(matches!(claim, crate::registry::Claim::Granted(_)));
    bench.hear(path(1), &mut CHECK.clone());
    assert_eq!(bench.posted(1), 1, "the path is led to its owner");

    for host in 2..62 {
        bench.hear(path(host), &mut guess());
    }
    assert!(bench.dropped_as("stun_limit") > 0, "the network was to be exhausted");
    bench.hear(path(1), &mut CHECK.clone());
    assert_eq!(bench.posted(1), 1, "a path that is known");
    bench.hear(path(62), &mut CHECK.clone());
    assert_eq!(bench.posted(1), 0, "a path that is not");
}

#[test]
fn guesses_from_a_known_path_are_charged_and_reach_nobody() {
    let mut bench = Bench::new(2);
    bench.admit();
    bench.shard().world.registry().claim("AAAAAAAA", 1);
    bench.hear(path(1), &mut CHECK.clone());
    assert_eq!(bench.posted(1), 1);

    for _ in 0..60 {
        bench.hear(path(1), &mut guess());
    }

    assert_eq!(bench.posted(1), 0);
    bench.hear(path(2), &mut guess());
    assert_eq!(bench.dropped_as("stun_limit"), 1);
}

#[test]
fn restarts_that_nobody_answers_leave_the_ice_generation_in_use() {
    let mut bench = Bench::new(1);
    bench.admit();
    bench.hear(path(1), &mut CHECK.clone());
    let key = bench.shard().table.keys()[0];
    let session = bench.session(key).id;

    for _ in 0..3 {
        let credentials = Credentials::generate().unwrap();
        bench.shard().world.registry().restart_ice(session, &credentials, String::new());
        bench.post(Message::RestartIce { session, credentials }, at(0));
    }
    bench.hear(path(1), &mut CHECK.clone());
    bench.hear(path(2), &mut CHECK.clone());

    assert_eq!(bench.dropped_as("stun_unknown_user"), 0);
    assert_eq!(bench.session(key).paths, [path(1), path(2)]);
}

impl Bench {
    /// Lets the first shard take a datagram.
    fn hear(&mut self, path: Path, datagram: &mut [u8]) {
        self.shard().handle_datagram(at(0), path, datagram);
    }

    /// Takes a shard's mail; how many datagrams were in it.
    fn posted(&mut self, shard: usize) -> usize {
        let mailboxes = &self.shard().world.mailboxes;
        let mail = std::iter::from_fn(|| mailboxes.take(shard));
        mail.filter(|message| matches!(message, Message::Datagram { .. })).count()
    }
}

/// A check with a wrong integrity.
fn guess() -> [u8; CHECK.len()] {
    let mut datagram = CHECK;
    datagram[CHECK.len() - 1] ^= 1;
    datagram
}

/// A path of a network of which all hosts are one stranger.
fn path(host: u8) -> Path {
    Path::udp(0, SocketAddr::from(([203, 0, 113, host], 50_000)))
}
