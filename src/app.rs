//! The composition root: builds node, listeners and signaling, and takes them down in order.
//!
//! Up: the limit of descriptors and TCP first (so that the node can name the ports for ICE-TCP), then the node, then
//! HTTP is served, then the ready file and the banner. Down: readiness turns false and sessions are told goodbye while
//! HTTP still answers, then HTTP ends. The whole descent fits in [`SHUTDOWN_MAX`].

use std::fs;
use std::io::{self, IsTerminal, Write, stdout};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use node::{Node, StartError};
use serde_json::json;
use signaling::listener::{BindError, Listeners};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::banner;
use crate::config::Config;
use crate::descriptors;
use crate::telemetry;

/// A server that is about to run.
#[derive(Debug)]
pub(crate) struct App {
    config: Config,
    open_by_dev: bool,
}

impl App {
    /// Takes the configuration. `open_by_dev` says that addresses beyond this machine are open because of `--dev`.
    #[must_use]
    pub(crate) const fn new(config: Config, open_by_dev: bool) -> Self {
        Self { config, open_by_dev }
    }

    /// Runs the server until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// When a port is taken, or anything else keeps the server from starting.
    pub(crate) async fn run(self) -> Result<()> {
        // Before anything is announced: whoever reads the ready file may send the signal at once.
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        descriptors::provide(self.config.descriptors());
        let listeners = Listeners::bind(&self.config.http.listen).map_err(explain_http)?;
        let http = listeners.addresses().to_vec();
        // One that a crash left behind would speak of another process.
        self.retract();
        ensure_free(self.config.media.udp)?;
        let node = Node::start(&self.config.node(http.clone())).map_err(explain_media)?;
        let udp = node.udp_addresses().to_vec();
        let router = signaling::router(node.handle(), self.config.signaling());
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listeners.serve(router, node.handle(), self.config.sockets(), stopped));
        self.announce(&http, &udp)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("server was asked to stop");
        let descent = async {
            node.handle().shutdown().await;
            let _ = stop.send(true);
            let _ = serving.await;
        };
        if tokio::time::timeout(SHUTDOWN_MAX, descent).await.is_err() {
            tracing::warn!("server ended with requests still open");
        }
        self.retract();
        tracing::info!("server stopped");
        Ok(())
    }

    fn announce(&self, http: &[SocketAddr], udp: &[SocketAddr]) -> Result<()> {
        let path = &self.config.server.ready_file;
        if !path.as_os_str().is_empty() {
            write_ready_file(path, http, udp).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let colour = telemetry::is_colourful(stdout().is_terminal());
        let text = banner::text(http, udp, self.open_by_dev, colour);
        let mut out = stdout().lock();
        // Nobody may be reading; that is no reason to stop.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        drop(out);
        if self.open_by_dev {
            tracing::warn!("server is open to the local network without any authorization, by --dev");
        }
        if !self.open_by_dev && is_cut_off(self.config.media.udp, udp) {
            tracing::warn!(
                "only loopback was found for media, so only this machine can watch: restart when the network is up (systemd: Wants= and After=network-online.target), or give --udp ADDRESS"
            );
        }
        tracing::info!(http = ?http, udp = ?udp, "server started");
        Ok(())
    }

    fn retract(&self) {
        let path = &self.config.server.ready_file;
        if !path.as_os_str().is_empty()
            && let Err(error) = fs::remove_file(path)
        {
            tracing::debug!(%error, "ready file was not removed");
        }
    }
}

