//! Threads full of viewers: one event loop each, a socket per viewer (servers tell viewers apart by their address), one
//! receive buffer for all, timers in a heap.
//!
//! While it joins, a viewer's socket is watched, so that join times are exact. Readiness is told by level: a socket whose
//! one receive left something is told again, which costs less than a second receive that finds nothing. A viewer that
//! has its picture is looked at in *rounds* instead: to tell an event queue of each datagram costs, and on one machine it
//! is the server that pays, a ninth of its CPU time at runs of eight. The kernel's time of arrival stays exact.
//!
//! Joins and snapshots come over a queue; what happens to viewers goes out over another. Dropping the crowd ends it.

use super::{Behaviour, Event, Shared, Totals, Viewer};
use crate::clock::{self, WallClock};
use crate::link::{Link, Random};
use crate::signal::Answer;
use crate::socket::{ReceiveBuffer, Socket};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rtp::MonoTime;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::{Arc, mpsc};
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
    waker: Arc<EventFd>,
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
    /// The counters since the start; the delays since the last snapshot, and frozen viewers once in each span between
    /// two.
    pub totals: Totals,
    /// Viewers that got media at any time, of those that are here.
    pub with_media: u64,
    /// Viewers whose data channel is open.
    pub with_channel: u64,
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
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            let waker = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
            epoll.add(waker.as_ref(), EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
            let (commands, receiver) = mpsc::channel();
            let worker = Worker {
                epoll,
                waker: Arc::clone(&waker),
                commands: receiver,
                events: events.clone(),
                shared: Shared::new(behaviour, Random::from_machine()),
                members: BTreeMap::new(),
                slots: Vec::new(),
                timers: BinaryHeap::new(),
                round_at: clock::now(),
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

    /// Returns what all threads counted, and begins the next span.
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
            sum.with_channel = sum.with_channel.saturating_add(one.with_channel);
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
        self.waker.write(1)?;
        Ok(())
    }
}

/// A viewer with its socket.
struct Member {
    number: Number,
    viewer: Viewer,
    socket: Socket,
    /// Whether the event queue tells of the socket; it is looked at in rounds otherwise.
    watched: bool,
    /// The earliest timer in the heap.
    scheduled: Option<MonoTime>,
}

struct Worker {
    epoll: Epoll,
    waker: Arc<EventFd>,
    commands: mpsc::Receiver<Command>,
    events: UnboundedSender<(Number, Event)>,
    shared: Shared,
    /// Where each viewer is in `slots`.
    members: BTreeMap<Number, usize>,
    slots: Vec<Option<Member>>,
    timers: BinaryHeap<Reverse<(MonoTime, usize)>>,
    /// When the next round is due.
    round_at: MonoTime,
    buffer: ReceiveBuffer,
}

impl Worker {
    fn run(mut self) {
        let mut ready = vec![EpollEvent::empty(); EVENTS_MAX];
        loop {
            // A wait that was interrupted is as good as one that found nothing.
            let count = self.epoll.wait(&mut ready, self.pause()).unwrap_or(0);
            let wall = WallClock::compare();
            for token in ready.iter().take(count).map(EpollEvent::data) {
                match usize::try_from(token) {
                    Ok(slot) if token != WAKER => drop(self.receive(slot, wall)),
                    _ if self.obey() => {}
                    _ => return,
                }
            }
            self.go_round(wall);
            self.fire();
        }
    }

    /// Takes what has come to the sockets that nobody watches, when a round is due.
    fn go_round(&mut self, wall: WallClock) {
        let now = clock::now();
        if now < self.round_at {
            return;
        }
        self.round_at = now + ROUND;
        for slot in 0..self.slots.len() {
            let unwatched = |member: &Option<Member>| member.as_ref().is_some_and(|member| !member.watched);
            while self.slots.get(slot).is_some_and(unwatched) && self.receive(slot, wall) {}
        }
    }

    /// Returns how long nothing is due, in whole milliseconds, rounded up so that waiting is no spinning.
    fn pause(&self) -> EpollTimeout {
        let due = self.timers.peek().map_or(self.round_at, |Reverse((at, _))| self.round_at.min(*at));
        let millis = due.since(clock::now()).as_nanos().div_ceil(1_000_000);
        EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }

