//! What a session asks for after it was touched: sends, events, reports, its next deadline, its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rtp::MediaKind;
use rtp::MonoTime;
use sfu::publisher::PublisherOutput;
use sfu::track::{LayerIndex, TrackInfo};
use sfu::viewer::ViewerOutput;
use transport::link::{CloseReason, LinkOutput, SRTP_OVERHEAD};

use super::session::{Media, Session};
use super::table::SessionKey;
use super::wanted::LayerSet;
use super::warm::WARM_SESSIONS;
use super::{Shard, sender, warm};
use crate::api::{LayerBrief, LayerStatus};
use crate::mesh::{EndReason, Message};
use crate::name::RoomId;
use crate::registry::{Ended, ShardId};

/// Calls into a session's machines; a panic there ends the session and nothing else.
pub(super) fn guarded<R>(session: &mut Session, call: impl FnOnce(&mut Session) -> R) -> Option<R> {
    let outcome = catch_unwind(AssertUnwindSafe(|| call(session)));
    if outcome.is_err() {
        tracing::error!(session = %session.public_id, role = session.role(), "session failed inside the server");
        session.end(EndReason::Fault);
    }
    outcome.ok()
}

impl Shard {
    /// Services every session that was touched in this turn.
    pub(super) fn service_touched(&mut self, now: MonoTime) {
        let mut index = 0;
        while let Some(key) = self.touched.get(index).copied() {
            index += 1;
            self.service(now, key);
        }
        self.touched.clear();
    }

    fn service(&mut self, now: MonoTime, key: SessionKey) {
        self.tell_layers(now, key);
        self.drain_link(now, key);
        self.drain_publisher(now, key);
        self.drain_viewer(now, key);
        self.send_reports(now, key);
        let Some(session) = self.table.get_mut(key) else { return };
        session.touched = false;
        if let Some(reason) = session.ending {
            self.end_session(now, key, reason);
            return;
        }
        if let Some(at) = session.next_timeout()
            && session.timer.is_none_or(|timer| at < timer)
        {
            session.timer = Some(at);
            self.timers.schedule(at, key);
        }
    }

    fn drain_link(&mut self, now: MonoTime, key: SessionKey) {
        while let Some(session) = self.table.get_mut(key) {
            let Some(output) = guarded(session, |session| session.link.poll_output()).flatten() else {
                return;
            };
            match output {
                LinkOutput::Transmit { path, datagram } => self.sender.send(path, &datagram),
                LinkOutput::PathSelected(path) => {
                    tracing::debug!(session = %session.public_id, ?path, "path selected");
                }
                LinkOutput::Connected { profile } => self.begin_media(now, key, profile),
                LinkOutput::ChannelOpened { channel, label, .. } => {
                    self.open_data_channel(now, key, (channel, &label));
                }
                LinkOutput::ChannelClosed { channel } => session.room_channel.handle_closed(channel),
                LinkOutput::Message { channel, message } => self.take_data(now, key, channel, &message),
                LinkOutput::Closed(reason) => {
                    if reason != CloseReason::Local {
                        tracing::info!(session = %session.public_id, reason = reason.name(), "link closed: {reason}");
                    }
                    session.end(EndReason::Link);
                }
            }
        }
    }

    fn begin_media(&mut self, now: MonoTime, key: SessionKey, profile: &'static str) {
        self.world.metrics.links_connected.with_label_values(&[profile]).inc();
        let Self { table, rooms, .. } = self;
        let Some(session) = table.get_mut(key) else { return };
        session.timeline.connected = Some(now);
        tracing::info!(session = %session.public_id, role = session.role(), profile, "media began");
        let Some(room) = rooms.get(&session.room) else { return };
        if let Media::Viewer(viewer) = &mut session.media {
            room.tracks().for_each(|info| viewer.handle_track(now, info));
        }
    }

