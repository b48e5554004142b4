//! The lines on stdin that change a running emulator, and its answers on stdout.
//!
//! `down SPEC`, `up SPEC`, `both SPEC`, `to ADDR`, `stats`. Every line that is not empty gets exactly one answer, as a line
//! of text or of JSON; a line that cannot be understood changes nothing.

use std::net::SocketAddr;
use std::str::FromStr;

use rtp::MonoTime;
use serde_json::{Value, json};

use super::config::Config;
use super::model::Direction;
use super::spec;

/// Why a line changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with a word that is no command.
    #[error("{0:?} is no command: write {COMMANDS}")]
    Unknown(String),
    /// Its address is none.
    #[error("{0:?} is no address: write for example to 127.0.0.1:8080")]
    Address(String),
    /// Its spec is none.
    #[error(transparent)]
    Spec(#[from] spec::Error),
    /// The emulator could not do it.
    #[error("{0}")]
    Refused(String),
}

const COMMANDS: &str = "down SPEC, up SPEC, both SPEC, to ADDR, or stats; a SPEC is for example \
    delay=50ms,loss=5%,rate=1.5M, or clear";

/// One line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Change the directions.
    Change {
        /// Which.
        which: Which,
        /// How; read against what each direction does already.
        spec: String,
    },
    /// Send to another server from now on.
    To(SocketAddr),
    /// Say what has happened so far.
    Stats,
}

/// Which directions a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// From the server.
    Down,
    /// To the server.
    Up,
    /// Either.
    Both,
}

impl FromStr for Command {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let change = |which| Ok(Self::Change { which, spec: rest.trim().to_owned() });
        match word {
            "down" => change(Which::Down),
            "up" => change(Which::Up),
            "both" => change(Which::Both),
            "to" => rest.trim().parse().map(Self::To).map_err(|_| Error::Address(rest.trim().to_owned())),
            "stats" if rest.is_empty() => Ok(Self::Stats),
            _ => Err(Error::Unknown(line.to_owned())),
        }
    }
}

/// Both directions of a network.
#[derive(Debug)]
pub struct Network<T> {
    /// From the server.
    pub down: Direction<T>,
    /// To the server.
    pub up: Direction<T>,
}

impl<T: Clone> Network<T> {
    /// Makes a network; the directions get seeds of their own out of one.
    #[must_use]
    pub fn new(down: Config, up: Config, seed: u64) -> Self {
        Self { down: Direction::new(down, seed), up: Direction::new(up, seed.wrapping_add(1)) }
    }

    /// Changes one direction or both; neither when the spec does not suit both.
    ///
    /// # Errors
    /// When the spec cannot be read or does not go together with what is there.
    pub fn change(&mut self, now: MonoTime, which: Which, spec: &str) -> Result<(), spec::Error> {
        let (mut down, mut up) = (*self.down.config(), *self.up.config());
        if which != Which::Up {
            down = down.changed_by(spec)?;
        }
        if which != Which::Down {
            up = up.changed_by(spec)?;
        }
        self.down.handle_config(now, down);
        self.up.handle_config(now, up);
        Ok(())
    }

    /// Lets time pass in both directions.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        self.down.handle_timeout(now);
        self.up.handle_timeout(now);
    }

    /// Returns when to look again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        [self.down.next_timeout(), self.up.next_timeout()].into_iter().flatten().min()
    }
}

/// One line for stdout.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    event: &'static str,
    facts: Value,
}

impl Answer {
    /// The emulator works; `facts` says where.
    #[must_use]
    pub fn ready<T: Clone>(network: &Network<T>, facts: Value) -> Self {
        Self { event: "ready", facts: merged(specs(network), facts) }
    }

    /// A change is in effect.
    #[must_use]
    pub fn changed<T: Clone>(network: &Network<T>) -> Self {
        Self { event: "changed", facts: specs(network) }
    }

    /// What has happened so far; `facts` adds what the carrier counts.
    #[must_use]
    pub fn stats<T: Clone>(network: &Network<T>, facts: Value) -> Self {
        let directions = json!({ "down": counted(&network.down), "up": counted(&network.up) });
        Self { event: "stats", facts: merged(directions, facts) }
    }

    /// Something else; `facts` says what.
    #[must_use]
    pub fn of(event: &'static str, facts: Value) -> Self {
        Self { event, facts }
    }

