use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hotswap_common::addresses::{is_no_host, is_special};
use rustls::pki_types::{DnsName, ServerName};

/// A server that a backend may reach: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    is_tls: bool,
    host: Host,
    port: u16,
}

/// A host as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case, without a dot at the end.
    Name(String),
}

/// Why a text is not an [`Origin`], and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It begins with neither `http://` nor `https://`.
    #[error("write it as http://host:port or https://host:port")]
    Scheme,
    /// There is more or less in it than a host and a port.
    #[error("write it as http://host:port or https://host:port, without a user, a path or a query")]
    Syntax,
}

impl Origin {
    /// The origin of a request, as the component wrote it. `None` if it cannot be one: it has
    /// another scheme, a user name, or no host.
    pub(super) fn of_request(uri: &http::Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Self::parse_authority(is_tls, uri.authority()?.as_str())
    }

    /// Whether it is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host's name, or its address.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The name that its certificate must be for: the host as the operator wrote it. `None` where
    /// no certificate can be for it.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Address(address) => Some(ServerName::IpAddress((*address).into())),
            Host::Name(name) => {
                let name = DnsName::try_from(name.clone()).ok()?;
                Some(ServerName::DnsName(name))
            }
        }
    }

    /// The address, where the operator wrote one.
    pub(super) fn literal_address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        }
    }

    /// Whether the name may lead to this address. A name that the operator allows must not lead
    /// back to this machine, or to the services that clouds have at link-local addresses: who
    /// answers for the name in DNS decides where it leads.
    pub(super) fn may_lead_to(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match &self.host {
            Host::Address(own) => own.to_canonical() == address,
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
                address.is_loopback()
            }
            Host::Name(_) => !(is_no_host(address) || is_special(address)),
        }
    }

    fn parse_authority(is_tls: bool, authority: &str) -> Option<Self> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                let address: std::net::Ipv6Addr = address.parse().ok()?;
                let port = match rest {
                    "" => "",
                    rest => rest.strip_prefix(':')?,
                };
                (Host::Address(address.into()), port)
            }
            None => {
                let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
                (parse_host(host)?, port)
            }
        };
        let port = match port {
            "" if is_tls => 443,
            "" => 80,
            port if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
            _ => return None,
        };
        (port != 0).then_some(Self { is_tls, host, port })
    }
}

fn parse_host(host: &str) -> Option<Host> {
    if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_valid = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        // Resolvers take `127.1` and `0x7f000001` for addresses.
        && host.rsplit('.').next().is_some_and(|last| {
            !last.is_empty() && !last.starts_with(|first: char| first.is_ascii_digit())
        });
    is_valid.then(|| Host::Name(host.to_ascii_lowercase()))
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(OriginError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        Self::parse_authority(is_tls, authority).ok_or(OriginError::Syntax)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        match &self.host {
            Host::Address(IpAddr::V6(address)) => {
                write!(f, "{scheme}://[{address}]:{}", self.port)
            }
            Host::Address(address) => write!(f, "{scheme}://{address}:{}", self.port),
            Host::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect(text)
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (text, expected) in [
            ("http://consul", "http://consul:80"),
            ("http://Consul.Example.:8500/", "http://consul.example:8500"),
            ("http://10.0.0.1:8500", "http://10.0.0.1:8500"),
            ("http://[::1]:8500", "http://[::1]:8500"),
            ("https://Consul.Example", "https://consul.example:443"),
            ("https://[::1]:6443", "https://[::1]:6443"),
        ] {
            assert_eq!(origin(text).to_string(), expected);
        }
        for (text, error) in [
            ("HTTPS://a:1", OriginError::Scheme),
            ("ftp://a", OriginError::Scheme),
            ("a:1", OriginError::Scheme),
            ("http://", OriginError::Syntax),
            ("http://me@a:1", OriginError::Syntax),
            ("http://me:pw@a:1", OriginError::Syntax),
            ("http://a:1/path", OriginError::Syntax),
            ("http://a:1?q", OriginError::Syntax),
            ("http://a:70000", OriginError::Syntax),
            ("http://a:+80", OriginError::Syntax),
            ("http://a:0", OriginError::Syntax),
            ("http://127.1:80", OriginError::Syntax),
            ("http://0x7f000001:80", OriginError::Syntax),
            ("http://2130706433:80", OriginError::Syntax),
            ("http://[::1]80", OriginError::Syntax),
            ("http://[::1", OriginError::Syntax),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_certificate_must_be_for_the_host_as_it_is_configured() {
        let name = |text: &str| origin(text).server_name().map(|name| format!("{name:?}"));
        assert_eq!(
            name("https://Consul.Example.:8501").as_deref(),
            Some("DnsName(\"consul.example\")")
        );
        let address = name("https://127.0.0.1:6443").unwrap_or_default();
        assert!(address.starts_with("IpAddress("), "{address}");
        assert_ne!(origin("https://a:1"), origin("http://a:1"));
    }

    #[test]
    fn a_name_does_not_lead_back_to_this_machine_or_to_link_local_addresses() {
        let name = origin("http://consul.example:8500");
        for address in [
            "10.0.0.1",
            "192.168.0.1",
            "8.8.8.8",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(
                name.may_lead_to(address.parse().expect(address)),
                "{address}"
            );
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "0.1.2.3",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(
                !name.may_lead_to(address.parse().expect(address)),
                "{address}"
            );
        }
        let local = origin("http://localhost:8500");
        assert!(local.may_lead_to("127.0.0.1".parse().expect("an address")));
        assert!(!local.may_lead_to("10.0.0.1".parse().expect("an address")));
        let literal = origin("http://127.0.0.1:8500");
        assert!(literal.may_lead_to("127.0.0.1".parse().expect("an address")));
        assert!(!literal.may_lead_to("127.0.0.2".parse().expect("an address")));
    }
}
