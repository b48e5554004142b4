//! One published session: the socket, the link and the publisher, driven by one thread.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mio::{Events, Interest, Poll, Token};
use rtp::{MediaClock, MonoTime, NtpTime};

use super::burst::{Burst, Tally};
use crate::clock;
use crate::link::{Inbound, Link, Output as LinkOutput, Profile};
use crate::progress::Progress;
use crate::publisher::{self, Output, Publisher};
use crate::socket::{ReceiveBuffer, Socket};
use crate::stop::Stop;

/// Everything that one session needs to run.
pub(super) struct Session {
    socket: Socket,
    poll: Poll,
    events: Events,
    buffer: ReceiveBuffer,
    link: Link,
    /// What is published once the link is connected.
    waiting: Option<publisher::Config>,
    publisher: Option<Publisher>,
    began: Option<MonoTime>,
    profile: Option<Profile>,
    burst: Burst,
    opened: Vec<u8>,
}

/// How a session went on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// When the first packet of media went out.
    pub(super) began: Option<MonoTime>,
    pub(super) profile: Option<Profile>,
    pub(super) tally: Tally,
    pub(super) stats: publisher::Stats,
}

impl Session {
    /// Makes a session whose answer the link has taken; it publishes once it is connected.
    pub(super) fn new(socket: Socket, link: Link, config: publisher::Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut socket = socket;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
        Ok(Self {
            socket,
            poll,
            events: Events::with_capacity(1),
            buffer: ReceiveBuffer::new(),
            link,
            waiting: Some(config),
            publisher: None,
            began: None,
            profile: None,
            burst: Burst::new(),
            opened: Vec::new(),
        })
    }

    /// Publishes for `duration` from the first packet on, or until `stop` asks.
    ///
    /// # Errors
    ///
    /// When the session ends by itself.
    pub(super) fn run(
        &mut self,
        duration: Duration,
        stop: &Stop,
        mut progress: Option<&mut Progress>,
    ) -> Result<()> {
        loop {
            let now = clock::now();
            if let (Some(progress), Some(began)) = (&mut progress, self.began) {
                progress.show_time(now, began, duration, "publishing");
            }
            if stop.is_asked() || self.began.is_some_and(|began| now.since(began) >= duration) {
                return Ok(());
            }
            self.receive(now);
            self.link.handle_timeout(now);
            self.flush_link(now)?;
            self.publish(now);
            self.wait()?;
        }
    }

    /// Says goodbye to the server's transport.
    pub(super) fn close(&mut self) {
        self.link.close(clock::now());
        while let Some(output) = self.link.poll_output() {
            if let LinkOutput::Transmit(to, datagram) = output {
                let _ = self.socket.send(&datagram, to);
            }
        }
    }

    /// Returns how it went.
    pub(super) fn course(&self) -> Course {
        Course {
            began: self.began,
            profile: self.profile,
            tally: self.burst.tally(),
            stats: self.publisher.as_ref().map(Publisher::stats).unwrap_or_default(),
        }
    }

    fn receive(&mut self, now: MonoTime) {
        for _ in 0..RECEIVES_MAX {
            // Errors other than "nothing there" are reports of what was sent; the link notices a dead path itself.
            let Ok(received) = self.socket.receive(&mut self.buffer) else { return };
            let from = received.from;
            for datagram in received.packets() {
                if self.link.handle_datagram(now, from, datagram) != Inbound::Rtcp {
                    continue;
                }
                if let Some(publisher) = &mut self.publisher
                    && self.link.open_rtcp(datagram, &mut self.opened).is_ok()
                {
                    publisher.handle_rtcp(now, &self.opened);
                }
            }
        }
    }

    fn flush_link(&mut self, now: MonoTime) -> Result<()> {
        while let Some(output) = self.link.poll_output() {
            match output {
                LinkOutput::Transmit(to, datagram) => {
                    // A datagram of the handshake that is lost is sent again.
                    let _ = self.socket.send(&datagram, to);
                }
                LinkOutput::Connected(profile) => self.begin(now, profile)?,
                LinkOutput::Closed(reason) => bail!("the session ended: {reason}"),
            }
        }
        Ok(())
    }

    fn begin(&mut self, now: MonoTime, profile: Profile) -> Result<()> {
        let Some(config) = self.waiting.take() else { return Ok(()) };
        self.profile = Some(profile);
        self.began = Some(now);
        self.publisher = Some(Publisher::new(config, now)?);
        Ok(())
    }

    /// Sends what is due in one burst.
    fn publish(&mut self, now: MonoTime) {
        let (Some(publisher), Some(to)) = (&mut self.publisher, self.link.remote()) else { return };
        publisher.handle_timeout(now);
        while let Some(output) = publisher.poll_output() {
            let (mut packet, sealed) = match output {
                Output::Rtp(mut packet) => {
                    let sealed = self.link.seal_rtp(&mut packet);
                    (packet, sealed)
                }
                Output::Rtcp(mut compound) => {
                    let sealed = self.link.seal_rtcp(&mut compound);
                    (compound, sealed)
                }
            };
            if sealed.is_ok() {
                self.burst.push(&packet, &self.socket, to);
            }
            packet.clear();
        }
        self.burst.flush(&self.socket, to);
    }

    fn wait(&mut self) -> Result<()> {
        let deadlines =
            self.link.next_timeout().into_iter().chain(self.publisher.as_ref().map(Publisher::next_timeout));
        let pause = deadlines.min().map_or(PAUSE_MAX, |at| at.since(clock::now())).min(PAUSE_MAX);
        match self.poll.poll(&mut self.events, Some(pause)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error).context("cannot wait"),
            _ => Ok(()),
        }
    }
}

/// Binds a socket that reaches every address of the URL's family; returns it with its candidate, the address that
/// the machine sends from towards the URL's host.
///
/// # Errors
///
/// When the host has no address, or there is no way to it.
pub(super) fn bind(host: &str, port: u16) -> Result<(Socket, SocketAddr)> {
    let mut addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs()?;
    let server = addresses.next().with_context(|| format!("{host} has no address"))?;
    let source =
        Socket::bind_towards(server).with_context(|| format!("there is no way to {host}"))?.local().ip();
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = Socket::bind(any).context("cannot bind a UDP socket")?;
    let candidate = SocketAddr::new(source, socket.local().port());
    Ok((socket, candidate))
}

/// Fixes the wall clock of sender reports.
pub(super) fn media_clock() -> MediaClock {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
    MediaClock::new(NtpTime::from_unix_nanos(nanos), clock::now())
}

/// How long a wish to end may wait, and how often a session looks up at all.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// So that a flood of datagrams does not keep frames from their time.
const RECEIVES_MAX: usize = 64;
