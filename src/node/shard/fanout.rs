//! From a ring to the viewers: viewer by viewer, everything that arrived in this turn. Packet path.

use rtp::MediaKind;
use rtp::MonoTime;
use transport::link::SRTP_OVERHEAD;

use super::session::{Media, Readiness, Session};
use super::table::SessionKey;
use super::{Shard, service};
use crate::mesh::{ARRIVALS_MAX, Arrivals, Message};
use crate::name::RoomId;

impl Shard {
    /// Sends what arrived to every viewer of every room that something arrived in.
    pub(super) fn fan_out(&mut self, now: MonoTime) {
        let mut dirty = std::mem::take(&mut self.dirty_rooms);
        for room in dirty.drain(..) {
            self.tell_other_shards(room);
            self.fan_out_room(now, room);
            if let Some(entry) = self.rooms.get_mut(&room) {
                entry.arrivals.clear();
            }
        }
        self.dirty_rooms = dirty;
    }

    fn fan_out_room(&mut self, now: MonoTime, room: RoomId) {
        let viewers = self.rooms.get(&room).map_or(0, |entry| entry.viewers.len());
        for index in 0..viewers {
            let Self { table, rooms, forwards, sender, .. } = self;
            let Some(entry) = rooms.get(&room) else { return };
            let Some(key) = entry.viewers.get(index).copied() else { return };
            let Some(session) = table.get_mut(key) else { continue };
            let readiness = session.readiness(sender);
            if readiness == Readiness::Waits {
                continue;
            }
            forwards.clear();
            service::guarded(session, |session| {
                let Media::Viewer(viewer) = &mut session.media else { return };
                if readiness == Readiness::Resumes {
                    viewer.handle_track_gone(now, MediaKind::Video);
                    entry.tracks().for_each(|info| viewer.handle_track(now, info));
                }
                viewer.handle_arrivals(now, &entry.rings, &entry.arrivals, forwards);
            });
            self.send_forwards(now, key);
            self.touch(key);
        }
    }

    /// Writes, seals and gathers the packets that were decided on for one viewer.
    pub(super) fn send_forwards(&mut self, now: MonoTime, key: SessionKey) {
        let Self { table, rooms, forwards, sender, counters, .. } = self;
        let Some(session) = table.get_mut(key) else { return };
        let Some(path) = session.link.selected_path() else { return };
        let Some(entry) = rooms.get(&session.room) else { return };
        for forward in forwards.drain(..) {
            let Some(slot) = sender.slot(path) else { return };
            let Session { link, media: Media::Viewer(viewer), .. } = session else { return };
            let room_for_packet = slot.len().saturating_sub(SRTP_OVERHEAD);
            let Some(plain) = slot.get_mut(..room_for_packet) else { return };
            let Some(len) = viewer.write_packet(now, &forward, &entry.rings, plain) else { continue };
            let Some(sealed) = link.seal_rtp(slot, len) else { continue };
            sender.commit(path, sealed);
            counters.packets_forwarded += 1;
            counters.bytes_forwarded += sealed as u64;
        }
    }

    /// Tells the shards that have viewers in the room which slots were filled.
    fn tell_other_shards(&self, room: RoomId) {
        let Some(entry) = self.rooms.get(&room) else { return };
        let Some(epoch) = entry.epoch().filter(|_| entry.publisher.is_some()) else { return };
        for shard in self.interested_shards(room) {
            for chunk in entry.arrivals.chunks(ARRIVALS_MAX) {
                let Some(first) = chunk.first() else { continue };
                let mut items = [*first; ARRIVALS_MAX];
                items.iter_mut().zip(chunk).for_each(|(item, arrival)| *item = *arrival);
                let arrivals = Arrivals { room, epoch, count: chunk.len(), items };
                self.world.mailboxes.post(shard, Message::Arrivals(arrivals));
            }
        }
    }
}
