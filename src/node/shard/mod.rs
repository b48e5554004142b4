//! One thread with its sockets and sessions. Packet path.
//!
//! A shard does everything that happens to a packet and shares nothing. One turn of its loop: wait; take the mail;
//! receive; fan out a slice of what arrived; if that was all, read some of what was reported; call sessions whose time
//! has come; service every session that was touched; send. Invariants: a turn's work is bounded, so that a large room
//! delays a small one by a slice and not by a frame; a session that panics ends alone; nothing is sent but at the end of
//! a turn or when a batch is full.
//!
//! Start reading at [`Shard::run`].

mod counters;
mod explaining;
mod fanout;
mod gathering;
mod inbox;
mod interests;
pub(crate) mod load;
mod receive;
mod reports;
mod room;
mod room_channel;
mod sender;
mod service;
mod session;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod timers;
pub(crate) mod wanted;
mod warm;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rtp::MonoTime;
use sfu::viewer::Forward;
use transport::rate::{FailureLimit, Rate};
use transport::udp::{GsoMode, ReceiveBatch, UdpSocket};

use self::counters::Counters;
use self::interests::Interests;
use self::load::Load;
use self::reports::Reports;
use self::room::ShardRoom;
use self::sender::Sender;
use self::table::{SessionKey, Table};
use self::timers::Timers;
use self::warm::WARM_SESSIONS;
use crate::handle::Inner;
use crate::mesh::EndReason;
use crate::name::RoomId;
use crate::registry::ShardId;

pub use self::tcp::ICE_TCP_SOCKETS_MAX;

/// One shard; see the module's text.
#[derive(Debug)]
pub(crate) struct Shard {
    id: ShardId,
    world: Arc<Inner>,
    poll: Poll,
    table: Table,
    rooms: HashMap<RoomId, ShardRoom>,
    interests: Interests,
    timers: Timers,
    sender: Sender,
    counters: Counters,
    strangers: FailureLimit,
    inbound: Option<Box<ReceiveBatch>>,
    reports: Reports,
    /// UDP sockets that may hold more; the event queue tells of a change only once.
    readable: Vec<bool>,
    /// TCP sockets that may hold more, in turns.
    readable_tcp: VecDeque<u32>,
    touched: Vec<SessionKey>,
    /// Rooms with something to send, in turns.
    dirty_rooms: VecDeque<RoomId>,
    load: Load,
    /// When media came last, from a publisher here or over the mesh, or a handshake went on.
    stirred: MonoTime,
    forwards: Vec<Forward>,
    frame: Vec<u8>,
    housekept: MonoTime,
    /// The place in the table at which collecting counts goes on; absent when all were collected this second.
    counting: Option<usize>,
}

