//! Two network interfaces with a bad network between: whatever program runs in the network namespace behind it, with
//! whatever protocol, meets it.
//!
//! `--tun slow` makes the interface `slow0` here and `slow1` in the namespace `slow`, which is made if it is not
//! there. *Down* is from here into the namespace: the server runs here, the viewer in there. A namespace is needed
//! because Linux delivers packets between two addresses of its own without showing them to any interface.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context, bail};
use rtp::MonoTime;
use serde_json::{Value, json};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::control::Network;
use super::driver::Carrier;
use super::waiter::Waiter;
use crate::clock;

/// What to make.
#[derive(Debug)]
pub(super) struct Plan {
    /// The namespace's name, and that of the interfaces without their number.
    pub(super) name: String,
    /// A network of four addresses: the second is here, the third in the namespace.
    pub(super) net: Ipv4Addr,
}

/// The interfaces.
pub(super) struct Tun {
    here: SyncDevice,
    there: SyncDevice,
    addresses: [Ipv4Addr; 2],
    /// Dropped last: it takes the namespace with it.
    namespace: Namespace,
    buffer: Vec<u8>,
    unsent: u64,
}

const HERE: u64 = 0;
const THERE: u64 = 1;
/// An interface's name has 15 letters, of which one is our number.
const NAME_MAX: usize = 14;
/// Packets read from one interface before the other and the clock get their turn.
const READS_MAX: usize = 64;

impl Tun {
    /// Makes the interfaces and the namespace. What is made is gone when this is dropped or the process ends; of a
    /// killed process the namespace stays, and is used again.
    pub(super) fn make(plan: &Plan, waiter: &Waiter) -> anyhow::Result<Self> {
        plan.check()?;
        let [here, there] = [0, 1].map(|number| format!("{}{number}", plan.name));
        let remedy = || format!("cannot make the interfaces {here} and {there}: {REMEDY}");
        let devices = (interface(&here).with_context(remedy)?, interface(&there).with_context(remedy)?);
        let namespace = Namespace::enter(&plan.name)?;
        let addresses = plan.addresses();
        let [address_here, address_there] = addresses.map(|address| address.to_string());
        for command in [
            format!("link set {there} netns {}", plan.name),
            format!("link set {here} addrgenmode none"),
            format!("addr add {address_here}/30 dev {here}"),
            format!("link set {here} up"),
            format!("-n {} link set lo up", plan.name),
            format!("-n {} link set {there} addrgenmode none", plan.name),
            format!("-n {} addr add {address_there}/30 dev {there}", plan.name),
            format!("-n {} link set {there} up", plan.name),
            format!("-n {} route add default via {address_here}", plan.name),
        ] {
            ip(&command)?;
        }
        let (here, there) = devices;
        waiter.watch(&here, HERE)?;
        waiter.watch(&there, THERE)?;
        Ok(Self { here, there, addresses, namespace, buffer: vec![0; 65_536], unsent: 0 })
    }
}

impl fmt::Debug for Tun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tun").field("namespace", &self.namespace.name).finish_non_exhaustive()
    }
}

impl Carrier for Tun {
    type Packet = Box<[u8]>;

    fn read(&mut self, token: u64, _: &Waiter, network: &mut Network<Box<[u8]>>) {
        let device = if token == HERE { &self.here } else { &self.there };
        for _ in 0..READS_MAX {
            let Ok(bytes) = device.recv(&mut self.buffer) else { return };
            let packet = self.buffer.get(..bytes).unwrap_or_default().into();
            let direction = if token == HERE { &mut network.down } else { &mut network.up };
            direction.handle_packet(clock::now(), packet, bytes);
        }
    }

    fn send_down(&mut self, packet: &Box<[u8]>) {
        if self.there.send(packet).is_err() {
            self.unsent = self.unsent.saturating_add(1);
        }
    }

    fn send_up(&mut self, packet: &Box<[u8]>) {
        if self.here.send(packet).is_err() {
            self.unsent = self.unsent.saturating_add(1);
        }
    }

    fn turn_to(&mut self, _: SocketAddr) -> Result<Value, String> {
        Err("interfaces have no server to turn to: give the program behind them another address".to_owned())
    }

    fn tidy(&mut self, _: MonoTime) -> Option<MonoTime> {
        None
    }

    fn place(&self) -> Value {
        let [here, there] = self.addresses.map(|address| address.to_string());
        json!({ "here": here, "there": there, "namespace": self.namespace.name })
    }

    fn facts(&self) -> Value {
        json!({ "unsent": self.unsent })
    }
}

impl Plan {
    fn check(&self) -> anyhow::Result<()> {
        let Self { name, net } = self;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.is_empty() || name.len() > NAME_MAX || name.starts_with('-') || !is_plain {
            bail!(
                "--tun {name:?} is no name of up to {NAME_MAX} letters, digits and hyphens: write for example slow"
            );
        }
        if !u32::from(*net).is_multiple_of(4) {
            bail!("--tun-net {net} is not the first of four addresses: write for example 10.77.0.0");
        }
        Ok(())
    }

    fn addresses(&self) -> [Ipv4Addr; 2] {
        let first = u32::from(self.net);
        [first | 1, first | 2].map(Ipv4Addr::from)
    }
}

/// A network namespace that goes when this is dropped, if it was made by us.
#[derive(Debug)]
struct Namespace {
    name: String,
    made: bool,
}

impl Namespace {
    fn enter(name: &str) -> anyhow::Result<Self> {
        let listed = ip("netns list")?;
        let known = listed.lines().any(|line| line.split_whitespace().next() == Some(name));
        if !known {
            ip(&format!("netns add {name}"))?;
        }
        Ok(Self { name: name.to_owned(), made: !known })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.made {
            // Nothing is left to do about a failure, and the next run uses what stayed.
            let _: anyhow::Result<String> = ip(&format!("netns delete {}", self.name));
        }
    }
}

fn interface(name: &str) -> io::Result<SyncDevice> {
    let device = DeviceBuilder::new().name(name).enable(false).build_sync()?;
    device.set_nonblocking(true)?;
    Ok(device)
}

/// Runs `ip` of iproute2 and returns what it printed.
fn ip(arguments: &str) -> anyhow::Result<String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .context("cannot run `ip`: apt-get install iproute2")?;
    if !output.status.success() {
        bail!("`ip {arguments}` failed: {}; {REMEDY}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const REMEDY: &str = "run as root, with /dev/net/tun there (in a container: --device /dev/net/tun --cap-add NET_ADMIN \
    --cap-add SYS_ADMIN), and no other interfaces of that name";
