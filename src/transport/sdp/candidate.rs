//! ICE candidates: ours as text, theirs as addresses (RFC 8839 §5.1, RFC 6544 §4.5).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A host candidate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is reached.
    pub address: SocketAddr,
    /// By which transport.
    pub protocol: Protocol,
    /// Equal for candidates that likely succeed or fail together (RFC 8445 §5.1.1.3).
    pub foundation: u16,
    /// RFC 8445 §5.1.2.1.
    pub priority: u32,
}

/// A candidate's transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP with RFC 4571 frames; we only listen.
    TcpPassive,
}

impl Candidate {
    fn new(address: SocketAddr, protocol: Protocol, place: usize, foundation: usize) -> Self {
        let preference = u16::try_from(place).unwrap_or(u16::MAX);
        let foundation = u16::try_from(foundation.saturating_add(1)).unwrap_or(u16::MAX);
        Self { address, protocol, foundation, priority: priority(protocol, preference) }
    }
}

impl fmt::Display for Candidate {
    /// Writes the value of `a=candidate`, without the attribute's name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, suffix) = match self.protocol {
            Protocol::Udp => ("udp", ""),
            Protocol::TcpPassive => ("tcp", " tcptype passive"),
        };
        let (ip, port) = (self.address.ip(), self.address.port());
        let (foundation, priority) = (self.foundation, self.priority);
        write!(formatter, "{foundation} {COMPONENT} {transport} {priority} {ip} {port} typ host{suffix}")
    }
}

/// Makes the host candidates of an answer: UDP before TCP, and each in the given order, best first.
///
/// Put the address by which the offering side reached us first: some encoders use no other (ffmpeg).
#[must_use]
pub fn host_candidates(udp: &[SocketAddr], tcp: &[SocketAddr]) -> Vec<Candidate> {
    let mut foundations: Vec<(Protocol, IpAddr)> = Vec::new();
    let mut make = |protocol, place, address: SocketAddr| {
        let key = (protocol, address.ip());
        let known = foundations.iter().position(|&foundation| foundation == key);
        let foundation = known.unwrap_or_else(|| {
            foundations.push(key);
            foundations.len().saturating_sub(1)
        });
        Candidate::new(address, protocol, place, foundation)
    };
    let mut candidates: Vec<Candidate> =
        udp.iter().enumerate().map(|(place, &address)| make(Protocol::Udp, place, address)).collect();
    candidates
        .extend(tcp.iter().enumerate().map(|(place, &address)| make(Protocol::TcpPassive, place, address)));
    candidates
}

/// Computes the priority of a host candidate; `place` counts from the most preferred, which is zero.
fn priority(protocol: Protocol, place: u16) -> u32 {
    let (kind, local) = match protocol {
        Protocol::Udp => (HOST_UDP_PREFERENCE, u16::MAX.saturating_sub(place)),
        // RFC 6544 §4.2: three bits of direction, passive is 4 for a host, then 13 bits of our own.
        Protocol::TcpPassive => (HOST_TCP_PREFERENCE, (4 << 13) | 0x1fff_u16.saturating_sub(place)),
    };
    (kind << 24) | (u32::from(local) << 8) | (256 - COMPONENT)
}

/// A candidate of the other side that an ICE agent could use without resolving anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteCandidate {
    /// Where it says it is.
    pub address: SocketAddr,
    /// By which transport; TCP candidates of every direction count.
    pub protocol: Protocol,
}

impl RemoteCandidate {
    /// Reads the value of `a=candidate`.
    ///
    /// `None` for anything that cannot be used: a name (mDNS included, never resolved), an unknown transport,
    /// another component, or malformed text. Such candidates are dropped silently (RFC 8838 §11).
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (_foundation, component, transport) = (words.next()?, words.next()?, words.next()?);
        let (_priority, ip, port) = (words.next()?.parse::<u32>().ok()?, words.next()?, words.next()?);
        if words.next()? != "typ" || component != "1" {
            return None;
        }
        let protocol = match transport {
            _ if transport.eq_ignore_ascii_case("udp") => Protocol::Udp,
            _ if transport.eq_ignore_ascii_case("tcp") => Protocol::TcpPassive,
            _ => return None,
        };
        Some(Self { address: SocketAddr::new(ip.parse().ok()?, port.parse().ok()?), protocol })
    }
}

const COMPONENT: u32 = 1;
/// RFC 8445 §5.1.2.2.
const HOST_UDP_PREFERENCE: u32 = 126;
/// Below every UDP candidate, as RFC 6544 §4.2 asks; the value that browsers use.
const HOST_TCP_PREFERENCE: u32 = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_keep_their_order_and_udp_beats_tcp() {
        let addresses = ["192.0.2.7:8080".parse().unwrap(), "[2001:db8::7]:8080".parse().unwrap()];

        let candidates = host_candidates(&addresses, &addresses);

        assert!(candidates.windows(2).all(|pair| pair[0].priority > pair[1].priority));
        assert_eq!(candidates[0].to_string(), "1 1 udp 2130706431 192.0.2.7 8080 typ host");
        // (90 << 24) + (((4 << 13) + 8190) << 8) + 255
        let tcp = "4 1 tcp 1520434943 2001:db8::7 8080 typ host tcptype passive";
        assert_eq!(candidates[3].to_string(), tcp);
    }

    #[test]
    fn the_first_udp_candidate_has_the_priority_that_the_rfc_computes() {
        let candidates = host_candidates(&["192.0.2.7:1".parse().unwrap()], &[]);

        // (126 << 24) + (65535 << 8) + 255
        assert_eq!(candidates[0].priority, 2_130_706_431);
    }

    #[test]
    fn candidates_of_one_address_and_transport_share_a_foundation() {
        let udp =
            ["192.0.2.7:1".parse().unwrap(), "192.0.2.7:2".parse().unwrap(), "192.0.2.8:1".parse().unwrap()];

        let candidates = host_candidates(&udp, &udp[..1]);

        assert_eq!(candidates[0].foundation, candidates[1].foundation);
        assert_ne!(candidates[0].foundation, candidates[2].foundation);
        assert_ne!(candidates[0].foundation, candidates[3].foundation);
    }

    #[test]
    fn a_remote_address_is_read_and_a_name_is_not() {
        let udp = RemoteCandidate::parse("1467250027 1 udp 2122260223 192.0.2.9 46243 typ host generation 0")
            .unwrap();
        let tcp = RemoteCandidate::parse("1 1 TCP 1518214911 192.0.2.9 9 typ host tcptype active").unwrap();

        assert_eq!(udp.address, "192.0.2.9:46243".parse().unwrap());
        assert_eq!(tcp.protocol, Protocol::TcpPassive);
        for refused in [
            "1 1 udp 2122260223 8f2b1c9e-1111-4c2d-9e9f-000000000000.local 46243 typ host",
            "1 1 udp 2122260223 example.com 46243 typ host",
            "1 2 udp 2122260223 192.0.2.9 46243 typ host",
            "1 1 sctp 2122260223 192.0.2.9 46243 typ host",
            "1 1 udp 2122260223 192.0.2.9 99999 typ host",
            "1 1 udp -1 192.0.2.9 9 typ host",
            "1 1 udp 2122260223 192.0.2.9 9",
            "",
        ] {
            assert_eq!(RemoteCandidate::parse(refused), None, "{refused}");
        }
    }
}
