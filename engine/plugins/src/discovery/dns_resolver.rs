use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::resolver::{Resolver, SrvRecord, SystemResolver};

/// Targets of SRV records that are resolved at the same time.
const CONCURRENT: usize = 16;

/// How long a name that has no records is believed to have none, at most.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// How a [`DnsResolver`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// The name server to ask, as `host:port`. Those of the system if `None`.
    pub name_server: Option<String>,
    /// How long an answer is believed at least, whatever its TTL. Names with a TTL of zero would
    /// be asked for in a loop.
    pub min_ttl: Duration,
    /// How long a name server may take for one attempt, of two.
    pub timeout: Duration,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            name_server: None,
            min_ttl: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
        }
    }
}

/// Asks name servers, and keeps their answers for their TTL. Tells a name without records from a
/// name server that does not answer.
///
/// Hosts to connect to are resolved as the system does it, unless a name server is configured.
pub struct DnsResolver {
    options: DnsOptions,
    /// Where its sockets are driven: on the threads of the engine, not on those of guests.
    runtime: Handle,
    /// Made with the first question.
    resolver: OnceCell<TokioResolver>,
}

impl DnsResolver {
    /// A resolver. Needs a tokio runtime. Asks nobody yet.
    pub fn new(options: DnsOptions) -> Self {
        Self {
            options,
            runtime: Handle::current(),
            resolver: OnceCell::new(),
        }
    }

    /// Runs a look-up on the threads of the engine.
    async fn ask<T: Send + 'static, F: Future<Output = io::Result<T>> + Send + 'static>(
        &self,
        look_up: impl FnOnce(TokioResolver) -> F,
    ) -> io::Result<T> {
        let resolver = self
            .resolver
            .get_or_try_init(|| make(&self.options))
            .await?;
        let asked = self.runtime.spawn(look_up(resolver.clone()));
        asked.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl Resolver for DnsResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if self.options.name_server.is_none() {
            return SystemResolver.addresses(name).await;
        }
        match self.records(name).await? {
            none if none.is_empty() => Err(io::Error::other("the name has no addresses")),
            addresses => Ok(addresses),
        }
    }

    async fn records(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = absolute(name)?;
        self.ask(|resolver| async move { addresses(&resolver, name).await })
            .await
    }

    async fn srv(&self, name: &str) -> io::Result<Vec<SrvRecord>> {
        let name = absolute(name)?;
        let min_ttl = self.options.min_ttl;
        self.ask(move |resolver| async move { srv(&resolver, name, min_ttl).await })
            .await
    }
}

async fn make(options: &DnsOptions) -> io::Result<TokioResolver> {
    let mut builder = match &options.name_server {
        None => {
            let system = TokioResolver::builder_tokio();
            system.map_err(|error| {
                io::Error::other(format!(
                    "the system does not say which name servers to ask; set nameServer: {error}"
                ))
            })?
        }
        Some(server) => {
            let found: Vec<SocketAddr> = lookup_host(server.as_str()).await?.collect();
            let servers = found.into_iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let asking = builder.options_mut();
    asking.timeout = options.timeout;
    asking.positive_min_ttl = Some(options.min_ttl);
    asking.negative_min_ttl = Some(options.min_ttl);
    asking.negative_max_ttl = Some(MAX_NEGATIVE_TTL.max(options.min_ttl));
    builder.build().map_err(io::Error::other)
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = connections.into();
    server
}

/// A name that no search list is applied to.
fn absolute(name: &str) -> io::Result<Name> {
    let mut name = Name::from_ascii(name).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is no name: {error}"),
        )
    })?;
    name.set_fqdn(true);
    Ok(name)
}

async fn addresses(resolver: &TokioResolver, name: Name) -> io::Result<Vec<IpAddr>> {
    match resolver.lookup_ip(name.clone()).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) if says_there_are_none(&error) => Ok(Vec::new()),
        Err(error) => Err(explain(&error, &name)),
    }
}

async fn srv(
    resolver: &TokioResolver,
    name: Name,
    min_ttl: Duration,
) -> io::Result<Vec<SrvRecord>> {
    let found = match resolver.lookup(name.clone(), RecordType::SRV).await {
        Ok(found) => found,
        Err(error) if says_there_are_none(&error) => return Ok(Vec::new()),
        Err(error) => return Err(explain(&error, &name)),
    };
    let left = found
        .valid_until()
        .saturating_duration_since(Instant::now());
    let ttl = left.max(min_ttl);
    let records = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            // A target of the root says that there is no such service.
            RData::SRV(srv) if !srv.target.is_root() => Some(srv.clone()),
            _ => None,
        });
    let resolved = records
        .collect::<Vec<_>>()
        .into_iter()
        .map(|srv| async move {
            let addresses = addresses(resolver, srv.target.clone()).await?;
            let target = srv.target.to_ascii();
            Ok(SrvRecord {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: target.strip_suffix('.').unwrap_or(&target).to_owned(),
                addresses,
                ttl,
            })
        });
    stream::iter(resolved)
        .buffered(CONCURRENT)
        .try_collect()
        .await
}

/// Whether a name server has answered that there are no such records. One that fails or refuses
/// has not.
fn says_there_are_none(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return false;
    };
    matches!(
        none.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

fn explain(error: &NetError, name: &Name) -> io::Error {
    match error {
        NetError::Timeout => {
            let text = format!("no name server answered in time what {name} is");
            io::Error::new(io::ErrorKind::TimedOut, text)
        }
        error => io::Error::other(format!(
            "the name servers do not say what {name} is: {error}"
        )),
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
