//! Which addresses an answer names.
//!
//! First the address by which this request reached us, for that one is known to work (ffmpeg looks at no other), then
//! every local address that media is bound to. Loopback is named only to those who came by loopback, or where nothing
//! else is bound. With `advertise` in the configuration only those addresses are named.

use std::net::{IpAddr, SocketAddr};

use transport::sdp::{Candidate, host_candidates};

use crate::node::{AdvertisedAddress, NodeConfig};

/// The addresses of a node, by which its answers are made.
#[derive(Clone, Debug)]
pub(crate) struct Advertised {
    explicit: Vec<AdvertisedAddress>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
}

impl Advertised {
    pub(crate) fn new(config: &NodeConfig, udp: &[SocketAddr]) -> Self {
        Self { explicit: config.advertise.clone(), udp: udp.to_vec(), tcp: config.tcp.clone() }
    }

    /// Returns the candidates for a request that reached us by `host`, UDP before TCP, best first.
    pub(crate) fn candidates(&self, host: Option<IpAddr>) -> Vec<Candidate> {
        let addresses = self.addresses(host);
        let udp: Vec<SocketAddr> = addresses
            .iter()
            .filter_map(|address| {
                let port = address.port.or_else(|| self.udp.first().map(SocketAddr::port))?;
                Some(SocketAddr::new(address.ip, port))
            })
            .collect();
        let tcp: Vec<SocketAddr> = addresses
            .iter()
            .filter_map(|address| {
                let port = address.port.or_else(|| self.tcp_port(address.ip))?;
                Some(SocketAddr::new(address.ip, port))
            })
            .collect();
        host_candidates(&udp, &tcp)
    }

    /// Returns the addresses that media is bound to.
    pub(crate) fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    fn addresses(&self, host: Option<IpAddr>) -> Vec<AdvertisedAddress> {
        if !self.explicit.is_empty() {
            return self.explicit.clone();
        }
        let by_loopback = host.is_some_and(|ip| ip.is_loopback());
        let only_loopback = self.udp.iter().all(|address| address.ip().is_loopback());
        let mut list: Vec<IpAddr> = Vec::new();
        list.extend(host.filter(|ip| !ip.is_unspecified() && self.is_reachable(*ip)));
        for address in &self.udp {
            let fits = !address.ip().is_loopback() || by_loopback || only_loopback;
            if fits && !list.contains(&address.ip()) {
                list.push(address.ip());
            }
        }
        list.truncate(ADDRESSES_MAX);
        list.into_iter().map(|ip| AdvertisedAddress { ip, port: None }).collect()
    }

    /// A loopback address that is not bound cannot be meant; any other may be a translated one (a container's host).
    fn is_reachable(&self, host: IpAddr) -> bool {
        let bound = self.udp.iter().any(|address| address.ip() == host);
        let only_loopback = self.udp.iter().all(|address| address.ip().is_loopback());
        bound || (!host.is_loopback() && !only_loopback)
    }

    fn tcp_port(&self, ip: IpAddr) -> Option<u16> {
        let listens = |bound: &&SocketAddr| bound.ip() == ip || bound.ip().is_unspecified();
        let exact = self.tcp.iter().find(listens);
        // A translated address: the port is the same as that of whatever listens.
        let translated = || self.tcp.first().filter(|_| !self.udp.iter().any(|bound| bound.ip() == ip));
        exact.or_else(translated).map(SocketAddr::port)
    }
}

/// Answers stay below the 8 KiB that ffmpeg reads.
const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(udp: &[&str], explicit: &[&str]) -> Advertised {
        let parse = |text: &&str| -> SocketAddr {
            text.parse().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
        };
        let explicit =
            explicit.iter().map(parse).map(|it| AdvertisedAddress { ip: it.ip(), port: Some(it.port()) });
        Advertised {
            explicit: explicit.collect(),
            udp: udp.iter().map(parse).collect(),
            tcp: vec![SocketAddr::from(([0, 0, 0, 0], 8080))],
        }
    }

    fn ips(list: &[AdvertisedAddress]) -> Vec<String> {
        list.iter().map(|address| address.ip.to_string()).collect()
    }

    #[test]
    fn the_address_that_the_request_came_by_is_named_first() {
        let advertised = advertised(&["192.168.1.4:8080", "10.0.0.7:8080", "127.0.0.1:8080"], &[]);

        let list = advertised.addresses(Some(IpAddr::from([10, 0, 0, 7])));

        assert_eq!(ips(&list), ["10.0.0.7", "192.168.1.4"]);
    }

    #[test]
    fn loopback_is_named_only_to_those_who_came_by_it() {
        let advertised = advertised(&["192.168.1.4:8080", "127.0.0.1:8080"], &[]);

        assert_eq!(ips(&advertised.addresses(None)), ["192.168.1.4"]);
        assert_eq!(
            ips(&advertised.addresses(Some(IpAddr::from([127, 0, 0, 1])))),
            ["127.0.0.1", "192.168.1.4"]
        );
    }

    #[test]
    fn explicit_addresses_are_the_only_ones() {
        let advertised = advertised(&["192.168.1.4:8080"], &["203.0.113.9:9000"]);

        let list = advertised.addresses(Some(IpAddr::from([192, 168, 1, 4])));

        assert_eq!(ips(&list), ["203.0.113.9"]);
    }

    #[test]
    fn a_translated_address_in_the_request_is_trusted_only_beside_real_ones() {
        let behind_nat = advertised(&["172.17.0.2:8080"], &[]);
        let local = advertised(&["127.0.0.1:8080"], &[]);

        assert_eq!(ips(&behind_nat.addresses(Some(IpAddr::from([192, 168, 1, 4])))).len(), 2);
        assert_eq!(ips(&local.addresses(Some(IpAddr::from([192, 168, 1, 4])))), ["127.0.0.1"]);
    }
}
