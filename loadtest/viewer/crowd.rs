//! Threads full of viewers: one event loop each, a socket per viewer (servers tell viewers apart by their address), one
//! receive buffer for all, timers in a heap.
//!
//! Joins and snapshots come over a queue; what happens to viewers goes out over another. Dropping the crowd ends it.

use super::{Behaviour, Event, Shared, Totals, Viewer};
use crate::clock::{self, WallClock};
use crate::link::{Link, Random};
use crate::signal::Answer;
use crate::socket::{ReceiveBuffer, Socket};
use mio::{Events, Interest, Poll, Token, Waker};
use rtp::MonoTime;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// A number that a viewer keeps for the whole run, from zero on.
pub type Number = u64;

/// A viewer whose offer was answered.
#[derive(Debug)]
pub struct Join {
    /// Its number.
    pub number: Number,
    /// The link that made the offer.
    pub link: Link,
    /// The socket of its candidate.
    pub socket: Socket,
    /// What the server answered.
    pub answer: Answer,
    /// When the offer was sent.
    pub posted_at: MonoTime,
}

/// The threads.
#[derive(Debug)]
pub struct Crowd {
    threads: Vec<Handle>,
}

#[derive(Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Join(Box<Join>),
    Leave(Number),
    Snapshot(oneshot::Sender<Snapshot>),
    End,
}

/// What a crowd counted so far.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The counters since the start; the delays since the last snapshot.
    pub totals: Totals,
    /// Viewers that got media at any time, of those that are here.
    pub with_media: u64,
}

impl Crowd {
    /// Starts the threads; events go to `events` with their viewer's number.
    ///
    /// # Errors
    /// When the machine refuses a thread or an event loop.
    pub fn start(
        threads: usize,
        behaviour: Behaviour,
        events: &UnboundedSender<(Number, Event)>,
    ) -> io::Result<Self> {
        let start = |index: usize| {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            let (commands, receiver) = mpsc::channel();
            let worker = Worker {
                poll,
                commands: receiver,
                events: events.clone(),
                shared: Shared::new(behaviour, Random::from_machine()),
                members: BTreeMap::new(),
                slots: Vec::new(),
                timers: BinaryHeap::new(),
                buffer: ReceiveBuffer::new(),
            };
            let thread = thread::Builder::new().name(format!("viewers-{index}")).spawn(|| worker.run())?;
            Ok(Handle { commands, waker, thread: Some(thread) })
        };
        Ok(Self { threads: (0..threads.max(1)).map(start).collect::<io::Result<_>>()? })
    }

    /// Lets a viewer in.
    ///
    /// # Errors
    /// When its thread has ended.
    pub fn join(&self, join: Join) -> io::Result<()> {
        self.command(join.number, Command::Join(Box::new(join)))
    }

    /// Lets a viewer say goodbye and forgets it; unknown numbers are nobody.
    ///
    /// # Errors
    /// When its thread has ended.
    pub fn leave(&self, number: Number) -> io::Result<()> {
        self.command(number, Command::Leave(number))
    }

    /// Returns what all threads counted.
    ///
    /// # Errors
    /// When a thread has ended.
    pub async fn snapshot(&self) -> io::Result<Snapshot> {
        let mut sum = Snapshot::default();
        for handle in &self.threads {
            let (sender, receiver) = oneshot::channel();
            handle.send(Command::Snapshot(sender))?;
            let one = receiver.await.map_err(io::Error::other)?;
            sum.totals.merge(&one.totals);
            sum.with_media = sum.with_media.saturating_add(one.with_media);
        }
        Ok(sum)
    }

