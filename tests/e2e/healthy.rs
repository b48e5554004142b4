//! A show that runs while something bad happens beside it, and that must not notice.

use crate::relay::{Relay, Tap};
use crate::rust_peer::{Access, Publisher, Viewer};
use crate::server::Server;

/// One room with a publisher behind a relay and a viewer.
pub(crate) struct Show {
    pub(crate) server: Server,
    pub(crate) relay: Relay,
    pub(crate) publisher: Publisher,
    pub(crate) viewer: Viewer,
}

impl Show {
    /// Starts a server and a show that is being forwarded when this returns.
    pub(crate) fn begin() -> Self {
        Self::begin_with(Box::new(|_| ()))
    }

    /// The same, with a look at each datagram of the publisher before it is handed on.
    pub(crate) fn begin_with(tap: Tap) -> Self {
        let server = Server::start();
        let relay = Relay::start(server.udp, tap);
        let access = Access { http: server.http, media: Some(relay.front) };
        let (mut publisher, track) = Publisher::join(access, "healthy");
        let viewer = Viewer::join(Access { http: server.http, media: None }, "healthy");
        publisher.start(track);
        viewer.wait_count(60, 10);
        Self { server, relay, publisher, viewer }
    }

    /// Asserts that packets still come, that not one of all that were sent is missing, doubled or renumbered, and that
    /// the server stands.
    #[track_caller]
    pub(crate) fn assert_unharmed(mut self) {
        self.viewer.wait_count(self.viewer.count() + 60, 5);
        let sent = self.publisher.stop() as usize;
        self.viewer.wait_count(sent, 5);
        assert_eq!(self.viewer.assert_unbroken(), sent, "each packet once");
        self.server.assert_sound();
    }
}
