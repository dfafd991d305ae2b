//! Addresses to which nobody else may lead a program of ours.

use std::net::{IpAddr, Ipv6Addr};

/// Whether it is the address of no single host: unspecified, multicast or broadcast.
pub fn is_no_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    address.is_unspecified() || address.is_multicast() || is_broadcast
}

/// Whether nobody should be led to it by a name or a registry: it is of this machine, or of its link,
/// where clouds have their services.
pub fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // 0.0.0.0/8 is this machine, on some systems.
            address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || embeds_special(address)
        }
    }
}

/// Addresses of version 6 that lead to one of version 4: NAT64 and 6to4.
fn embeds_special(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    let embedded = if octets[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0] {
        [octets[12], octets[13], octets[14], octets[15]]
    } else if octets[..2] == [0x20, 0x02] {
        [octets[2], octets[3], octets[4], octets[5]]
    } else {
        return false;
    };
    is_special(IpAddr::from(embedded))
}
