//! The command line: what can be asked of the binary, and what its flags set.
//!
//! Every flag is optional: an absent one leaves the value of the weaker sources alone.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use toml::Value;

use crate::config::{Advertise, Gso, PORT};
use crate::sources::Setting;

/// A WebRTC SFU for live shows: WHIP in, WHEP out, pages included.
#[derive(Debug, Parser)]
#[command(name = "nearcast", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Check the configuration: exit 0 if it is good, 2 with every fault if not
    CheckConfig(ConfigArgs),
    /// Print the configuration as TOML
    PrintConfig(PrintArgs),
}

/// Where the configuration comes from besides flags.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// TOML file; every key has a default, see `print-config --default`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What `print-config` prints.
#[derive(Debug, Args)]
pub(crate) struct PrintArgs {
    /// Where from.
    #[command(flatten)]
    pub source: ConfigArgs,
    /// Print what is in effect, from file and environment (this is what happens without a flag)
    #[arg(long)]
    pub effective: bool,
    /// Print the defaults
    #[arg(long, conflicts_with_all = ["effective", "config"])]
    pub default: bool,
}

/// The flags of `serve`.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Where from.
    #[command(flatten)]
    pub source: ConfigArgs,
    /// TCP address for pages, API, WHIP, WHEP and ICE-TCP; may be given more than once [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub http: Vec<SocketAddr>,
    /// UDP address for media; `0.0.0.0` or `[::]` means every usable local address [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub udp: Option<SocketAddr>,
    /// Put only this address into answers, as clients reach it; may be given more than once
    #[arg(long, value_name = "IP[:PORT]", value_delimiter = ',')]
    pub advertise: Vec<Advertise>,
    /// How many shards to run; 0 means one a core
    #[arg(long, value_name = "N")]
    pub shards: Option<u32>,
    /// UDP segmentation offload
    #[arg(long, value_name = "auto|off")]
    pub gso: Option<Gso>,
    /// Where durable things live (this version keeps nothing)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Write JSON with the addresses really bound to PATH once the server takes requests
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Listen on loopback and LAN addresses, for trying things out; --http and --udp win over it
    #[arg(long)]
    pub dev: bool,
}

impl ServeArgs {
    /// Returns what the flags set. `--dev` stands before the explicit flags, which so win over it.
    #[must_use]
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        if self.dev {
            let six = has_ipv6();
            settings.push(setting("http.listen", "--dev", list(&lan_addresses(six))));
            let any = if six { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
            settings.push(setting("media.udp", "--dev", text(SocketAddr::new(any, PORT))));
        }
        if !self.http.is_empty() {
            settings.push(setting("http.listen", "--http", list(&self.http)));
        }
        if !self.advertise.is_empty() {
            settings.push(setting("media.advertise", "--advertise", list(&self.advertise)));
        }
        let gso = self.gso.map(|gso| if gso == Gso::Auto { "auto" } else { "off" });
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| text(path.display()));
        let single = [
            ("media.udp", "--udp", self.udp.map(text)),
            ("media.shards", "--shards", self.shards.map(|shards| Value::Integer(shards.into()))),
            ("media.gso", "--gso", gso.map(text)),
            ("server.data_dir", "--data-dir", path(&self.data_dir)),
            ("server.ready_file", "--ready-file", path(&self.ready_file)),
        ];
        settings.extend(single.into_iter().filter_map(|(key, flag, value)| Some(setting(key, flag, value?))));
        settings
    }

    /// Says whether HTTP listens beyond this machine because of `--dev`.
    #[must_use]
    pub(crate) const fn is_open_by_dev(&self) -> bool {
        self.dev && self.http.is_empty()
    }
}

fn setting(key: &str, flag: &str, value: Value) -> Setting {
    Setting { key: key.to_owned(), value, place: flag.to_owned() }
}

fn text(value: impl Display) -> Value {
    Value::String(value.to_string())
}

fn list(values: &[impl Display]) -> Value {
    Value::Array(values.iter().map(text).collect())
}

/// Returns loopback and the private addresses of this machine. A public one is left out: a development server that the
/// whole internet can publish into is nobody's wish.
fn lan_addresses(six: bool) -> Vec<SocketAddr> {
    let mut addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    if six {
        addresses.push(Ipv6Addr::LOCALHOST.into());
    }
    // Without a list of them there is still loopback, and the banner shows what is open.
    let local = transport::addresses::usable_local_addresses().unwrap_or_default();
    addresses.extend(local.into_iter().filter(|address| is_private(*address)));
    addresses.into_iter().map(|address| SocketAddr::new(address, PORT)).collect()
}

/// RFC 1918 and RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

const EXAMPLES: &str = "\
Examples:
  nearcast serve                                       this machine only, port 8080
  nearcast serve --dev                                 this machine and its LAN
  nearcast serve --http 0.0.0.0:80 --udp 0.0.0.0:8080 --advertise 203.0.113.7
  nearcast print-config --default > nearcast.toml
  NEARCAST_LOG__FILTER=debug nearcast serve --config nearcast.toml

Exit codes: 0 ended as asked, 1 could not start or failed, 2 wrong command line or configuration.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::Config;
    use crate::sources;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_flag_changes_nothing() {
        assert!(serve(&[]).settings().is_empty());
    }

    #[test]
    fn every_flag_reaches_its_key() {
        let config = config_of(&serve(&[
            "--http",
            "127.0.0.1:0",
            "--http",
            "[::1]:0",
            "--udp",
            "127.0.0.1:0",
            "--advertise",
            "203.0.113.7",
            "--advertise",
            "203.0.113.8:9",
            "--shards",
            "3",
            "--gso",
            "off",
            "--data-dir",
            "d",
            "--ready-file",
            "r",
        ]));

        assert_eq!(config.http.listen.len(), 2);
        assert_eq!(config.media.udp.port(), 0);
        assert_eq!(
            config.media.advertise.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["203.0.113.7", "203.0.113.8:9"]
        );
        assert_eq!((config.media.shards, config.media.gso), (3, Gso::Off));
        assert_eq!(config.server.data_dir.to_str(), Some("d"));
        assert_eq!(config.server.ready_file.to_str(), Some("r"));
    }

    #[test]
    fn dev_listens_on_private_addresses_only() {
        let args = serve(&["--dev"]);
        let config = config_of(&args);

        assert!(args.is_open_by_dev());
        assert!(config.media.udp.ip().is_unspecified());
        for address in config.http.listen {
            assert!(address.ip().is_loopback() || is_private(address.ip()), "{address}");
        }
    }

    #[test]
    fn an_explicit_address_wins_over_dev() {
        let args = serve(&["--dev", "--http", "127.0.0.1:9000", "--udp", "127.0.0.1:9001"]);
        let config = config_of(&args);

        assert_eq!(config.http.listen, ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!(config.media.udp, "127.0.0.1:9001".parse().unwrap());
        assert!(!args.is_open_by_dev());
    }

    #[test]
    fn a_public_address_is_not_private() {
        assert!(!is_private([203, 0, 113, 7].into()));
        assert!(is_private([192, 168, 1, 4].into()));
        assert!(is_private("fd00::1".parse().unwrap()));
    }

    fn serve(flags: &[&str]) -> ServeArgs {
        let line = ["nearcast", "serve"].iter().chain(flags);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Serve(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn config_of(args: &ServeArgs) -> Config {
        sources::load(None, std::iter::empty(), args.settings()).unwrap()
    }
}