    /// Passes on what a publisher made: pages first, for arrivals point into them.
    pub(super) fn drain_publisher(&mut self, now: MonoTime, key: SessionKey) {
        while let Some(session) = self.table.get_mut(key) {
            let room = session.room;
            let Media::Publisher(publisher, epoch) = &mut session.media else { return };
            let epoch = *epoch;
            match publisher.poll_output() {
                None => return,
                Some(PublisherOutput::Page { kind, layer, page }) => {
                    for shard in self.interests.shards(room) {
                        let page = std::sync::Arc::clone(&page);
                        self.world.mailboxes.post(shard, Message::Page { room, epoch, kind, layer, page });
                    }
                    if let Some(entry) = self.rooms.get_mut(&room)
                        && entry.enter(epoch)
                    {
                        entry.rings.get_mut(kind, layer).add_page(page);
                    }
                }
                Some(PublisherOutput::GopOutgrewRing(layer)) => {
                    let (session, kept) = (&session.public_id, sfu::ring::GOP_MAX);
                    tracing::info!(%session, layer = layer.0, ?kept, "keyframes came too rarely for instant joins");
                }
                Some(PublisherOutput::Track(info)) => {
                    let resting = session.room_channel.resting(now, &info);
                    for shard in self.interests.shards(room) {
                        let info = Box::new(info.clone());
                        self.world
                            .mailboxes
                            .post(shard, Message::Track { room, from: self.id, info, resting });
                    }
                    self.note_layers(room, &info, resting);
                    self.take_track(now, room, self.id, (info, resting));
                }
            }
        }
    }

    /// Takes what is known of a track now, from here or from the publisher's shard.
    pub(super) fn take_track(
        &mut self,
        now: MonoTime,
        room: RoomId,
        from: ShardId,
        (info, resting): (TrackInfo, LayerSet),
    ) {
        let Self { rooms, table, touched, .. } = self;
        let Some(entry) = rooms.get_mut(&room) else { return };
        if !entry.enter(info.epoch) {
            return;
        }
        entry.publisher_shard = Some(from);
        for (index, key) in entry.viewers.iter().enumerate() {
            if index.is_multiple_of(WARM_SESSIONS) {
                warm::for_media(table, entry.viewers.get(index..).unwrap_or_default());
            }
            let Some(session) = table.get_mut(*key).filter(|session| session.link.is_connected()) else {
                continue;
            };
            guarded(session, |session| {
                if let Media::Viewer(viewer) = &mut session.media {
                    viewer.handle_track(now, &info);
                }
            });
            if !session.touched && session.wants_service() {
                session.touched = true;
                touched.push(*key);
            }
        }
        if info.kind == MediaKind::Video {
            entry.resting = resting;
        }
        entry.set_track(info);
    }

    fn drain_viewer(&mut self, now: MonoTime, key: SessionKey) {
        while let Some(session) = self.table.get_mut(key) {
            let room = session.room;
            let Media::Viewer(viewer) = &mut session.media else { return };
            match viewer.poll_output() {
                None => return,
                Some(ViewerOutput::RequestKeyframe(layer)) => self.request_keyframe(now, room, layer),
                Some(ViewerOutput::CodecUnsupported(codec)) => {
                    tracing::info!(session = %session.public_id, codec = codec.name(), "viewer lacks the codec");
                    session.end(EndReason::Codec);
                }
                Some(ViewerOutput::LayerChanged { kind, from, to, reason }) => {
                    let reason = reason.as_str();
                    self.world.metrics.layer_changes.with_label_values(&[reason]).inc();
                    tracing::debug!(session = %session.public_id, ?kind, ?from, ?to, reason, "layer changed");
                }
            }
        }
    }

    /// Asks the room's publisher for a keyframe, on whichever shard it is.
    pub(super) fn request_keyframe(&mut self, now: MonoTime, room: RoomId, layer: LayerIndex) {
        let Some(entry) = self.rooms.get(&room) else { return };
        if let Some(key) = entry.publisher {
            let Some(session) = self.table.get_mut(key) else { return };
            if let Media::Publisher(publisher, _) = &mut session.media {
                publisher.request_keyframe(now, layer);
            }
            self.touch(key);
        } else if let Some(shard) = entry.publisher_shard {
            self.world.mailboxes.post(shard, Message::Keyframe { room, layer });
        }
    }

    fn send_reports(&mut self, now: MonoTime, key: SessionKey) {
        for _ in 0..REPORTS_MAX {
            let is_sent = self.send_rtcp(key, RTCP_MAX, |session, out| match &mut session.media {
                Media::Publisher(publisher, _) => publisher.write_rtcp(now, out),
                Media::Viewer(viewer) => viewer.write_rtcp(now, out),
            });
            if !is_sent {
                return;
            }
        }
    }

