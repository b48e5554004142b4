//! The one configuration: what there is to choose, the defaults, and which values make sense.
//!
//! [`Config`] is plain data. Where its values come from (default, TOML, environment, flags) is the business of
//! [`crate::sources`]; this file alone says what they mean. Every key has a default, so an empty file is a good one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use node::{AdvertisedAddress, NodeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use signaling::listener::SocketLimits;
use signaling::{Origins, Rate, SignalingConfig};
use tracing_subscriber::EnvFilter;

use crate::units::Span;

/// Everything an operator may choose.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Pages, API, WHIP, WHEP and ICE-TCP.
    pub http: Http,
    /// WebRTC media and the rooms.
    pub media: Media,
    /// The process.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
}

/// Section `[http]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// TCP addresses to listen on. Loopback by default: without tokens a public server lets anybody publish.
    pub listen: Vec<SocketAddr>,
    /// Whose scripts may use this server: `*`, or origins such as `https://live.example.com`. No request uses
    /// cookies, so `*` gives a foreign page nothing that its visitor could not ask for alone.
    pub allowed_origins: Vec<String>,
    /// How many POST, PUT, PATCH and DELETE a second one address may send in the long run.
    pub requests_per_second: f64,
    /// How many of them it may send at once; a page that reloads sends about five.
    pub requests_burst: u32,
    /// How many TCP sockets may be open; each costs a file descriptor and a few kilobytes.
    pub sockets_max: usize,
    /// How many of them may come from one address; many viewers may share one behind a proxy.
    pub sockets_per_address_max: usize,
    /// Whether requests that come straight from this machine may list rooms and sessions.
    pub admin_from_loopback: bool,
}

impl Default for Http {
    fn default() -> Self {
        let (rate, sockets) = (Rate::default(), SocketLimits::default());
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], PORT))],
            allowed_origins: vec!["*".to_owned()],
            requests_per_second: rate.per_second,
            requests_burst: 200,
            sockets_max: sockets.total,
            sockets_per_address_max: sockets.per_address,
            admin_from_loopback: true,
        }
    }
}

/// Section `[media]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Media {
    /// UDP address for media; `0.0.0.0` or `[::]` stands for every usable local address.
    pub udp: SocketAddr,
    /// When not empty, only these addresses go into answers: `IP` or `IP:PORT` as clients reach them.
    pub advertise: Vec<Advertise>,
    /// How many shards to run; 0 means one a core.
    pub shards: usize,
    /// Whether runs of packets to one viewer leave in one call (UDP segmentation offload).
    pub gso: Gso,
    /// How many sessions may exist at once; a viewer takes up to 128 kB. Viewers leave an eighth of the places, 64 at
    /// most, to publishers, so that a show can begin on a full node.
    pub sessions_max: usize,
    /// How many viewers may watch at once, in all rooms; the next is refused and told so.
    pub max_viewers: usize,
    /// New viewers are refused once a shard works more than this part of a second, in percent, until all work less than 15
    /// below it.
    pub max_busy_percent: u16,
    /// How long a room and its viewers stay without a publisher.
    pub room_linger: Span,
}

impl Default for Media {
    fn default() -> Self {
        let node = NodeConfig::default();
        Self {
            udp: SocketAddr::from(([127, 0, 0, 1], PORT)),
            advertise: Vec::new(),
            shards: 0,
            gso: Gso::Auto,
            sessions_max: node.sessions_max,
            max_viewers: node.max_viewers,
            max_busy_percent: node.max_busy_percent,
            room_linger: Span(node.room_linger),
        }
    }
}

/// Section `[server]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// Where durable things live; empty means nowhere. This version keeps nothing.
    pub data_dir: PathBuf,
    /// A JSON file written once the server takes requests, with the addresses really bound; empty means none.
    pub ready_file: PathBuf,
}

/// Section `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Text for people or JSON for machines; `auto` chooses by whether stderr is a terminal.
    pub format: LogFormat,
    /// What is logged: a level, or directives such as `info,signaling=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// Whether to use segmentation offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gso {
    /// Where the kernel can.
    Auto,
    /// Never.
    Off,
}

