//! From a ring to the viewers: viewer by viewer, everything that has gathered. Packet path.
//!
//! Rooms take turns, each with a slice of packets: after it the shard looks at its sockets again.

use rtp::MediaKind;
use rtp::MonoTime;
use transport::link::SRTP_OVERHEAD;

use super::session::{Media, Readiness, Session};
use super::table::SessionKey;
use super::warm::WARM_SESSIONS;
use super::{Shard, service, warm};
use crate::mesh::{ARRIVALS_MAX, Arrivals, Message};
use crate::name::RoomId;

impl Shard {
    /// Sends a slice of what has arrived. Rooms take turns, so that one room's keyframe delays the frames of others
    /// by a turn and not by all of it. Says whether more waits.
    pub(super) fn fan_out(&mut self, now: MonoTime) -> bool {
        let mut left = SLICE_PACKETS;
        while left > 0 {
            let before = left;
            for _ in 0..self.dirty_rooms.len() {
                left -= self.serve_turn(now, left.min(TURN_PACKETS));
            }
            if left == before {
                return false;
            }
        }
        true
    }

    /// Sends up to about `most` packets of the room whose turn it is; returns how many, at most `most`.
    fn serve_turn(&mut self, now: MonoTime, most: usize) -> usize {
        if most == 0 {
            return 0;
        }
        let Some(room) = self.dirty_rooms.pop_front() else { return 0 };
        let busy = self.load.recent();
        self.tell_other_shards(room);
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.begin_serving(now, busy);
        }
        let left = self.serve(now, room, most);
        if self.rooms.get_mut(&room).is_some_and(super::room::ShardRoom::relist) {
            self.dirty_rooms.push_back(room);
        }
        most - left
    }

    /// Returns when the first room has something to send.
    pub(super) fn next_fan_out(&self, now: MonoTime) -> Option<MonoTime> {
        let busy = self.load.recent();
        self.dirty_rooms.iter().filter_map(|room| self.rooms.get(room)?.due(now, busy)).min()
    }

    /// Goes on with the viewers of a room until about `left` packets were sent; returns how many are left of them.
    fn serve(&mut self, now: MonoTime, room: RoomId, mut left: usize) -> usize {
        while left > 0 {
            let Some(entry) = self.rooms.get_mut(&room).filter(|entry| !entry.serving.is_empty()) else {
                return left;
            };
            let Some(key) = entry.viewers.get(entry.next_viewer).copied() else {
                entry.serving.clear();
                return left;
            };
            if entry.next_viewer.is_multiple_of(WARM_SESSIONS) {
                warm::for_media(&self.table, entry.viewers.get(entry.next_viewer..).unwrap_or_default());
            }
            entry.next_viewer += 1;
            // A viewer costs something even when nothing is for it.
            left = left.saturating_sub(1 + self.serve_viewer(now, room, key));
        }
        left
    }

    /// Sends one viewer what is for it; how many packets that was.
    fn serve_viewer(&mut self, now: MonoTime, room: RoomId, key: SessionKey) -> usize {
        let Self { table, rooms, forwards, sender, .. } = self;
        let (Some(entry), Some(session)) = (rooms.get(&room), table.get_mut(key)) else { return 0 };
        let readiness = session.readiness(sender);
        if readiness == Readiness::Waits {
            return 0;
        }
        forwards.clear();
        service::guarded(session, |session| {
            let Media::Viewer(viewer) = &mut session.media else { return };
            if readiness == Readiness::Resumes && !viewer.is_catching_up() {
                viewer.handle_track_gone(now, MediaKind::Video);
                entry.tracks().for_each(|info| viewer.handle_track(now, info));
            }
            viewer.handle_arrivals(now, &entry.rings, &entry.serving, forwards);
        });
        let count = forwards.len();
        let is_sound = count > 0 && forwards.iter().all(|forward| forward.kind == MediaKind::Audio);
        self.send_forwards(now, key);
        // Behind a frame a report would wait for it on a slow path, and the round trip that it measures would be longer.
        if is_sound {
            self.send_report_along(now, key);
        }
        if self.table.get_mut(key).is_some_and(|session| session.wants_service()) {
            self.touch(key);
        }
        count
    }

    /// Writes, seals and gathers the packets that were decided on for one viewer. They are guarded together: a guard for
    /// each would be in the way of every packet.
    pub(super) fn send_forwards(&mut self, now: MonoTime, key: SessionKey) {
        let Self { table, rooms, forwards, sender, counters, .. } = self;
        let Some(session) = table.get_mut(key) else { return };
        let Some(path) = session.link.selected_path() else { return };
        let Some(entry) = rooms.get(&session.room) else { return };
        service::guarded(session, |session| {
            let Session { link, media: Media::Viewer(viewer), .. } = session else { return };
            for forward in forwards.drain(..) {
                let Some(slot) = sender.slot(path) else { return };
                let room_for_packet = slot.len().saturating_sub(SRTP_OVERHEAD);
                let Some(plain) = slot.get_mut(..room_for_packet) else { return };
                let Some(len) = viewer.write_packet(now, &forward, &entry.rings, plain) else { continue };
                let Some(sealed) = link.seal_rtp(slot, len) else { continue };
                sender.commit(path, sealed);
                counters.packets_forwarded += 1;
                counters.packets_padding += u64::from(forward.is_padding);
                counters.bytes_forwarded += sealed as u64;
            }
        });
    }

    /// Sends a report that is due soon behind the sound that has just been gathered for a viewer, where it leaves in the same
    /// run: alone it would cost as much as a frame.
    fn send_report_along(&mut self, now: MonoTime, key: SessionKey) {
        let Self { table, sender, .. } = self;
        let Some(Session { link, media: Media::Viewer(viewer), .. }) = table.get(key) else { return };
        let Some(path) = link.selected_path().filter(|_| viewer.reports_soon(now)) else { return };
        let Some(most) = sender.room_along(path).checked_sub(SRTP_OVERHEAD) else { return };
        self.send_rtcp(key, most, |session, out| match &mut session.media {
            Media::Viewer(viewer) => viewer.write_rtcp_along(now, out),
            Media::Publisher(..) => None,
        });
    }

    /// Tells the shards that have viewers in the room which slots were filled.
    fn tell_other_shards(&mut self, room: RoomId) {
        let shards = self.interests.shards(room);
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        let Some(epoch) = entry.epoch().filter(|_| entry.publisher.is_some()) else { return };
        let arrivals = entry.take_untold();
        for shard in shards {
            for chunk in arrivals.chunks(ARRIVALS_MAX) {
                let Some(first) = chunk.first() else { continue };
                let mut items = [*first; ARRIVALS_MAX];
                items.iter_mut().zip(chunk).for_each(|(item, arrival)| *item = *arrival);
                let arrivals = Arrivals { room, epoch, count: chunk.len(), items };
                self.world.mailboxes.post(shard, Message::Arrivals(arrivals));
            }
        }
    }
}

/// Packets between two looks at the sockets: about a millisecond.
const SLICE_PACKETS: usize = 1_024;

/// Packets of one room's turn: a usual frame for half a hundred viewers. What takes more, a keyframe for them or a frame
/// for hundreds, goes on when the other rooms have had theirs; a frame that is cut in two waits for a round of them.
const TURN_PACKETS: usize = 640;
