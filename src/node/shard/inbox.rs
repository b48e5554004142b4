//! Mail from other shards and from signaling.

use rtp::MediaKind;
use rtp::MonoTime;
use sfu::track::LayerIndex;

use super::session::Media;
use super::{Shard, service};
use crate::mesh::{Arrivals, Message};
use crate::name::{RoomId, SessionId};
use crate::registry::ShardId;

impl Shard {
    /// Takes a bounded amount of mail.
    pub(super) fn take_mail(&mut self, now: MonoTime) {
        for _ in 0..MAIL_MAX {
            let Some(message) = self.world.mailboxes.take(self.id) else { return };
            self.take_message(now, message);
        }
    }

    fn take_message(&mut self, now: MonoTime, message: Message) {
        match message {
            Message::Datagram { path, mut bytes } => self.handle_datagram(now, path, &mut bytes),
            Message::Arrivals(arrivals) => self.take_arrivals(now, &arrivals),
            Message::Page { room, epoch, kind, layer, page } => {
                if let Some(entry) = self.rooms.get_mut(&room)
                    && entry.enter(epoch)
                {
                    entry.rings.get_mut(kind, layer).add_page(page);
                }
            }
            Message::Track { room, from, info, resting } => {
                self.take_track(now, room, from, (*info, resting))
            }
            Message::Gone { room, epoch } => self.take_gone(now, room, epoch),
            Message::Interest { room, shard, wanted } => self.take_interest(room, shard, wanted),
            Message::Wanted { room, shard, layers } => self.take_wanted(now, room, (shard, layers)),
            Message::Keyframe { room, layer } => {
                if self.rooms.get(&room).is_some_and(|entry| entry.publisher.is_some()) {
                    self.request_keyframe(now, room, layer);
                }
            }
            Message::Tcp { socket, remote, first } => {
                let accepted = self.sender.tcp.accept(self.poll.registry(), now, (socket, remote), &first);
                match accepted {
                    Ok(number) => self.readable_tcp.push_back(number),
                    Err(error) => tracing::debug!(%error, "ICE-TCP socket refused"),
                }
            }
            Message::SetLayer { session, request } => {
                self.with_session(session, |session| {
                    if let Media::Viewer(viewer) = &mut session.media {
                        viewer.set_layer(now, *request);
                    }
                });
                // A layer that rests is to be woken at once.
                let key = self.table.key_of(session);
                let room = key.and_then(|key| self.table.get_mut(key)).map(|session| session.room);
                if let Some(room) = room {
                    self.announce_wanted(now, room);
                }
            }
            Message::RestartIce { session, credentials } => {
                self.with_session(session, |session| session.link.restart_ice(credentials));
            }
            Message::Explain { session, reply } => {
                let key = self.table.key_of(session);
                if let Some(explanation) = key.and_then(|key| self.explain(now, key)) {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(explanation);
                }
            }
            Message::End { session, reason } => {
                if let Some(key) = self.table.key_of(session) {
                    self.end_session(now, key, reason);
                }
            }
        }
    }

    fn with_session(&mut self, id: SessionId, call: impl FnOnce(&mut super::session::Session)) {
        let Some(key) = self.table.key_of(id) else { return };
        if let Some(session) = self.table.get_mut(key) {
            service::guarded(session, call);
        }
        self.touch(key);
    }

    fn take_arrivals(&mut self, now: MonoTime, arrivals: &Arrivals) {
        let Some(entry) = self.rooms.get_mut(&arrivals.room) else { return };
        if entry.epoch() != Some(arrivals.epoch) {
            return;
        }
        self.stirred = now;
        for arrival in arrivals.as_slice() {
            match entry.note_arrival(now, *arrival) {
                Ok(true) => self.dirty_rooms.push_back(arrivals.room),
                Ok(false) => {}
                Err(reason) => self.counters.drop_packet(reason),
            }
        }
    }

    /// Notes that a shard has viewers in a room; a new one gets everything that the room's rings hold.
    fn take_interest(&mut self, room: RoomId, shard: ShardId, wanted: bool) {
        if !wanted {
            self.interests.remove(room, shard);
            return;
        }
        let is_new = self.interests.add(room, shard);
        let Some(entry) = self.rooms.get(&room) else { return };
        let Some(epoch) = entry.epoch().filter(|_| is_new && entry.publisher.is_some()) else { return };
        for info in entry.tracks() {
            let (info, resting) = (Box::new(info.clone()), entry.resting);
            self.world.mailboxes.post(shard, Message::Track { room, from: self.id, info, resting });
        }
        for (kind, layer) in TRACK_LAYERS {
            for page in entry.rings.get(kind, layer).pages() {
                let page = std::sync::Arc::clone(page);
                self.world.mailboxes.post(shard, Message::Page { room, epoch, kind, layer, page });
            }
        }
    }
}

/// Every ring of a room.
const TRACK_LAYERS: [(MediaKind, LayerIndex); 5] = [
    (MediaKind::Audio, LayerIndex(0)),
    (MediaKind::Video, LayerIndex(0)),
    (MediaKind::Video, LayerIndex(1)),
    (MediaKind::Video, LayerIndex(2)),
    (MediaKind::Video, LayerIndex(3)),
];

/// Messages per turn; the rest waits, and the shard does not sleep over it.
const MAIL_MAX: usize = 4_096;