/// An address as clients reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advertise {
    ip: IpAddr,
    port: Option<u16>,
}

/// Why a text is no address to advertise.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "expected an IP address clients can reach, with or without a port, such as 203.0.113.7 or [2001:db8::7]:8080"
)]
pub(crate) struct AdvertiseError;

impl FromStr for Advertise {
    type Err = AdvertiseError;

    fn from_str(text: &str) -> Result<Self, AdvertiseError> {
        let socket =
            text.parse::<SocketAddr>().map(|address| Self { ip: address.ip(), port: Some(address.port()) });
        let alone = || text.parse::<IpAddr>().map(|ip| Self { ip, port: None });
        let address = socket.or_else(|_| alone()).map_err(|_| AdvertiseError)?;
        let reachable = !address.ip.is_unspecified() && !address.ip.is_multicast() && address.port != Some(0);
        reachable.then_some(address).ok_or(AdvertiseError)
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(formatter, "{}", SocketAddr::new(self.ip, port)),
            None => write!(formatter, "{}", self.ip),
        }
    }
}

impl Serialize for Advertise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Advertise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A value that has the right type and no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The key, such as `http.listen`.
    pub key: &'static str,
    /// What is wrong with the value, and a good one.
    pub message: String,
}

impl Config {
    /// Checks what types cannot: ranges and combinations.
    #[must_use]
    pub(crate) fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut expect = |holds: bool, key: &'static str, message: String| {
            if !holds {
                findings.push(Finding { key, message });
            }
        };
        let Self { http, media, server, log } = self;
        expect(
            !http.listen.is_empty(),
            "http.listen",
            "is empty; a good value is [\"127.0.0.1:8080\"]".into(),
        );
        for origin in &http.allowed_origins {
            let message = format!("has {origin:?}; good values are \"*\" and \"https://live.example.com\"");
            expect(is_origin(origin), "http.allowed_origins", message);
        }
        let rate = http.requests_per_second;
        let message = format!("is {rate}; a good value is 50, at least 0.1");
        expect(rate.is_finite() && rate >= 0.1, "http.requests_per_second", message);
        expect(http.requests_burst >= 1, "http.requests_burst", "is 0; a good value is 200".into());
        expect(http.sockets_max >= 1, "http.sockets_max", "is 0; a good value is 10000".into());
        let message = "is 0; a good value is 1000".to_owned();
        expect(http.sockets_per_address_max >= 1, "http.sockets_per_address_max", message);
        let message = format!("is {}; at most {SHARDS_MAX} are possible, 0 means one a core", media.shards);
        expect(media.shards <= SHARDS_MAX, "media.shards", message);
        expect(media.sessions_max >= 1, "media.sessions_max", "is 0; a good value is 20000".into());
        expect(media.max_viewers >= 1, "media.max_viewers", "is 0; a good value is 20000".into());
        let percent = media.max_busy_percent;
        let message = format!("is {percent}; a good value is 85, at least 50 and at most 100");
        expect((50..=100).contains(&percent), "media.max_busy_percent", message);
        let message = format!("is {}; a good value is \"30s\", at most \"1h\"", media.room_linger);
        expect(media.room_linger.0 <= ROOM_LINGER_MAX, "media.room_linger", message);
        let message = format!("is {}, which is a file; a good value is a folder", server.data_dir.display());
        expect(!server.data_dir.is_file(), "server.data_dir", message);
        let message = format!("is {:?}; good values are \"info\" and \"info,signaling=debug\"", log.filter);
        expect(EnvFilter::try_new(&log.filter).is_ok(), "log.filter", message);
        findings
    }

    /// Returns what the node needs, given where HTTP really listens.
    #[must_use]
    pub(crate) fn node(&self, tcp: Vec<SocketAddr>) -> NodeConfig {
        NodeConfig {
            udp: self.media.udp,
            tcp,
            advertise: self
                .media
                .advertise
                .iter()
                .map(|one| AdvertisedAddress { ip: one.ip, port: one.port })
                .collect(),
            shards: self.shards(),
            gso: match self.media.gso {
                Gso::Auto => node::GsoMode::Auto,
                Gso::Off => node::GsoMode::Off,
            },
            sessions_max: self.media.sessions_max,
            max_viewers: self.media.max_viewers,
            max_busy_percent: self.media.max_busy_percent,
            room_linger: self.media.room_linger.0,
        }
    }

    /// Returns what signaling needs.
    #[must_use]
    pub(crate) fn signaling(&self) -> SignalingConfig {
        SignalingConfig {
            origins: Origins::new(&self.http.allowed_origins),
            rate: Rate {
                per_second: self.http.requests_per_second,
                burst: f64::from(self.http.requests_burst),
            },
            admin_from_loopback: self.http.admin_from_loopback,
        }
    }

    /// Returns how many sockets may be open.
    #[must_use]
    pub(crate) const fn sockets(&self) -> SocketLimits {
        SocketLimits { total: self.http.sockets_max, per_address: self.http.sockets_per_address_max }
    }

    /// Returns how many descriptors the process may come to need.
    #[must_use]
    pub(crate) fn descriptors(&self) -> u64 {
        // They have left HTTP's count when a shard has them.
        let ice_tcp = self.shards().saturating_mul(node::ICE_TCP_SOCKETS_MAX);
        let all = self.http.sockets_max.saturating_add(ice_tcp).saturating_add(DESCRIPTORS_SPARE);
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    fn shards(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.media.shards == 0 { cores().min(SHARDS_MAX) } else { self.media.shards }
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '*']))
}