/// Writes the file whole or not at all: who waits for it to appear never reads half of it.
fn write_ready_file(path: &Path, http: &[SocketAddr], udp: &[SocketAddr]) -> io::Result<()> {
    let text = json!({ "http": http, "udp": udp, "pid": std::process::id() }).to_string();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = path.with_file_name(name);
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

/// Says whether the address that was asked for stands for all of the machine, and nothing but loopback was found: most
/// often the network was not up yet, and addresses that come later are not bound.
fn is_cut_off(asked: SocketAddr, bound: &[SocketAddr]) -> bool {
    asked.ip().is_unspecified() && bound.iter().all(|address| address.ip().is_loopback())
}

/// Refuses a UDP address that somebody has. The shards' sockets share one port (`SO_REUSEPORT`), and a second server
/// of the same user would be let into the group: each would lose half of its datagrams and never know.
fn ensure_free(udp: SocketAddr) -> Result<()> {
    match UdpSocket::bind(udp) {
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            Err(explain_media(StartError::Bind { address: udp, source }))
        }
        // The node meets whatever else is wrong, and names it.
        _ => Ok(()),
    }
}

fn explain_http(error: BindError) -> anyhow::Error {
    let what_to_do = advice(&error.source, error.address, "--http");
    anyhow!(error).context(what_to_do)
}

fn explain_media(error: StartError) -> anyhow::Error {
    match error {
        StartError::Bind { address, ref source } => {
            let what_to_do = advice(source, address, "--udp");
            anyhow!(error).context(what_to_do)
        }
        error => anyhow!(error),
    }
}

fn advice(error: &io::Error, address: SocketAddr, flag: &str) -> String {
    let mut other = address;
    other.set_port(if address.port() < 1024 { 8080 } else { address.port().saturating_add(1) });
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program uses {address}: end it, or choose another port with {flag} {other}")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "the system does not give {address} to this user: choose a port from 1024 up with {flag} {other}"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine: choose one that is with {flag}", address.ip())
        }
        _ => format!("{address} cannot be used: choose another address with {flag}"),
    }
}

/// The node takes up to three seconds, HTTP up to one more; exit within five was promised.
const SHUTDOWN_MAX: Duration = Duration::from_millis(4500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_comes_with_advice() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();

        let error = Listeners::bind(&[taken.local_addr().unwrap()]).unwrap_err();

        let text = format!("{:#}", explain_http(error));
        assert!(text.starts_with("another program uses 127.0.0.1:"), "{text}");
        assert!(text.contains("choose another port with --http 127.0.0.1:"), "{text}");
    }

    #[test]
    fn a_media_port_of_another_server_is_refused_though_it_could_be_shared() {
        let shared = transport::udp::UdpGroup::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = shared.address;

        let text = format!("{:#}", ensure_free(address).unwrap_err());

        assert!(transport::udp::UdpGroup::bind(address, 1).is_ok(), "the system would have let us in");
        assert!(text.contains("choose another port with --udp 127.0.0.1:"), "{text}");
    }

    #[test]
    fn a_wildcard_that_found_only_loopback_is_cut_off() {
        let is_cut_off = |asked: &str, bound: &[&str]| {
            let bound: Vec<SocketAddr> = bound.iter().map(|address| address.parse().unwrap()).collect();
            is_cut_off(asked.parse().unwrap(), &bound)
        };

        assert!(is_cut_off("0.0.0.0:8080", &["127.0.0.1:8080"]));
        assert!(is_cut_off("[::]:8080", &["127.0.0.1:8080", "[::1]:8080"]));
        assert!(!is_cut_off("0.0.0.0:8080", &["192.168.1.4:8080", "127.0.0.1:8080"]));
        assert!(!is_cut_off("[::]:8080", &["[2001:db8::4]:8080", "127.0.0.1:8080", "[::1]:8080"]));
        assert!(!is_cut_off("127.0.0.1:8080", &["127.0.0.1:8080"]), "loopback was asked for");
        assert!(!is_cut_off("[::1]:8080", &["[::1]:8080"]), "loopback was asked for");
    }

    #[test]
    fn the_ready_file_is_json_with_the_bound_addresses() {
        let path = std::env::temp_dir().join(format!("nearcast-ready-{}", std::process::id()));

        write_ready_file(&path, &["127.0.0.1:1".parse().unwrap()], &["[::1]:2".parse().unwrap()]).unwrap();

        let read: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read, json!({ "http": ["127.0.0.1:1"], "udp": ["[::1]:2"], "pid": std::process::id() }));
    }
}
