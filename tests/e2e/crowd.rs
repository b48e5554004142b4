//! A crowd on a server of two shards: half of it each, however the kernel spreads its addresses.

use std::thread::sleep;
use std::time::Duration;

use crate::process::Peer;
use crate::server::Server;

const VIEWERS: u64 = 120;

/// A sixteenth of what a shard has on the average.
const APART_MAX: u64 = VIEWERS / 2 / 16;

#[test]
fn a_crowd_is_spread_evenly_over_the_shards_and_everyone_has_a_picture() {
    let mut server = Server::start();
    let options = ["whip", "--json", "--bitrate", "300k", "--duration", "600s", "--url"];
    let mut publisher = Peer::load_test(&[&options[..], &[&server.url("/whip/crowd")]].concat());
    server.wait_live("crowd");

    let viewers = VIEWERS.to_string();
    let options =
        ["whep", "--json", "--viewers", &viewers, "--join-rate", "60/s", "--duration", "4s", "--url"];
    let mut crowd = Peer::load_test(&[&options[..], &[&server.url("/whep/crowd")]].concat());
    server.wait_until("all viewers on their shards", 60, |server| {
        server.metric("nearcast_shard_viewers", "") == VIEWERS
    });
    let [first, second] =
        ["0", "1"].map(|shard| server.metric("nearcast_shard_viewers", &format!("shard=\"{shard}\"")));
    let seen = crowd.wait_json(60);
    // Counters are flushed once a second.
    sleep(Duration::from_millis(1_200));
    let handed_over = server.metric("nearcast_mesh_datagrams_total", "");

    println!("{first} and {second} viewers on the shards, {handed_over} datagrams handed over");
    assert!(first.abs_diff(second) <= APART_MAX, "{first} and {second}");
    assert!(handed_over > 0, "chance spread them: nothing was tested");
    assert_eq!(seen["viewers_connected"], VIEWERS, "{seen}");
    for count in ["viewers_without_media", "viewers_frozen", "packets_lost", "verify_failures"] {
        assert_eq!(seen[count], 0, "{count} in {seen}");
    }
    publisher.interrupt(10);
    server.assert_sound();
}
