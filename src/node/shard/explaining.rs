//! Explains a session of this shard: its own view of it, and what only the shard knows.

use rtp::{MediaKind, MonoTime};
use transport::path::{Path, Via};

use super::Shard;
use super::session::Media;
use super::table::SessionKey;
use super::wanted::LayerSet;
use crate::explain::viewer::Surroundings;
use crate::explain::{self, Explanation, Head, Pair, Protocol};

impl Shard {
    /// Explains a session; `None` when it is gone.
    pub(super) fn explain(&mut self, now: MonoTime, key: SessionKey) -> Option<Explanation> {
        let path = self.table.get_mut(key)?.link.selected_path();
        let pair = path.map(|path| self.pair(path));
        let session = self.table.get_mut(key)?;
        let room = self.rooms.get(&session.room)?;
        let (first_packet, first_keyframe) = match &session.media {
            Media::Publisher(publisher, _) => explain::publisher::beginnings(publisher),
            Media::Viewer(viewer) => {
                let [audio, video] =
                    [MediaKind::Audio, MediaKind::Video].map(|kind| viewer.stats().track(kind));
                let first_packet = [audio.first_packet, video.first_packet].into_iter().flatten().min();
                (first_packet, video.first_keyframe)
            }
        };
        let head = Head {
            session: session.public_id,
            room: &room.name,
            connected: session.link.is_connected(),
            age: session.timeline.age(now),
            pair,
            join: session.timeline.steps(first_packet, first_keyframe),
        };
        Some(match &session.media {
            Media::Viewer(viewer) => {
                let waking = LayerSet::of(|layer| room.resting.has(layer) && viewer.wants_layer(layer));
                explain::viewer::explain(
                    now,
                    head,
                    viewer,
                    Surroundings { blocked: session.held_back, waking },
                )
            }
            Media::Publisher(publisher, _) => explain::publisher::explain(now, head, publisher, |layer| {
                session.room_channel.is_wanted(layer)
            }),
        })
    }

    /// Returns the two addresses of a path.
    fn pair(&self, path: Path) -> Pair {
        let (protocol, local) = match path.via {
            Via::Udp(lane) => (Protocol::Udp, self.world.advertised.udp().get(usize::from(lane)).copied()),
            Via::Tcp(number) => (Protocol::Tcp, self.sender.tcp.local_address(number)),
        };
        Pair { protocol, local, remote: path.remote }
    }
}
