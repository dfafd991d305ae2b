//! Where the server is: at an address, at one that sentinels know, or in a cluster.

use std::fmt;

/// The addresses of a store, as its URL has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) kind: EndpointKind,
    pub(super) has_tls: bool,
    /// Of the server, of sentinels, or of nodes of a cluster. At least one.
    pub(super) hosts: Vec<Host>,
    /// The number of the database.
    pub(super) database: i64,
}

/// How the server is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EndpointKind {
    /// It has the address.
    Server,
    /// Sentinels tell the address of the primary of this name.
    Sentinel(String),
    /// Any node of the cluster tells which one has the keys.
    Cluster,
}

/// A host with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const MAX_HOSTS: usize = 64;

impl Endpoint {
    /// Reads a URL. `None` if it is none of a store.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let has_tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return None,
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (kind, database, port) = match kind {
            "" => (EndpointKind::Server, path, PORT),
            "cluster" => (EndpointKind::Cluster, path, PORT),
            "sentinel" => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if name.is_empty() || !name.bytes().all(is_plain) {
                    return None;
                }
                (
                    EndpointKind::Sentinel(name.to_owned()),
                    database,
                    SENTINEL_PORT,
                )
            }
            _ => return None,
        };
        let database = match database {
            "" => 0,
            number => number.parse().ok().filter(|number| *number >= 0)?,
        };
        let hosts = hosts.split(',').map(|host| Host::parse(host, port));
        let hosts: Vec<_> = hosts.collect::<Option<_>>()?;
        let fits = match kind {
            EndpointKind::Server => hosts.len() == 1,
            EndpointKind::Sentinel(_) => hosts.len() <= MAX_HOSTS,
            // A cluster has no other databases.
            EndpointKind::Cluster => hosts.len() <= MAX_HOSTS && database == 0,
        };
        fits.then_some(Self {
            kind,
            has_tls,
            hosts,
            database,
        })
    }
}

impl Host {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']')?;
                let is_address = name.parse::<std::net::Ipv6Addr>().is_ok();
                (is_address.then_some(name)?, port)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let port = match port {
            "" => default_port,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        let is_valid = !name.is_empty() && name.bytes().all(is_plain);
        is_valid.then(|| Self {
            name: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.has_tls { "rediss" } else { "redis" })?;
        f.write_str(match self.kind {
            EndpointKind::Server => "://",
            EndpointKind::Sentinel(_) => "+sentinel://",
            EndpointKind::Cluster => "+cluster://",
        })?;
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if index > 0 { "," } else { "" })?;
        }
        if let EndpointKind::Sentinel(name) = &self.kind {
            write!(f, "/{name}")?;
        }
        match self.database {
            0 => Ok(()),
            number => write!(f, "/{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_was_written() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("valkeys://localhost:1/3", "rediss://localhost:1/3"),
            ("redis://[::1]:7/", "redis://[::1]:7"),
            (
                "redis+sentinel://a,b:7,[::1]/main",
                "redis+sentinel://a:26379,b:7,[::1]:26379/main",
            ),
            (
                "rediss+sentinel://a/main/2",
                "rediss+sentinel://a:26379/main/2",
            ),
            ("valkey+cluster://a,b:7", "redis+cluster://a:6379,b:7"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(Endpoint::parse(shown), Some(endpoint));
        }
    }

    #[test]
    fn what_is_no_address_of_a_store_is_none() {
        for url in [
            "localhost",
            "http://localhost",
            "redis://",
            "redis://a,b",
            "redis://a:port",
            "redis://a:99999",
            "redis://[a]",
            "redis://a/b",
            "redis://a/-1",
            "redis://ada:secret@a",
            "redis://a?b",
            "redis+unix://a",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://a/main/b",
            "redis+sentinel://a,/main",
            "redis+cluster://a/1",
        ] {
            assert_eq!(Endpoint::parse(url), None, "{url}");
        }
    }
}