/// The port of everything: TCP and UDP.
pub(crate) const PORT: u16 = 8080;
/// A set of shards is a 64-bit mask.
const SHARDS_MAX: usize = 64;
/// For the media sockets (one a shard and address), event queues, files and pipes.
const DESCRIPTORS_SPARE: usize = 1_000;
/// Viewers of a room that is empty for longer are better served by a new session.
const ROOM_LINGER_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense_and_stay_on_this_machine() {
        let config = Config::default();

        assert_eq!(config.check(), []);
        assert!(config.http.listen.iter().all(|address| address.ip().is_loopback()));
        assert!(config.media.udp.ip().is_loopback());
    }

    #[test]
    fn the_defaults_survive_being_written_and_read() {
        let text = toml::to_string(&Config::default()).unwrap();

        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn values_without_sense_are_found_by_key() {
        let mut config = Config::default();
        config.http.listen.clear();
        config.http.allowed_origins = vec!["live.example.com".to_owned()];
        config.http.requests_per_second = f64::NAN;
        config.media.shards = 65;
        config.log.filter = "signaling=loud".to_owned();

        let keys: Vec<&str> = config.check().into_iter().map(|finding| finding.key).collect();

        let wanted =
            ["http.listen", "http.allowed_origins", "http.requests_per_second", "media.shards", "log.filter"];
        assert_eq!(keys, wanted);
    }

    #[test]
    fn advertised_addresses_have_an_optional_port_and_are_reachable() {
        for good in ["203.0.113.7", "203.0.113.7:9000", "2001:db8::7", "[2001:db8::7]:9000"] {
            assert_eq!(good.parse::<Advertise>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "0.0.0.0",
            "[::]:8080",
            "224.0.0.1",
            "203.0.113.7:0",
            "live.example.com",
            "203.0.113.7:99999",
        ] {
            assert_eq!(bad.parse::<Advertise>(), Err(AdvertiseError), "{bad}");
        }
    }

    #[test]
    fn no_shards_means_one_a_core() {
        let config = Config::default();

        assert!(config.node(Vec::new()).shards >= 1);
    }

    #[test]
    fn there_is_a_descriptor_for_every_socket_that_http_and_the_shards_may_take() {
        let mut config = Config::default();
        config.http.sockets_max = 500;
        config.media.shards = 2;

        assert_eq!(config.descriptors(), 500 + 2 * 4_096 + 1_000);
    }
}
