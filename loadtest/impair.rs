//! The network emulator: delay, jitter, loss, a narrow link with a queue, reordering, copies and blackouts.
//!
//! [`model`] is one direction as a state machine that knows neither sockets nor clocks: simulations drive it in virtual
//! time. `relay` puts two of them between UDP sockets, `tun` between two network interfaces; both run in the loop of
//! `driver`, which also reads the lines on stdin by which everything can be changed at any time ([`control`]).

mod bottleneck;
pub mod config;
pub mod control;
mod dice;
mod driver;
pub mod model;
mod relay;
pub mod spec;
mod tun;
mod waiter;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;

use config::Config;
use control::Network;
use driver::{Carrier, Driver};
use relay::Relay;
use tun::{Plan, Tun};
use waiter::Waiter;

/// The flags of `impair`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Arguments {
    /// UDP address at which the server seems to be; port 0 takes a free one, which the ready line tells
    #[arg(long, value_name = "ADDR", required_unless_present = "tun")]
    listen: Option<SocketAddr>,
    /// UDP address of the server; may be left out and told later by a line `to ADDR`
    #[arg(long, value_name = "ADDR", requires = "listen")]
    to: Option<SocketAddr>,
    /// Makes two interfaces NAME0 and NAME1 instead, the second in the network namespace NAME; needs root
    #[arg(long, value_name = "NAME", conflicts_with = "listen")]
    tun: Option<String>,
    /// First of the four addresses of the interfaces: NAME0 gets the second, NAME1 the third
    #[arg(long, value_name = "IP", default_value = "10.77.0.0", requires = "tun")]
    tun_net: Ipv4Addr,
    /// What happens on the way from the server
    #[arg(long, value_name = "SPEC", default_value = "clear", value_parser = read_spec)]
    down: Config,
    /// What happens on the way to the server
    #[arg(long, value_name = "SPEC", default_value = "clear", value_parser = read_spec)]
    up: Config,
    /// Decides all chance: the same seed does the same to the same packets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Answers as one JSON object a line
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
A SPEC is a list with commas of what is to happen:
  delay=50ms         propagation delay, up to 30s
  jitter=10ms        the delay strays to either side by up to this; the order is kept
  loss=5%            each packet by chance; with burst=3 in runs of 3 on average
  p=1%,r=30%         Gilbert-Elliott: into and out of the bad state, where bad=100% is lost (good=0% else)
  rate=1.5M          bottleneck, in bit/s with IP and UDP headers; none takes it away
  queue=1s           what waits before the bottleneck, as time or as size (64KiB); default 200ms
  reorder=1%         held back by hold=20ms, so that others overtake
  duplicate=0.1%     arrives twice
  blackout           nothing comes through until blackout=off
  clear              takes back all that was said before

Lines on stdin change it while it runs; each gets one line as an answer:
  down rate=1M       changes what it names on the way from the server
  up loss=0%         the same on the way to the server
  both blackout      both ways
  both clear
  to 127.0.0.1:8080  sends to another server
  stats              counters of each way and cause

Ends by SIGINT or SIGTERM with the counters; not by the end of stdin.";

/// Runs the emulator until it is told to end.
///
/// # Errors
/// When an address cannot be bound or the interfaces cannot be made.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let waiter = Waiter::new().context("cannot set up timer, signals and stdin")?;
    if let Some(name) = &arguments.tun {
        let plan = Plan { name: name.clone(), net: arguments.tun_net };
        return carry(arguments, Tun::make(&plan, &waiter)?, waiter);
    }
    let listen = arguments.listen.context("--listen ADDR or --tun NAME is needed")?;
    let relay = Relay::bind(listen, arguments.to, &waiter)
        .with_context(|| format!("cannot listen on UDP {listen}: write for example --listen 127.0.0.1:0"))?;
    carry(arguments, relay, waiter)
}

fn carry<C: Carrier>(arguments: &Arguments, carrier: C, waiter: Waiter) -> anyhow::Result<()> {
    let network = Network::new(arguments.down, arguments.up, arguments.seed);
    Driver { carrier, network, waiter, json: arguments.json }.run().context("the emulator's loop failed")
}

fn read_spec(text: &str) -> Result<Config, spec::Error> {
    Config::default().changed_by(text)
}