    /// Gathers a compound that `write` makes in at most `most` bytes, sealed. Says whether there was one.
    pub(super) fn send_rtcp(
        &mut self,
        key: SessionKey,
        most: usize,
        write: impl FnOnce(&mut Session, &mut [u8]) -> Option<usize>,
    ) -> bool {
        let Self { table, sender, .. } = self;
        let Some(session) = table.get_mut(key) else { return false };
        let Some(path) = session.link.selected_path().filter(|_| session.link.is_connected()) else {
            return false;
        };
        let Some(slot) = sender.slot(path) else { return false };
        let sealed = guarded(session, |session| {
            let len = write(session, slot.get_mut(..most)?)?;
            session.link.seal_rtcp(slot, len)
        });
        let Some(sealed) = sealed.flatten() else { return false };
        sender.commit(path, sealed);
        true
    }

    /// Ends a session here and, where that is not where it came from, in the registry.
    pub(super) fn end_session(&mut self, now: MonoTime, key: SessionKey, reason: EndReason) {
        self.send_rtcp(key, RTCP_MAX, |session, out| Some(session.write_bye(out)));
        if let Some(session) = self.table.get_mut(key) {
            guarded(session, |session| session.link.close(now));
            while let Some(output) = guarded(session, |session| session.link.poll_output()).flatten() {
                if let LinkOutput::Transmit { path, datagram } = output {
                    self.sender.send(path, &datagram);
                }
            }
        }
        let Some(mut session) = self.table.remove(key) else { return };
        self.counters.add_session(&mut session);
        for path in &session.paths {
            if let transport::path::Via::Tcp(number) = path.via {
                self.sender.tcp.close(self.poll.registry(), number);
            }
        }
        let mut registry = self.world.registry();
        match reason {
            EndReason::Link => registry.part(now, session.id),
            _ => drop(registry.end(now, session.id)),
        }
        drop(registry);
        self.world.metrics.sessions_ended.with_label_values(&[reason.as_str()]).inc();
        tracing::info!(session = %session.public_id, role = session.role(), reason = reason.as_str(), "session ended");
        self.leave_room(now, key, &session);
    }

    fn leave_room(&mut self, now: MonoTime, key: SessionKey, session: &Session) {
        let room = session.room;
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        match &session.media {
            Media::Viewer(_) => {
                entry.remove_viewer(key);
                if entry.viewers.is_empty() {
                    self.announce_interest(room, false);
                }
            }
            Media::Publisher(_, epoch) => {
                let epoch = *epoch;
                if entry.publisher == Some(key) {
                    entry.publisher = None;
                }
                for shard in self.interests.shards(room) {
                    self.world.mailboxes.post(shard, Message::Gone { room, epoch });
                }
                self.take_gone(now, room, epoch);
            }
        }
        self.forget_unused(room);
    }

    /// Tells the viewers here that the publisher left.
    pub(super) fn take_gone(&mut self, now: MonoTime, room: RoomId, epoch: sfu::track::Epoch) {
        let Self { table, rooms, .. } = self;
        let Some(entry) = rooms.get_mut(&room).filter(|entry| entry.epoch() == Some(epoch)) else { return };
        entry.leave(epoch);
        for key in &entry.viewers {
            let Some(session) = table.get_mut(*key) else { continue };
            guarded(session, |session| {
                if let Media::Viewer(viewer) = &mut session.media {
                    viewer.handle_track_gone(now, MediaKind::Audio);
                    viewer.handle_track_gone(now, MediaKind::Video);
                }
            });
        }
    }

    fn forget_unused(&mut self, room: RoomId) {
        if self.rooms.get(&room).is_some_and(super::room::ShardRoom::is_unused) {
            self.rooms.remove(&room);
        }
    }

    /// Tells the registry what a video track's layers are, and which of them rest.
    fn note_layers(&self, room: RoomId, info: &TrackInfo, resting: LayerSet) {
        let Some(entry) = self.rooms.get(&room).filter(|_| info.kind == MediaKind::Video) else { return };
        let layers = info
            .layers
            .iter()
            .map(|layer| LayerStatus {
                brief: LayerBrief::of(layer),
                codec: layer.codec.name(),
                active: layer.active,
                resting: resting.has(layer.index),
                join_cache: layer.join_cache,
            })
            .collect();
        self.world.registry().note_layers(&entry.name, layers);
    }

