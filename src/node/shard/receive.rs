//! From a socket to a session: demultiplexing, first contact, hand-over to the owner. Packet path.

use std::io;

use rtp::MonoTime;
use rtp::demux::{self, Kind};
use transport::link::Inbound;
use transport::path::{Path, Via};
use transport::udp::ReceiveBatch;
use transport::{DropReason, stun};

use super::session::{Media, Session};
use super::table::{Route, SessionKey};
use super::warm::WARM_REPORTS;
use super::{Shard, service, warm};
use crate::mesh::Message;
use crate::registry::{Claim, Lookup};

impl Shard {
    /// Receives from every readable socket, a bounded amount of datagrams each.
    pub(super) fn receive(&mut self, now: MonoTime) {
        let Some(mut batch) = self.inbound.take() else { return };
        for lane in 0..self.sender.lanes() {
            self.receive_lane(now, lane, &mut batch);
        }
        self.inbound = Some(batch);
        self.receive_tcp(now);
    }

    fn receive_lane(&mut self, now: MonoTime, lane: usize, batch: &mut ReceiveBatch) {
        for _ in 0..BATCHES_MAX {
            if !self.readable.get(lane).copied().unwrap_or(false) {
                return;
            }
            let Some(socket) = self.sender.socket(lane) else { return };
            let may_hold_more = match socket.receive(batch) {
                Ok(_) => batch.is_full(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                // An interrupted call or a passing refusal: the socket may still hold datagrams, the next turn looks.
                Err(_) => return,
            };
            if let Some(readable) = self.readable.get_mut(lane) {
                *readable = may_hold_more;
            }
            let via = Via::Udp(u8::try_from(lane).unwrap_or(u8::MAX));
            for (remote, datagram) in batch.datagrams() {
                let path = Path { via, remote };
                if demux::classify(datagram) == Kind::Rtcp {
                    self.keep_report(now, path, datagram);
                } else {
                    self.handle_datagram(now, path, datagram);
                }
            }
        }
    }

    /// Keeps a report until this turn's media has gone out; where there is no room for it, those before it are read first.
    pub(super) fn keep_report(&mut self, now: MonoTime, path: Path, report: &[u8]) {
        if !self.reports.push(path, report) {
            while self.read_reports(now) {}
            self.reports.push(path, report);
        }
    }

    /// Reads some of the reports that wait. Says whether there were any.
    pub(super) fn read_reports(&mut self, now: MonoTime) -> bool {
        // Reading one keeps none, so nothing is lost while they are away from the shard.
        let mut reports = std::mem::take(&mut self.reports);
        let any = !reports.is_empty();
        for _ in 0..REPORTS_MAX / WARM_REPORTS {
            if reports.is_empty() {
                break;
            }
            warm::for_reports(&self.table, reports.next_paths().take(WARM_REPORTS));
            for _ in 0..WARM_REPORTS {
                let Some((path, report)) = reports.pop() else { break };
                self.handle_datagram(now, path, report);
            }
        }
        self.reports = reports;
        any
    }

    /// Takes a bounded amount of frames of each readable TCP socket and of all: the sockets take turns, and one that may
    /// hold more goes to the end of the line.
    fn receive_tcp(&mut self, now: MonoTime) {
        let mut frame = std::mem::take(&mut self.frame);
        let mut left = FRAMES_MAX;
        for _ in 0..self.readable_tcp.len() {
            if left == 0 {
                break;
            }
            let Some(number) = self.readable_tcp.pop_front() else { break };
            let most = left.min(FRAMES_PER_SOCKET_MAX);
            let mut taken = 0;
            while taken < most
                && let Some(path) = self.sender.tcp.next_frame(number, &mut frame)
            {
                self.handle_datagram(now, path, &mut frame);
                taken += 1;
            }
            left -= taken;
            if taken == most {
                self.readable_tcp.push_back(number);
            }
        }
        self.frame = frame;
    }

    /// Takes one datagram, from a socket or from another shard.
    pub(super) fn handle_datagram(&mut self, now: MonoTime, path: Path, datagram: &mut [u8]) {
        let outcome = match demux::classify(datagram) {
            Kind::Unknown => Err(DropReason::Unclassified),
            Kind::Stun => self.handle_stun(now, path, datagram),
            Kind::Dtls | Kind::Rtp | Kind::Rtcp => match self.table.route(&path) {
                Some(Route::Here(key)) => self.hand_to_session(now, key, path, datagram),
                Some(Route::There(shard)) => {
                    self.counters.datagrams_handed_over += 1;
                    self.world.mailboxes.post(shard, Message::Datagram { path, bytes: (&*datagram).into() });
                    Ok(())
                }
                None => Err(DropReason::UnvalidatedPath),
            },
        };
        if let Err(reason) = outcome {
            self.counters.drop_datagram(reason);
        }
    }

    fn handle_stun(&mut self, now: MonoTime, path: Path, datagram: &mut [u8]) -> Result<(), DropReason> {
        let (ours, _) = stun::username(datagram).ok_or(DropReason::StunMalformed)?;
        let route = self.table.route(&path);
        if let Some(Route::Here(key)) = route
            && self.table.get_mut(key).is_some_and(|session| session.link.accepts_ufrag(ours))
        {
            return self.hand_to_session(now, key, path, datagram);
        }
        // A path that leads somewhere had a valid check: its neighbours' failed ones must not cost it the next.
        if route.is_none() && self.strangers.is_exhausted(now, path.remote.ip()) {
            return Err(DropReason::StunLimit);
        }
        let met = self.meet(now, path, datagram);
        if met.is_err() {
            self.strangers.charge(now, path.remote.ip());
        }
        met
    }

    /// First contact of a path: the check must be valid before anything is remembered.
    fn meet(&mut self, now: MonoTime, path: Path, datagram: &mut [u8]) -> Result<(), DropReason> {
        let (ours, _) = stun::username(datagram).ok_or(DropReason::StunMalformed)?;
        let Some(Lookup { session, pwd }) = self.world.registry().lookup(ours) else {
            return Err(DropReason::StunUnknownUser);
        };
        if !stun::verify(datagram, &pwd) {
            return Err(DropReason::StunIntegrity);
        }
        let claim = self.world.registry().claim(ours, self.id);
        let key = match claim {
            Claim::Granted(seed) => self.seat(now, *seed),
            Claim::Taken(owner) if owner == self.id => {
                self.table.key_of(session).ok_or(DropReason::Closed)?
            }
            Claim::Taken(owner) => {
                self.hand_over(now, path, owner, datagram);
                return Ok(());
            }
            Claim::Gone => return Err(DropReason::StunUnknownUser),
        };
        if let Via::Tcp(number) = path.via {
            self.sender.tcp.prove(number);
        }
        // What is forgotten for it is closed: with its session nobody would.
        if let Some(Path { via: Via::Tcp(number), .. }) = self.table.lead_here(path, key) {
            self.sender.tcp.close(self.poll.registry(), number);
        }
        self.hand_to_session(now, key, path, datagram)
    }

    /// Gives a path to the shard that owns its session: a UDP path by forwarding, a TCP socket whole.
    fn hand_over(&mut self, now: MonoTime, path: Path, owner: usize, datagram: &[u8]) {
        match path.via {
            Via::Udp(_) => {
                self.table.lead_there(now, path, owner);
                self.counters.datagrams_handed_over += 1;
                self.world.mailboxes.post(owner, Message::Datagram { path, bytes: datagram.into() });
            }
            Via::Tcp(number) => {
                let Some((socket, remote, rest)) = self.sender.tcp.release(self.poll.registry(), number)
                else {
                    return;
                };
                let mut first = Vec::with_capacity(datagram.len() + 2);
                transport::tcp_framing::frame(datagram, &mut first);
                first.extend_from_slice(&rest);
                self.world
                    .mailboxes
                    .post(owner, Message::Tcp { socket, remote, first: first.into_boxed_slice() });
            }
        }
    }

    fn hand_to_session(
        &mut self,
        now: MonoTime,
        key: SessionKey,
        path: Path,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let Some(session) = self.table.get_mut(key) else { return Err(DropReason::Closed) };
        let inbound = service::guarded(session, |session| session.link.handle_datagram(now, path, datagram));
        // What a viewer reports seldom asks for anything at once; a check or a handshake always does.
        let is_report = matches!(inbound, Some(Ok(Inbound::Rtcp(_))));
        let outcome = match inbound {
            Some(Ok(Inbound::Nothing)) => {
                if !session.link.is_connected() {
                    self.stirred = now;
                }
                Ok(())
            }
            Some(Ok(Inbound::Rtp(len))) => {
                self.handle_rtp(now, key, datagram.get(..len).unwrap_or_default());
                Ok(())
            }
            Some(Ok(Inbound::Rtcp(len))) => {
                self.handle_rtcp(now, key, datagram.get(..len).unwrap_or_default());
                Ok(())
            }
            Some(Err(reason)) => Err(reason),
            None => Ok(()),
        };
        if !is_report || self.table.get_mut(key).is_some_and(|session| session.wants_service()) {
            self.touch(key);
        }
        outcome
    }

    pub(super) fn handle_rtp(&mut self, now: MonoTime, key: SessionKey, packet: &[u8]) {
        let Some(session) = self.table.get_mut(key) else { return };
        if matches!(session.media, Media::Viewer(_)) {
            return self.counters.drop_datagram(DropReason::RtpFromViewer);
        }
        self.counters.packets_received += 1;
        let outcome = service::guarded(session, |session| match &mut session.media {
            Media::Publisher(publisher, _) => publisher.handle_rtp(now, packet),
            Media::Viewer(_) => Ok(None),
        });
        match outcome {
            Some(Ok(Some(arrival))) => {
                session.shared.note_media(now);
                self.stirred = now;
                let room = session.room;
                // A page that was just opened must reach the rings before the arrival is looked up in them.
                self.drain_publisher(now, key);
                match self.rooms.get_mut(&room).map(|entry| entry.note_arrival(now, arrival)) {
                    Some(Ok(true)) => self.dirty_rooms.push_back(room),
                    Some(Err(reason)) => self.counters.drop_packet(reason),
                    Some(Ok(false)) | None => {}
                }
            }
            Some(Err(reason)) => self.counters.drop_packet(reason),
            // Nothing to forward, or a defect that has ended the session.
            Some(Ok(None)) | None => {}
        }
    }

    fn handle_rtcp(&mut self, now: MonoTime, key: SessionKey, compound: &[u8]) {
        let Self { table, rooms, forwards, .. } = self;
        let Some(session) = table.get_mut(key) else { return };
        let Some(room) = rooms.get(&session.room) else { return };
        forwards.clear();
        service::guarded(session, |session| match &mut session.media {
            Media::Publisher(publisher, _) => publisher.handle_rtcp(now, compound),
            Media::Viewer(viewer) => viewer.handle_rtcp(now, &room.rings, compound, forwards),
        });
        let retransmitted = self.forwards.iter().filter(|forward| forward.rtx.is_some()).count();
        self.counters.packets_retransmitted += retransmitted as u64;
        self.send_forwards(now, key);
    }

    /// Builds a session that this shard was granted.
    pub(super) fn seat(&mut self, now: MonoTime, seed: crate::registry::Seed) -> SessionKey {
        let name = seed.room_name.clone();
        let session = Session::grow(seed, &self.world.clock, now);
        let (room, public_id, role) = (session.room, session.public_id, session.role());
        let is_viewer = matches!(session.media, Media::Viewer(_));
        tracing::info!(session = %public_id, role, room = %name, "session began");
        let key = self.table.insert(Box::new(session));
        let entry = self.rooms.entry(room).or_insert_with(|| super::room::ShardRoom::new(name));
        if is_viewer {
            entry.viewers.push(key);
        } else {
            entry.publisher = Some(key);
        }
        if is_viewer {
            self.announce_interest(room, true);
        }
        key
    }
}

/// Receive batches per socket and turn, about as much time as a slice of the fan-out; more waits for the next turn. With
/// fewer, a storm of reports fills the socket's buffer, and a publisher's packets are lost among them.
const BATCHES_MAX: usize = 16;

/// Reports that are read in one turn: some quarter of a millisecond, and more than come while a slice goes out.
const REPORTS_MAX: usize = 128;

/// Frames of one TCP socket and turn: as many as one UDP receive call brings.
const FRAMES_PER_SOCKET_MAX: usize = 64;

/// Frames of all TCP sockets and turn, about as many as a UDP socket's batches.
const FRAMES_MAX: usize = BATCHES_MAX * FRAMES_PER_SOCKET_MAX;
