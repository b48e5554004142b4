//! One session on its shard: its link, and the media machine of its role.

use std::sync::Arc;

use rtp::MonoTime;
use sfu::bwe;
use sfu::drop_reason::DropCounts;
use sfu::publisher::{Publisher, PublisherConfig};
use sfu::ring::Rings;
use sfu::track::Epoch;
use sfu::viewer::{Forward, LayerRequest, Viewer, ViewerConfig};
use transport::link::Link;
use transport::path::Path;

use super::room_channel::RoomChannel;
use super::sender::Sender;
use crate::clock::Clock;
use crate::explain::timeline::Timeline;
use crate::mesh::EndReason;
use crate::name::{PublicId, RoomId, SessionId};
use crate::registry::{Seed, SeedMedia, Shared};

/// A session that this shard owns. What every packet reads stands first in memory, with the beginning of the link.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Session {
    pub(super) room: RoomId,
    pub(super) media: Media,
    /// When the timer wheel will call; `None` when it will not.
    pub(super) timer: Option<MonoTime>,
    /// Whether it is on the list of sessions to service in this turn.
    pub(super) touched: bool,
    /// The viewer's TCP socket is full: video waits for the next keyframe after it has drained.
    pub(super) held_back: bool,
    /// Set when the session has to go.
    pub(super) ending: Option<EndReason>,
    pub(super) link: Link,
    pub(super) id: SessionId,
    pub(super) public_id: PublicId,
    pub(super) shared: Arc<Shared>,
    /// The paths that lead here, oldest first.
    pub(super) paths: Vec<Path>,
    /// What the viewer's tracks had dropped when it was last counted, audio and video.
    pub(super) counted: [DropCounts; 2],
    /// What of the viewer's feedback was counted last.
    pub(super) feedback_counted: bwe::Stats,
    /// When it passed each step of its join.
    pub(super) timeline: Timeline,
    /// The room protocol on its data channels.
    pub(super) room_channel: RoomChannel,
}

/// Whether a viewer takes media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Not connected, or its socket is full.
    Waits,
    /// Its socket has drained; it begins again at a keyframe.
    Resumes,
    /// As usual.
    Flows,
}

/// The machine of a role.
#[derive(Debug)]
pub(super) enum Media {
    Publisher(Box<Publisher>, Epoch),
    Viewer(Box<Viewer>),
}

impl Session {
    /// Builds a session from its seed.
    pub(super) fn grow(seed: Seed, clock: &Clock, now: MonoTime) -> Self {
        let dice = getrandom::u64().unwrap_or_default();
        let media = match seed.media {
            SeedMedia::Publisher { epoch, tracks } => {
                let config = PublisherConfig {
                    epoch,
                    tracks,
                    rtcp_ssrc: rtp::Ssrc(getrandom::u32().unwrap_or(1).max(1)),
                    cname: CNAME.to_owned(),
                    clock: clock.media(),
                };
                Media::Publisher(Box::new(Publisher::new(config, now, dice)), epoch)
            }
            SeedMedia::Viewer { tracks } => {
                let cname = tracks.first().map_or_else(|| CNAME.to_owned(), |track| track.cname.clone());
                let mut viewer = Viewer::new(ViewerConfig { tracks, cname, clock: clock.media() }, now, dice);
                viewer.set_layer(now, seed.layer.unwrap_or(LayerRequest::Auto));
                Media::Viewer(Box::new(viewer))
            }
        };
        Self {
            id: seed.session,
            public_id: seed.public_id,
            room: seed.room,
            link: Link::new(seed.link, now),
            media,
            shared: seed.shared,
            paths: Vec::new(),
            timer: None,
            touched: false,
            ending: None,
            held_back: false,
            counted: <[DropCounts; 2]>::default(),
            feedback_counted: bwe::Stats::default(),
            timeline: Timeline { reached: Some(now), ..seed.timeline },
            room_channel: RoomChannel::new(now),
        }
    }

