//! The addresses at which an engine asks nodes that a registry names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hotswap_common::addresses::{is_no_host, is_special};

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no network; write it as 10.0.0.0/8, as fd00::/8, or as one address")]
pub struct NetworkError(String);

/// The networks that nodes of a source may be in. Without any, all but those where no node should
/// be that a registry names: this machine, link-local addresses, where clouds have their services,
/// multicast, and addresses that are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Only these.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether a node may be at an address.
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_no_host(address) {
            return false;
        }
        match &self.0[..] {
            [] => !is_special(address),
            networks => networks.iter().any(|network| network.contains(address)),
        }
    }
}

impl Network {
    /// Whether an address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = |own: u128, other: u128, bits: u32| {
            let differing = bits - u32::from(self.prefix);
            own.checked_shr(differing) == other.checked_shr(differing)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                shared(u32::from(own).into(), u32::from(other).into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => shared(own.into(), other.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let invalid = || NetworkError(text.chars().take(64).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| invalid())?,
            None => bits,
        };
        if prefix > bits {
            return Err(invalid());
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_registry_cannot_name_this_machine_or_a_service_of_the_cloud() {
        let any = Networks::default();
        for allowed in [
            "10.0.0.1",
            "192.168.1.1",
            "8.8.8.8",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(any.allow(allowed.parse().unwrap()), "{allowed}");
        }
        for refused in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(!any.allow(refused.parse().unwrap()), "{refused}");
        }
    }

    #[test]
    fn only_the_networks_of_the_configuration_are_allowed_where_there_are_some() {
        let some = networks(&["10.1.0.0/16", "127.0.0.1", "fd00::/8"]);
        for allowed in ["10.1.255.1", "127.0.0.1", "::ffff:10.1.0.1", "fdff::1"] {
            assert!(some.allow(allowed.parse().unwrap()), "{allowed}");
        }
        for refused in ["10.2.0.1", "127.0.0.2", "fe00::1", "8.8.8.8"] {
            assert!(!some.allow(refused.parse().unwrap()), "{refused}");
        }
        assert!(networks(&["0.0.0.0/0"]).allow("127.0.0.1".parse().unwrap()));
        assert!(!networks(&["0.0.0.0/0"]).allow("0.0.0.0".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "host",
            "10.0.0.0/-1",
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
        assert_eq!(
            "10.0.0.0/8".parse::<Network>().unwrap().to_string(),
            "10.0.0.0/8"
        );
    }
}
