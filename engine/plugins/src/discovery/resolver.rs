use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::lookup_host;

/// Finds the addresses of host names, and what DNS says of names.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a host to connect to, in the order in which to try them.
    ///
    /// # Errors
    /// If it has none, or no resolver answers.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// The A and AAAA records of a name. Empty where it has none.
    ///
    /// # Errors
    /// If no resolver answers.
    async fn records(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.addresses(name).await
    }

    /// The SRV records of a name. Empty where it has none.
    ///
    /// # Errors
    /// If no resolver answers. [`io::ErrorKind::Unsupported`] if this one knows no SRV records.
    async fn srv(&self, _name: &str) -> io::Result<Vec<SrvRecord>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An SRV record, with the addresses of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecord {
    /// Lower ones first.
    pub priority: u16,
    /// Share of requests among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host name, without a dot at its end.
    pub target: String,
    /// The addresses of the target. Empty where it has none.
    pub addresses: Vec<IpAddr>,
    /// How long the answer holds.
    pub ttl: Duration,
}

/// The resolver of the system, which knows no SRV records.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