    /// Returns when the session wants to be called again.
    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        let media = match &self.media {
            Media::Publisher(publisher, _) => publisher.next_timeout(),
            Media::Viewer(viewer) => viewer.next_timeout(),
        };
        match (self.link.next_timeout(), media) {
            (Some(link), Some(media)) => Some(link.min(media)),
            (link, media) => link.or(media),
        }
    }

    /// Says whether [`super::Shard::service`] has something to do before the timer calls.
    pub(super) fn wants_service(&self) -> bool {
        let Media::Viewer(viewer) = &self.media else { return true };
        let is_early = |at: MonoTime| self.timer.is_none_or(|timer| at < timer);
        self.link.has_output()
            || viewer.has_output()
            || self.ending.is_some()
            || viewer.next_timeout().is_some_and(is_early)
    }

    /// Reads what serving a viewer reads of its link; see [`transport::link::Link::warm`].
    pub(super) fn warm_link(&self) -> u64 {
        u64::from(self.held_back) ^ self.link.warm()
    }

    /// Reads what taking a datagram reads; see [`transport::link::Link::warm_inbound`].
    pub(super) fn warm_inbound(&self) -> u64 {
        u64::from(self.touched) ^ self.link.warm_inbound()
    }

    /// Reads what a report reads of a viewer's machine; see [`sfu::viewer::Viewer::warm_report`].
    pub(super) fn warm_report(&self) -> u64 {
        match &self.media {
            Media::Viewer(viewer) => viewer.warm_report(),
            Media::Publisher(..) => 0,
        }
    }

    /// Reads what serving a viewer reads of its machine; see [`sfu::viewer::Viewer::warm`].
    pub(super) fn warm_media(&self) -> u64 {
        match &self.media {
            Media::Viewer(viewer) => viewer.warm(),
            Media::Publisher(..) => 0,
        }
    }

    /// Tells both machines the time. A viewer gets the room's rings, unless it takes no media now.
    pub(super) fn handle_timeout(&mut self, now: MonoTime, rings: Option<&Rings>, out: &mut Vec<Forward>) {
        self.link.handle_timeout(now);
        match (&mut self.media, rings) {
            (Media::Publisher(publisher, _), _) => publisher.handle_timeout(now),
            (Media::Viewer(viewer), Some(rings)) => viewer.handle_timeout(now, rings, out),
            (Media::Viewer(viewer), None) => viewer.handle_blocked(now),
        }
    }

    /// Says whether what is sent now would leave.
    pub(super) fn takes_media(&self, sender: &Sender) -> bool {
        let path = self.link.selected_path().filter(|_| self.link.is_connected() && !self.held_back);
        path.is_some_and(|path| sender.is_writable(path))
    }

    /// Says whether a viewer takes media now. A TCP socket that filled up waits until it has drained, then begins
    /// again at a keyframe: never inside a frame, never with a queue of old pictures.
    pub(super) fn readiness(&mut self, sender: &Sender) -> Readiness {
        let Some(path) = self.link.selected_path().filter(|_| self.link.is_connected()) else {
            return Readiness::Waits;
        };
        let held_back = self.held_back;
        self.held_back = if held_back { !sender.is_drained(path) } else { !sender.is_writable(path) };
        match (held_back, self.held_back) {
            (_, true) => Readiness::Waits,
            (true, false) => Readiness::Resumes,
            (false, false) => Readiness::Flows,
        }
    }

    /// Writes a BYE into `out`; its length.
    pub(super) fn write_bye(&mut self, out: &mut [u8]) -> usize {
        match &mut self.media {
            Media::Publisher(publisher, _) => publisher.bye(out),
            Media::Viewer(viewer) => viewer.bye(out),
        }
    }

    /// Returns the role's name for logs.
    pub(super) const fn role(&self) -> &'static str {
        match self.media {
            Media::Publisher(..) => "publisher",
            Media::Viewer(_) => "viewer",
        }
    }

    /// Notes that the session has to go; the first reason stays.
    pub(super) fn end(&mut self, reason: EndReason) {
        self.ending.get_or_insert(reason);
    }
}

/// Our canonical name as a receiver of media; senders' names are per session.
const CNAME: &str = "nearcast";