    /// A line was refused.
    #[must_use]
    pub fn refused(error: &Error) -> Self {
        Self { event: "error", facts: json!({ "message": error.to_string() }) }
    }

    /// Writes it as one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        merged(json!({ "event": self.event }), self.facts.clone()).to_string()
    }

    /// Writes it for people, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut line = format!("{}:", self.event);
        words(&self.facts, "", &mut line);
        line
    }
}

fn specs<T: Clone>(network: &Network<T>) -> Value {
    json!({ "down": network.down.config().to_string(), "up": network.up.config().to_string() })
}

fn counted<T: Clone>(direction: &Direction<T>) -> Value {
    let now = json!({
        "inside": direction.inside(),
        "queue_bytes": direction.queue_bytes(),
        "queue_ms": u64::try_from(direction.queue_delay().as_millis()).unwrap_or(u64::MAX),
    });
    merged(serde_json::to_value(direction.counters()).unwrap_or_default(), now)
}

fn merged(mut into: Value, from: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut into, from) {
        into.extend(from);
    }
    into
}

/// Appends ` name value` for every fact that is not zero.
fn words(value: &Value, name: &str, line: &mut String) {
    match value {
        Value::Object(facts) => {
            for (key, fact) in facts {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                words(fact, &name, line);
            }
        }
        Value::String(text) if name == "message" => line.push_str(&format!(" {text}")),
        Value::String(text) => line.push_str(&format!(" {name} {text}")),
        Value::Number(number) if number.as_u64() == Some(0) => {}
        other => line.push_str(&format!(" {name} {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network<u8> {
        Network::new(Config::default(), Config::default().changed_by("delay=5ms").unwrap(), 1)
    }

    #[test]
    fn lines_are_understood() {
        let change = |which, spec: &str| Ok(Command::Change { which, spec: spec.to_owned() });

        assert_eq!("down rate=1M".parse(), change(Which::Down, "rate=1M"));
        assert_eq!(" up  loss=0% ".parse(), change(Which::Up, "loss=0%"));
        assert_eq!("both blackout".parse(), change(Which::Both, "blackout"));
        assert_eq!("to [::1]:80".parse(), Ok(Command::To("[::1]:80".parse().unwrap())));
        assert_eq!("stats".parse(), Ok(Command::Stats));
    }

    #[test]
    fn garbage_is_named_together_with_what_would_do() {
        let refusal = |line: &str| line.parse::<Command>().unwrap_err().to_string();

        assert!(refusal("faster!").starts_with("\"faster!\" is no command: write down SPEC, up SPEC"));
        assert!(refusal("stats please").contains("stats please"));
        assert_eq!(refusal("to nowhere"), "\"nowhere\" is no address: write for example to 127.0.0.1:8080");
    }

    #[test]
    fn a_change_of_both_is_all_or_nothing() {
        let mut network = network();

        // Up has a delay to stray from, down has none.
        let refused = network.change(MonoTime::ZERO, Which::Both, "jitter=2ms").unwrap_err();

        assert!(refused.to_string().contains("jitter=2ms is more than delay=0ns"));
        assert_eq!(network.up.config().to_string(), "clear,delay=5ms");
        network.change(MonoTime::ZERO, Which::Up, "jitter=2ms").unwrap();
        network.change(MonoTime::ZERO, Which::Both, "loss=1%").unwrap();
        assert_eq!(network.up.config().to_string(), "clear,delay=5ms,jitter=2ms,loss=1%");
        assert_eq!(network.down.config().to_string(), "clear,loss=1%");
    }

    #[test]
    fn answers_are_one_line_of_text_or_of_json() {
        let mut network = network();
        network.up.handle_packet(MonoTime::ZERO, 0, 100);
        let stats = Answer::stats(&network, json!({ "remotes": 3 }));

        let read: Value = serde_json::from_str(&stats.json()).unwrap();
        assert_eq!(read["event"], "stats");
        assert_eq!((&read["up"]["received"], &read["up"]["inside"]), (&json!(1), &json!(1)));
        assert_eq!(read["remotes"], 3);
        assert_eq!(stats.text(), "stats: remotes 3 up.inside 1 up.received 1 up.received_bytes 100");
        assert_eq!(Answer::changed(&network).text(), "changed: down clear up clear,delay=5ms");
    }
}
