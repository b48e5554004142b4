//! A session whose address changes under it: the new port may hash to another shard, and must find its session.

use std::thread::sleep;
use std::time::Duration;

use crate::healthy::Show;
use crate::relay::Relay;
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

#[test]
fn a_publisher_whose_port_changes_goes_on_in_its_session_whichever_shard_the_port_leads_to() {
    let mut show = Show::begin();

    // The kernel hashes ports to shards: that nine all lead to the same of two has a chance of 1 in 256.
    for _ in 0..MOVES {
        let before = show.viewer.count();
        show.relay.rebind();
        // The peer keeps its consent fresh every few seconds; media passes from the first check on.
        show.viewer.wait_count(before + PACKETS_AFTER_MOVE, 15);
    }

    assert_eq!(show.server.metric("nearcast_links_connected_total", ""), 2, "no session began anew");
    // Counters are flushed once a second.
    sleep(Duration::from_millis(1_200));
    let handed_over = show.server.metric("nearcast_mesh_datagrams_total", "");
    println!("{MOVES} moves, {handed_over} datagrams handed over between shards");
    assert!(handed_over > 0, "no move led to the other shard: nothing was tested");
    show.server.assert_sound();
}

#[test]
fn a_viewer_whose_port_changes_goes_on_watching_although_it_never_nominates_again() {
    let mut server = Server::start();
    let mut relay = Relay::start(server.udp, Box::new(|_| ()));
    let (mut publisher, track) = Publisher::join(Access { http: server.http, media: None }, "roaming");
    let viewer = Viewer::join(Access { http: server.http, media: Some(relay.front) }, "roaming");
    publisher.start(track);
    viewer.wait_count(PACKETS_AFTER_MOVE, 10);

    for _ in 0..MOVES_OF_VIEWER {
        let before = viewer.count();
        relay.rebind();
        // A plain check, then a report, long before the consent of the old port runs out.
        viewer.wait_count(before + PACKETS_AFTER_MOVE, 12);
    }

    assert_eq!(server.metric("nearcast_links_connected_total", ""), 2, "no session began anew");
    publisher.stop();
    server.assert_sound();
}

const MOVES: usize = 8;
const MOVES_OF_VIEWER: usize = 3;
const PACKETS_AFTER_MOVE: usize = 60;
