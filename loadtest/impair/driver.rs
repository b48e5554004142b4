//! The loop that every carrier of packets runs in: wait, read, let time pass, send what is due, answer lines.

use std::io::{self, Write};
use std::net::SocketAddr;

use rtp::MonoTime;
use serde_json::Value;

use super::control::{Answer, Command, Error, Network};
use super::waiter::{Waiter, Wake};
use crate::clock;

/// What packets come from and go to: sockets, or network interfaces.
pub(super) trait Carrier {
    /// What it carries.
    type Packet: Clone;

    /// Reads some of what this token stands for, and puts it into the network.
    fn read(&mut self, token: u64, waiter: &Waiter, network: &mut Network<Self::Packet>);

    /// Hands a packet over on the side of the remotes.
    fn send_down(&mut self, packet: &Self::Packet);

    /// Hands a packet over on the side of the server.
    fn send_up(&mut self, packet: &Self::Packet);

    /// Sends to another server from now on.
    fn turn_to(&mut self, server: SocketAddr) -> Result<Value, String>;

    /// Cleans up, now and then; returns when to be called again.
    fn tidy(&mut self, now: MonoTime) -> Option<MonoTime>;

    /// Where it is, for the ready line.
    fn place(&self) -> Value;

    /// What it counts.
    fn facts(&self) -> Value;
}

/// A carrier with the network between its two sides.
#[derive(Debug)]
pub(super) struct Driver<C: Carrier> {
    pub(super) carrier: C,
    pub(super) network: Network<C::Packet>,
    pub(super) waiter: Waiter,
    pub(super) json: bool,
}

impl<C: Carrier> Driver<C> {
    /// Runs until SIGINT or SIGTERM, or until nobody reads stdout any more.
    pub(super) fn run(mut self) -> io::Result<()> {
        self.say(&Answer::ready(&self.network, self.carrier.place()))?;
        let mut wake = Wake::default();
        while !wake.ends {
            let tidy = self.carrier.tidy(clock::now());
            let until = [tidy, self.network.next_timeout()].into_iter().flatten().min();
            self.waiter.wait(until, &mut wake)?;
            for token in &wake.readable {
                self.carrier.read(*token, &self.waiter, &mut self.network);
            }
            self.deliver();
            for line in wake.lines.iter().filter(|line| !line.trim().is_empty()) {
                let answer = self.obey(line).unwrap_or_else(|error| Answer::refused(&error));
                self.say(&answer)?;
            }
        }
        self.say(&Answer::stats(&self.network, self.carrier.facts()))
    }

    fn deliver(&mut self) {
        self.network.handle_timeout(clock::now());
        while let Some(delivery) = self.network.down.poll_output() {
            self.carrier.send_down(&delivery.packet);
        }
        while let Some(delivery) = self.network.up.poll_output() {
            self.carrier.send_up(&delivery.packet);
        }
    }

    fn obey(&mut self, line: &str) -> Result<Answer, Error> {
        match line.parse()? {
            Command::Change { which, spec } => {
                self.network.change(clock::now(), which, &spec)?;
                Ok(Answer::changed(&self.network))
            }
            Command::To(server) => {
                let place = self.carrier.turn_to(server).map_err(Error::Refused)?;
                Ok(Answer::of("turned", place))
            }
            Command::Stats => Ok(Answer::stats(&self.network, self.carrier.facts())),
        }
    }

    fn say(&self, answer: &Answer) -> io::Result<()> {
        let line = if self.json { answer.json() } else { answer.text() };
        writeln!(io::stdout(), "{line}")
    }
}
