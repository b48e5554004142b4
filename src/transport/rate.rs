//! How many failed connectivity checks a stranger may cost us.
//!
//! [`FailureLimit`] has one token bucket for each network (/24 of IPv4, /56 of IPv6) and one for the node. Only
//! **failed** checks are charged, so a crowd behind one address that joins rightly is never an attack: ask
//! [`FailureLimit::is_exhausted`] before looking at a datagram from an unknown address, and
//! [`FailureLimit::charge`] when its check failed.
//!
//! Invariants: at most [`NETWORKS_MAX`] networks are remembered; when they are all in debt, further networks share
//! the node's bucket alone. Sans-IO, no allocation beyond the bounded table.

use rtp::MonoTime;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// How many networks are remembered.
pub const NETWORKS_MAX: usize = 4_096;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: u32,
    /// Tokens of a full bucket.
    pub burst: u32,
}

/// A bucket that fills with time and is emptied by use.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// In billionths of a token.
    level: u64,
    updated: MonoTime,
}

impl TokenBucket {
    /// Makes a full bucket.
    #[must_use]
    pub const fn new(rate: Rate, now: MonoTime) -> Self {
        Self { rate, level: (rate.burst as u64).saturating_mul(NANOS), updated: now }
    }

    /// Takes one token; says `false`, and takes nothing, when there is none.
    pub fn take(&mut self, now: MonoTime) -> bool {
        self.refill(now);
        let has_token = self.level >= NANOS;
        if has_token {
            self.level = self.level.saturating_sub(NANOS);
        }
        has_token
    }

    pub(crate) const fn warm(&self) -> u64 {
        self.level
    }

    /// Tells whether there is no whole token.
    #[must_use]
    pub fn is_empty(&self, now: MonoTime) -> bool {
        self.level_at(now) < NANOS
    }

    /// Tells whether the bucket is full, and so the same as a new one.
    #[must_use]
    pub fn is_full(&self, now: MonoTime) -> bool {
        self.level_at(now) >= self.capacity()
    }

    fn refill(&mut self, now: MonoTime) {
        self.level = self.level_at(now);
        self.updated = self.updated.max(now);
    }

    fn level_at(&self, now: MonoTime) -> u64 {
        let passed = u64::try_from(now.since(self.updated).as_nanos()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(u64::from(self.rate.per_second));
        self.level.saturating_add(gained).min(self.capacity())
    }

    const fn capacity(&self) -> u64 {
        (self.rate.burst as u64).saturating_mul(NANOS)
    }
}

/// The failed checks of strangers, by network and in sum.
#[derive(Debug)]
pub struct FailureLimit {
    per_network: Rate,
    networks: BTreeMap<Network, TokenBucket>,
    node: TokenBucket,
    swept: MonoTime,
}

impl FailureLimit {
    /// Makes a limit for each network, and one for all of them.
    #[must_use]
    pub const fn new(per_network: Rate, node: Rate, now: MonoTime) -> Self {
        Self { per_network, networks: BTreeMap::new(), node: TokenBucket::new(node, now), swept: now }
    }

    /// Charges a failed check; says whether it was still within the limits.
    pub fn charge(&mut self, now: MonoTime, remote: IpAddr) -> bool {
        let network = Network::of(remote);
        if !self.networks.contains_key(&network) && !self.make_room(now) {
            return self.node.take(now);
        }
        let rate = self.per_network;
        let bucket = self.networks.entry(network).or_insert_with(|| TokenBucket::new(rate, now));
        // Both are charged, whichever is empty first.
        let (within_network, within_node) = (bucket.take(now), self.node.take(now));
        within_network && within_node
    }

    /// Tells whether a datagram from an unknown address should be dropped unseen.
    #[must_use]
    pub fn is_exhausted(&self, now: MonoTime, remote: IpAddr) -> bool {
        let network = self.networks.get(&Network::of(remote));
        self.node.is_empty(now) || network.is_some_and(|bucket| bucket.is_empty(now))
    }

    /// Forgets the networks whose buckets are full again, at most once a second; says whether there is room.
    fn make_room(&mut self, now: MonoTime) -> bool {
        if self.networks.len() >= NETWORKS_MAX && now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.networks.retain(|_, bucket| !bucket.is_full(now));
        }
        self.networks.len() < NETWORKS_MAX
    }
}

/// A network that counts as one stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Network(u128);

impl Network {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u128::from(ip.to_bits() >> 8)),
            // No IPv4 network is that large a number: its 24 bits are the low ones.
            IpAddr::V6(ip) => Self(Ipv6Addr::to_bits(ip) & V6_MASK | V6_MARK),
        }
    }
}

/// What a provider gives one customer at least: /56.
const V6_MASK: u128 = !(u128::MAX >> 56);
const V6_MARK: u128 = 1 << 32;
const NANOS: u64 = 1_000_000_000;
const SWEEP_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate { per_second: 10, burst: 10 };
    const MANY: Rate = Rate { per_second: 1_000_000, burst: 1_000_000 };

    #[test]
    fn a_network_is_exhausted_by_its_failures_and_recovers_with_time() {
        let mut limit = FailureLimit::new(TEN, MANY, MonoTime::ZERO);
        let (one, neighbour, other) = (ip("192.0.2.1"), ip("192.0.2.200"), ip("192.0.3.1"));

        let allowed = (0..20).filter(|_| limit.charge(MonoTime::ZERO, one)).count();

        assert_eq!(allowed, 10);
        assert!(limit.is_exhausted(MonoTime::ZERO, neighbour));
        assert!(!limit.is_exhausted(MonoTime::ZERO, other));
        assert!(limit.is_exhausted(MonoTime::from_millis(99), one));
        assert!(!limit.is_exhausted(MonoTime::from_millis(100), one));
    }

    #[test]
    fn the_node_is_exhausted_by_many_networks_together() {
        let mut limit = FailureLimit::new(TEN, TEN, MonoTime::ZERO);

        for host in 0..10 {
            assert!(limit.charge(MonoTime::ZERO, ip(&format!("10.0.{host}.1"))));
        }

        assert!(limit.is_exhausted(MonoTime::ZERO, ip("10.9.9.9")));
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_when_buckets_are_full_again() {
        let mut limit = FailureLimit::new(TEN, MANY, MonoTime::ZERO);
        let network = |number: u32| IpAddr::V4((number << 8).into());
        for number in 0..10_000 {
            assert!(limit.charge(MonoTime::ZERO, network(number)));
        }
        assert_eq!(limit.networks.len(), NETWORKS_MAX);

        limit.charge(MonoTime::from_millis(2_000), network(10_001));

        assert_eq!(limit.networks.len(), 1);
    }

    #[test]
    fn an_ipv6_customer_is_one_network_and_a_mapped_address_its_ipv4_one() {
        assert_eq!(Network::of(ip("2001:db8:1:11::1")), Network::of(ip("2001:db8:1:22::9")));
        assert_ne!(Network::of(ip("2001:db8:1:1::1")), Network::of(ip("2001:db8:2:1::1")));
        assert_eq!(Network::of(ip("::ffff:192.0.2.1")), Network::of(ip("192.0.2.9")));
    }

    #[test]
    fn time_that_goes_back_gives_no_tokens() {
        let mut bucket = TokenBucket::new(Rate { per_second: 1, burst: 1 }, MonoTime::from_millis(5_000));

        assert!(bucket.take(MonoTime::from_millis(5_000)));
        assert!(!bucket.take(MonoTime::ZERO));
        assert!(!bucket.take(MonoTime::from_millis(5_999)));
        assert!(bucket.take(MonoTime::from_millis(6_000)));
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