    /// Does what happens once a second: sweeping, repeating what the mesh may have dropped, flushing counters.
    pub(super) fn keep_house(&mut self, now: MonoTime) {
        if self.id == 0 {
            let mut ended = Vec::new();
            self.world.registry().sweep(now, &mut ended);
            ended.into_iter().for_each(|ended| self.dismiss(ended));
        }
        let watched: Vec<RoomId> =
            self.rooms.iter().filter(|(_, entry)| !entry.viewers.is_empty()).map(|(room, _)| *room).collect();
        for room in watched {
            self.announce_interest(room, true);
            self.announce_wanted(now, room);
        }
        self.interests.forget_silent(now);
        self.table.forget_foreign(now);
        self.sender.tcp.sweep(self.poll.registry(), now);
        self.counters.packets_unsent += std::mem::take(&mut self.sender.unsent);
        self.counters.flush(&self.world.metrics);
        self.counting.get_or_insert(0);
    }

    /// Goes on with collecting what sessions counted, a part of them in each turn: each waits for memory, and all of
    /// them at once would hold packets up for milliseconds.
    pub(super) fn count_on(&mut self) {
        let Some(from) = self.counting else { return };
        let places = self.table.places();
        let to = from + COUNTED_MIN + places / COUNTED_PART;
        let Self { table, counters, .. } = self;
        table.sessions_in(from..to.min(places)).for_each(|session| counters.add_session(session));
        self.counting = (to < places).then_some(to);
    }

    /// Sees off a session that the sweep ended.
    fn dismiss(&self, Ended { session, public_id, owner }: Ended) {
        let reason = EndReason::Expired;
        if let Some(owner) = owner {
            self.world.mailboxes.post(owner, Message::End { session, reason });
            return;
        }
        self.world.metrics.sessions_ended.with_label_values(&[reason.as_str()]).inc();
        let addresses = self.world.advertised.udp();
        tracing::info!(session = %public_id, ?addresses, "session ended: no valid ICE check ever arrived, is UDP open?");
    }

    /// Tells all other shards whether this one has viewers in a room.
    pub(super) fn announce_interest(&self, room: RoomId, wanted: bool) {
        let shard = self.id;
        for other in (0..self.world.mailboxes.len()).filter(|other| *other != shard) {
            self.world.mailboxes.post(other, Message::Interest { room, shard, wanted });
        }
    }

    /// Tells the publisher's shard which layers the viewers here want. Asks no more viewers than it takes to know: in a
    /// large room nearly always a few want all there is, and each one who is asked is fetched from far memory.
    pub(super) fn announce_wanted(&mut self, now: MonoTime, room: RoomId) {
        let Self { table, rooms, .. } = self;
        let Some(entry) = rooms.get(&room) else { return };
        let Some(publisher_shard) = entry.publisher_shard else { return };
        let there_are = entry.video_layers();
        let mut layers = LayerSet::default();
        for key in &entry.viewers {
            if layers.covers(there_are) {
                break;
            }
            let Some(Media::Viewer(viewer)) = table.get(*key).map(|session| &session.media) else {
                continue;
            };
            layers = layers.with(LayerSet::of(|layer| viewer.wants_layer(layer)));
        }
        if publisher_shard == self.id {
            self.take_wanted(now, room, (publisher_shard, layers));
        } else {
            let message = Message::Wanted { room, shard: self.id, layers };
            self.world.mailboxes.post(publisher_shard, message);
        }
    }

    /// Takes what the viewers of one shard want, and tells the publisher of what has changed by it.
    pub(super) fn take_wanted(&mut self, now: MonoTime, room: RoomId, (shard, layers): (ShardId, LayerSet)) {
        let Some(entry) = self.rooms.get_mut(&room).filter(|entry| entry.publisher.is_some()) else { return };
        entry.wanted.note(now, shard, layers);
        while let Some((layer, wanted)) = self.rooms.get_mut(&room).and_then(|entry| entry.wanted.poll(now)) {
            let listens = self.tell_wanted(now, room, (layer, wanted));
            tracing::debug!(
                room = room.0,
                layer = layer.0,
                wanted,
                listens,
                "layer wanted by viewers changed"
            );
        }
    }
}

/// A compound packet before it is sealed.
const RTCP_MAX: usize = sender::PACKET_MAX - SRTP_OVERHEAD;

/// Compound packets of one session and turn.
const REPORTS_MAX: usize = 8;

/// Places whose counts are collected in one turn, at least, and as a part of all.
const COUNTED_MIN: usize = 16;
const COUNTED_PART: usize = 64;