    /// Does what was commanded; `false` when it is to end.
    fn obey(&mut self) -> bool {
        // It counts wishes, which are all in the queue.
        let _ = self.waker.read();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Join(join) => self.add(*join),
                Command::Leave(number) => self.remove(number),
                Command::Snapshot(sender) => {
                    let now = clock::now();
                    for member in self.slots.iter_mut().flatten() {
                        member.viewer.begin_span(now, &mut self.shared);
                    }
                    let count = |has: fn(&Viewer) -> bool| {
                        let here = self.slots.iter().flatten().filter(|member| has(&member.viewer));
                        u64::try_from(here.count()).unwrap_or(u64::MAX)
                    };
                    let snapshot = Snapshot {
                        totals: self.shared.totals.clone(),
                        with_media: count(Viewer::has_media),
                        with_channel: count(Viewer::has_channel),
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
        let Join { number, link, socket, answer, posted_at } = join;
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let token = u64::try_from(slot).unwrap_or(WAKER);
        if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token)).is_err() {
            self.shared.totals.send_errors = self.shared.totals.send_errors.saturating_add(1);
            return;
        }
        let now = clock::now();
        let viewer = Viewer::new(link, &answer, (now, posted_at), number, &mut self.shared);
        let member = Member { number, viewer, socket, watched: true, scheduled: None };
        self.members.insert(number, slot);
        match self.slots.get_mut(slot) {
            Some(place) => *place = Some(member),
            None => self.slots.push(Some(member)),
        }
        self.settle(slot, true);
    }

    fn remove(&mut self, number: Number) {
        let Some(slot) = self.members.remove(&number) else { return };
        if let Some(Some(member)) = self.slots.get_mut(slot) {
            member.viewer.close(clock::now(), &mut self.shared);
        }
        self.settle(slot, false);
        if let Some(member) = self.slots.get_mut(slot).and_then(Option::take) {
            // The socket goes, and its registration, if it has one, with it.
            let _ = self.epoll.delete(&member.socket);
        }
    }

    /// Takes one run from a socket; `false` when there was none.
    fn receive(&mut self, slot: usize, wall: WallClock) -> bool {
        let Some(Some(member)) = self.slots.get_mut(slot) else { return false };
        let now = clock::now();
        let Ok(received) = member.socket.receive(&mut self.buffer) else { return false };
        self.shared.totals.receives = self.shared.totals.receives.saturating_add(1);
        let at = received.at_wall_ns.map_or(now, |wall_ns| wall.to_mono(wall_ns).min(now));
        for packet in received.packets() {
            member.viewer.handle_packet(now, at, received.from, packet, &mut self.shared);
        }
        let changed = member.viewer.take_timer_change();
        self.settle(slot, changed);
        true
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
            self.settle(slot, true);
        }
    }

    /// Sends and tells what handling a viewer left behind, and schedules what may have come in front of its timers.
    fn settle(&mut self, slot: usize, timers_changed: bool) {
        let Some(Some(member)) = self.slots.get_mut(slot) else { return };
        for (to, datagram) in self.shared.outgoing.drain(..) {
            if member.socket.send(&datagram, to).is_err() {
                self.shared.totals.send_errors = self.shared.totals.send_errors.saturating_add(1);
            }
        }
        for event in self.shared.events.drain(..) {
            if event == Event::Connected
                && let Some(remote) = member.viewer.remote()
            {
                // The route is looked up once; without it sending works too, more slowly.
                let _ = member.socket.connect(remote);
            }
            if matches!(event, Event::FirstKeyframe(_)) && !self.shared.behaviour.silent {
                // A socket that cannot be taken out goes on being told of.
                member.watched = self.epoll.delete(&member.socket).is_err();
            }
            // Nobody listens any more when the run ends.
            let _ = self.events.send((member.number, event));
        }
        if timers_changed
            && let Some(next) = member.viewer.next_timeout()
            && member.scheduled.is_none_or(|scheduled| next < scheduled)
        {
            member.scheduled = Some(next);
            self.timers.push(Reverse((next, slot)));
        }
    }
}

const WAKER: u64 = u64::MAX;
const EVENTS_MAX: usize = 1_024;
/// Half a frame's time: a shorter round finds most sockets empty, and to look into one disturbs who delivers to it. What
/// comes in a round fits into any socket's buffer many times over.
const ROUND: Duration = Duration::from_millis(16);