    fn command(&self, number: Number, command: Command) -> io::Result<()> {
        let index = number.checked_rem(u64::try_from(self.threads.len()).unwrap_or(1)).unwrap_or(0);
        let handle = usize::try_from(index).ok().and_then(|index| self.threads.get(index));
        handle.ok_or(io::ErrorKind::NotFound)?.send(command)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for handle in &mut self.threads {
            // A thread that has ended already needs no telling.
            let _ = handle.send(Command::End);
            if let Some(thread) = handle.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Handle {
    fn send(&self, command: Command) -> io::Result<()> {
        self.commands.send(command).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.waker.wake()
    }
}

/// A viewer with its socket.
struct Member {
    number: Number,
    viewer: Viewer,
    socket: Socket,
    /// The earliest timer in the heap.
    scheduled: Option<MonoTime>,
}

struct Worker {
    poll: Poll,
    commands: mpsc::Receiver<Command>,
    events: UnboundedSender<(Number, Event)>,
    shared: Shared,
    /// Where each viewer is in `slots`.
    members: BTreeMap<Number, usize>,
    slots: Vec<Option<Member>>,
    timers: BinaryHeap<Reverse<(MonoTime, usize)>>,
    buffer: ReceiveBuffer,
}

impl Worker {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let pause = self.timers.peek().map_or(PAUSE_MAX, |Reverse((at, _))| at.since(clock::now()));
            if self.poll.poll(&mut events, Some(pause.min(PAUSE_MAX))).is_err() {
                continue; // interrupted
            }
            let wall = WallClock::compare();
            for event in &events {
                if event.token() == WAKER {
                    if !self.obey() {
                        return;
                    }
                } else {
                    self.receive(event.token().0, wall);
                }
            }
            self.fire();
        }
    }

    /// Does what was commanded; `false` when it is to end.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Join(join) => self.add(*join),
                Command::Leave(number) => self.remove(number),
                Command::Snapshot(sender) => {
                    let here = self.slots.iter().flatten();
                    let with_media = here.filter(|member| member.viewer.has_media()).count();
                    let snapshot = Snapshot {
                        totals: self.shared.totals.clone(),
                        with_media: u64::try_from(with_media).unwrap_or(u64::MAX),
                    };
                    self.shared.totals.delay = crate::report::Histogram::new();
                    // Who asked may have gone.
                    let _ = sender.send(snapshot);
                }
                Command::End => return false,
            }
        }
        true
    }

    fn add(&mut self, join: Join) {
        let Join { number, link, mut socket, answer, posted_at } = join;
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if self.poll.registry().register(&mut socket, Token(slot), Interest::READABLE).is_err() {
            self.shared.totals.send_errors = self.shared.totals.send_errors.saturating_add(1);
            return;
        }
        let now = clock::now();
        let viewer = Viewer::new(link, &answer, (now, posted_at), number, &mut self.shared);
        let member = Member { number, viewer, socket, scheduled: None };
        self.members.insert(number, slot);
        match self.slots.get_mut(slot) {
            Some(place) => *place = Some(member),
            None => self.slots.push(Some(member)),
        }
        self.settle(slot);
    }

    fn remove(&mut self, number: Number) {
        let Some(slot) = self.members.remove(&number) else { return };
        if let Some(Some(member)) = self.slots.get_mut(slot) {
            member.viewer.close(clock::now(), &mut self.shared);
        }
        self.settle(slot);
        if let Some(mut member) = self.slots.get_mut(slot).and_then(Option::take) {
            // The socket goes, and its registration with it.
            let _ = self.poll.registry().deregister(&mut member.socket);
        }
    }

    /// Takes everything that a socket has: its readiness is told only once.
    fn receive(&mut self, slot: usize, wall: WallClock) {
        let Some(Some(member)) = self.slots.get_mut(slot) else { return };
        let now = clock::now();
        while let Ok(received) = member.socket.receive(&mut self.buffer) {
            self.shared.totals.receives = self.shared.totals.receives.saturating_add(1);
            let at = received.at_wall_ns.map_or(now, |wall_ns| wall.to_mono(wall_ns).min(now));
            for packet in received.packets() {
                member.viewer.handle_packet(now, at, received.from, packet, &mut self.shared);
            }
        }
        self.settle(slot);
    }

    fn fire(&mut self) {
        let now = clock::now();
        while let Some(Reverse((at, slot))) = self.timers.peek().copied().filter(|timer| timer.0.0 <= now) {
            self.timers.pop();
            let Some(Some(member)) = self.slots.get_mut(slot) else { continue };
            if member.scheduled != Some(at) {
                continue; // an earlier one took its place
            }
            member.scheduled = None;
            member.viewer.handle_timeout(now, &mut self.shared);
            self.settle(slot);
        }
    }

    /// Sends, tells and schedules what handling a viewer left behind.
    fn settle(&mut self, slot: usize) {
        let Some(Some(member)) = self.slots.get_mut(slot) else { return };
        for (to, datagram) in self.shared.outgoing.drain(..) {
            if member.socket.send(&datagram, to).is_err() {
                self.shared.totals.send_errors = self.shared.totals.send_errors.saturating_add(1);
            }
        }
        for event in self.shared.events.drain(..) {
            // Nobody listens any more when the run ends.
            let _ = self.events.send((member.number, event));
        }
        if let Some(next) = member.viewer.next_timeout()
            && member.scheduled.is_none_or(|scheduled| next < scheduled)
        {
            member.scheduled = Some(next);
            self.timers.push(Reverse((next, slot)));
        }
    }
}

const WAKER: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 1_024;
const PAUSE_MAX: Duration = Duration::from_millis(500);
