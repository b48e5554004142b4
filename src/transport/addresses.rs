//! Which addresses of this machine a viewer could reach.
//!
//! Container bridges and link-local addresses look like addresses and lead nowhere: advertising them is the most
//! frequent reason why other servers connect and show no picture.

use std::io;
use std::net::IpAddr;

/// Returns the addresses of the machine's interfaces that are of use to other machines, IPv4 first.
///
/// Without loopback, link-local and unspecified addresses, and without the bridges of container engines and
/// virtual machines. The order is that of the kernel, so that an answer is the same every time.
///
/// # Errors
/// When the kernel does not list its interfaces.
pub fn usable_local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for interface in if_addrs::get_if_addrs()? {
        let ip = interface.ip();
        if is_usable(&interface.name, ip) && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    Ok(addresses)
}

/// Tells whether an address of an interface is of use to other machines.
#[must_use]
pub fn is_usable(interface: &str, ip: IpAddr) -> bool {
    !is_bridge(interface)
        && !ip.is_loopback()
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && match ip {
            IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_broadcast(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none(),
        }
}

/// Tells whether an interface belongs to a container engine or a virtual machine by its usual name.
fn is_bridge(interface: &str) -> bool {
    BRIDGES.iter().any(|prefix| interface.starts_with(prefix))
}

/// Docker, its networks and their ends, libvirt, LXC and LXD, Podman and CNI, Kubernetes overlays.
const BRIDGES: [&str; 12] =
    ["docker", "br-", "veth", "virbr", "vnet", "lxc", "lxdbr", "podman", "cni", "flannel", "cali", "kube-"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_real_interfaces_are_usable() {
        for (interface, ip) in [
            ("eth0", "192.168.1.4"),
            ("enp3s0", "203.0.113.9"),
            ("wlan0", "2001:db8::4"),
            ("eth0", "172.17.0.2"),
            ("br0", "192.168.1.4"),
            ("tailscale0", "100.64.1.1"),
            ("eth0", "fd00::1"),
        ] {
            assert!(is_usable(interface, ip.parse().unwrap()), "{interface} {ip}");
        }
    }

    #[test]
    fn bridges_loopback_and_link_local_addresses_are_not() {
        for (interface, ip) in [
            ("docker0", "172.17.0.1"),
            ("br-5f1c2d", "172.18.0.1"),
            ("virbr0", "192.168.122.1"),
            ("vethab12", "10.0.0.1"),
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "169.254.3.4"),
            ("eth0", "fe80::1"),
            ("eth0", "0.0.0.0"),
            ("eth0", "::ffff:10.0.0.1"),
            ("eth0", "224.0.0.1"),
        ] {
            assert!(!is_usable(interface, ip.parse().unwrap()), "{interface} {ip}");
        }
    }

    #[test]
    fn the_list_of_this_machine_holds_only_usable_addresses_once_each() {
        let addresses = usable_local_addresses().unwrap();

        assert!(addresses.iter().all(|&ip| is_usable("eth0", ip)));
        let distinct: std::collections::BTreeSet<_> = addresses.iter().collect();
        assert_eq!(distinct.len(), addresses.len());
    }
}