impl Shard {
    /// Makes a shard on its event queue with its sockets, one per local address.
    ///
    /// # Errors
    /// When a socket cannot be watched.
    pub(crate) fn new(
        id: ShardId,
        world: Arc<Inner>,
        poll: Poll,
        (sockets, gso): (Vec<UdpSocket>, GsoMode),
    ) -> io::Result<Self> {
        for (lane, socket) in sockets.iter().enumerate() {
            let fd = socket.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), lane_token(lane), Interest::READABLE)?;
        }
        let now = world.clock.now();
        Ok(Self {
            id,
            poll,
            table: Table::default(),
            rooms: HashMap::new(),
            interests: Interests::new(now),
            timers: Timers::default(),
            counters: Counters::default(),
            strangers: FailureLimit::new(STRANGERS_PER_NETWORK, STRANGERS, now),
            inbound: Some(Box::new(ReceiveBatch::new())),
            reports: Reports::new(),
            readable: vec![true; sockets.len()],
            readable_tcp: VecDeque::new(),
            sender: Sender::new(sockets, gso),
            touched: Vec::new(),
            dirty_rooms: VecDeque::new(),
            load: Load::new(now),
            stirred: now,
            forwards: Vec::with_capacity(FORWARDS_CAPACITY),
            frame: Vec::new(),
            housekept: now,
            counting: None,
            world,
        })
    }

    /// Runs until the node drains, then says goodbye to every session.
    pub(crate) fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.world.draining.load(Ordering::Relaxed) {
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "event queue failed, shard stopped");
                return;
            }
            self.turn();
        }
        self.say_goodbye();
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let has_input =
            self.readable.contains(&true) || !self.readable_tcp.is_empty() || !self.reports.is_empty();
        let mut before = self.world.clock.now();
        let is_quiet = before.since(self.stirred) > QUIET_AFTER && self.table.len() > NAP_SESSIONS;
        if is_quiet && !has_input && !events.is_empty() {
            std::thread::sleep(NAP);
            // By itself: what follows need not be a sleep, and its deadline counts from here.
            let woke = self.world.clock.now();
            self.note_sleep(woke, woke.since(before));
            before = woke;
        }
        let may_sleep = !has_input && self.world.mailboxes.may_sleep(self.id);
        let timeout = if may_sleep { self.until_next_deadline(before) } else { Duration::ZERO };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = self.world.clock.now();
        self.note_sleep(now, if timeout.is_zero() { Duration::ZERO } else { now.since(before) });
        for event in events.iter() {
            match event.token() {
                WAKER => {}
                token => match tcp::number(token) {
                    Some(number) if event.is_readable() && !self.readable_tcp.contains(&number) => {
                        self.readable_tcp.push_back(number);
                    }
                    Some(_) => {}
                    None => {
                        if let Some(readable) = self.readable.get_mut(token.0.saturating_sub(FIRST_LANE)) {
                            *readable = true;
                        }
                    }
                },
            }
        }
        Ok(())
    }

    fn note_sleep(&mut self, now: MonoTime, slept: Duration) {
        self.load.note_sleep(now, slept);
        if let Some(mean) = self.load.take_mean() {
            self.world.admission.note(self.id, mean);
            let viewers = self.rooms.values().map(|entry| entry.viewers.len()).sum();
            self.world.metrics.note_shard(self.id, mean, viewers);
        }
    }

    fn until_next_deadline(&self, now: MonoTime) -> Duration {
        let timer = self.timers.next();
        [timer, self.next_fan_out(now)]
            .into_iter()
            .flatten()
            .min()
            .map_or(HOUSEKEEPING, |at| at.since(now))
            .min(HOUSEKEEPING)
    }

    /// Does everything that is due now.
    fn turn(&mut self) {
        let now = self.world.clock.now();
        self.take_mail(now);
        self.receive(now);
        let more_waits = self.fan_out(now);
        if !more_waits || self.reports.are_many() {
            self.read_reports(now);
        }
        self.call_due(now);
        self.service_touched(now);
        if now.since(self.housekept) >= HOUSEKEEPING {
            self.housekept = now;
            self.keep_house(now);
        }
        self.count_on();
        self.sender.flush();
    }

    fn call_due(&mut self, now: MonoTime) {
        // Bounded, so that a crowd of deadlines cannot hold up packets; the rest comes in the next turn.
        let mut left = DUE_PACKETS;
        for _ in 0..DUE_MAX / WARM_SESSIONS {
            if left == 0 {
                return;
            }
            let mut due = [None; WARM_SESSIONS];
            due.iter_mut().for_each(|place| *place = self.timers.pop_due(now));
            if due.iter().flatten().next().is_none() {
                return;
            }
            warm::for_deadlines(&self.table, &due);
            for (at, key) in due.into_iter().flatten() {
                if left == 0 {
                    self.timers.schedule(at, key);
                } else {
                    left = left.saturating_sub(self.call_at(now, at, key));
                }
            }
        }
    }

    /// Calls a session whose deadline has come, unless it has been put off meanwhile; how many packets it sent.
    fn call_at(&mut self, now: MonoTime, at: MonoTime, key: SessionKey) -> usize {
        let Some(session) = self.table.get_mut(key).filter(|session| session.timer == Some(at)) else {
            return 0;
        };
        let next = session.next_timeout();
        session.timer = next.filter(|next| *next > now);
        if let Some(next) = session.timer {
            self.timers.schedule(next, key);
            return 0;
        }
        let sent = self.call(now, key);
        self.touch(key);
        sent
    }

    /// Tells a session the time, and sends what it has for that; how many packets that was.
    fn call(&mut self, now: MonoTime, key: SessionKey) -> usize {
        let Self { table, rooms, forwards, sender, .. } = self;
        let Some(session) = table.get_mut(key) else { return 0 };
        let rings = rooms.get(&session.room).map(|room| &room.rings);
        let rings = rings.filter(|_| session.takes_media(sender));
        forwards.clear();
        service::guarded(session, |session| session.handle_timeout(now, rings, forwards));
        let count = forwards.len();
        self.send_forwards(now, key);
        count
    }

    /// Puts a session on the list of this turn's service.
    fn touch(&mut self, key: SessionKey) {
        if let Some(session) = self.table.get_mut(key)
            && !session.touched
        {
            session.touched = true;
            self.touched.push(key);
        }
    }

    /// Sends every session a BYE and closes its DTLS.
    fn say_goodbye(&mut self) {
        let now = self.world.clock.now();
        for key in self.table.keys() {
            self.end_session(now, key, EndReason::Shutdown);
        }
        self.sender.flush();
        self.counters.flush(&self.world.metrics);
    }
}

/// A shard without media and handshakes for this long has nothing that a short nap could delay.
const QUIET_AFTER: Duration = Duration::from_millis(500);

/// How long a quiet shard lets datagrams gather after it has taken some: the reports of thousands of waiting viewers
/// cost half when they are read together. Only the first check of a join, or the first packet of a show, may feel it.
const NAP: Duration = Duration::from_millis(25);

/// With fewer sessions there is little to save, and a handshake would feel it.
const NAP_SESSIONS: usize = 200;

const fn lane_token(lane: usize) -> Token {
    Token(FIRST_LANE + lane)
}

/// Failed checks of unknown addresses in one network.
const STRANGERS_PER_NETWORK: Rate = Rate { per_second: 50, burst: 50 };

/// Failed checks of all unknown addresses of a shard: what it can look at without a packet being late.
const STRANGERS: Rate = Rate { per_second: 5_000, burst: 5_000 };

/// The waker's token.
pub(crate) const WAKER: Token = Token(0);

const FIRST_LANE: usize = 1;

const EVENTS_MAX: usize = 256;

/// How often counters are flushed and slow things looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Sessions called per turn.
const DUE_MAX: usize = 1_024;

/// Packets of viewers that are being brought to the live edge, per turn: about a millisecond.
const DUE_PACKETS: usize = 1_024;

/// Decisions for one viewer in one turn: a keyframe and more.
const FORWARDS_CAPACITY: usize = 2_048;
