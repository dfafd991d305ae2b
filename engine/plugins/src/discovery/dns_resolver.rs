use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, try_join};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::resolver::{Resolver, SrvRecord, SystemResolver};

/// Targets of SRV records that are resolved at the same time.
const CONCURRENT: usize = 16;

/// How long a name that has no records is believed to have none, at most.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// How long it is believed which name servers there are.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// How a [`DnsResolver`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// The name server to ask, as `host:port`. Those of the system if `None`. A name, and what the
    /// system says, are looked up again each minute and after a failure.
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
    read_servers: ReadServers,
    /// Made with the first question.
    made: Mutex<Option<Made>>,
}

/// Finds out which name servers to ask, and how.
type ReadServers =
    Box<dyn Fn() -> BoxFuture<'static, io::Result<(ResolverConfig, ResolverOpts)>> + Send + Sync>;

/// What asks the name servers.
struct Made {
    resolver: TokioResolver,
    /// What they are. As a text, for they cannot be compared.
    servers: String,
    read_at: Instant,
}

impl DnsResolver {
    /// A resolver. Needs a tokio runtime. Asks nobody yet.
    pub fn new(options: DnsOptions) -> Self {
        let server = options.name_server.clone();
        let read = move || -> BoxFuture<'static, _> { Box::pin(read_servers(server.clone())) };
        Self::with_servers(options, Box::new(read))
    }

    fn with_servers(options: DnsOptions, read_servers: ReadServers) -> Self {
        Self {
            options,
            runtime: Handle::current(),
            read_servers,
            made: Mutex::new(None),
        }
    }

    /// What asks the name servers of now. Which they are is read again each minute, and after a
    /// failure. Answers are forgotten only where others are to be asked.
    async fn resolver(&self, now: Instant) -> io::Result<TokioResolver> {
        let mut made = self.made.lock().await;
        let is_fresh = |made: &&Made| now.saturating_duration_since(made.read_at) < READ_AGAIN;
        if let Some(made) = made.as_ref().filter(is_fresh) {
            return Ok(made.resolver.clone());
        }
        let (config, options) = match ((self.read_servers)().await, made.as_mut()) {
            (Ok(read), _) => read,
            // Better those of before than none.
            (Err(_), Some(made)) => return Ok(made.resolver.clone()),
            (Err(error), None) => return Err(error),
        };
        let servers = format!("{config:?} {options:?}");
        if let Some(same) = made.as_mut().filter(|made| made.servers == servers) {
            same.read_at = now;
            return Ok(same.resolver.clone());
        }
        let resolver = make(config, options, &self.options)?;
        *made = Some(Made {
            resolver: resolver.clone(),
            servers,
            read_at: now,
        });
        Ok(resolver)
    }

    /// Has the next question read again which name servers to ask: they may have moved.
    async fn doubt(&self) {
        if let Some(made) = self.made.lock().await.as_mut() {
            let old = made.read_at.checked_sub(READ_AGAIN);
            made.read_at = old.unwrap_or(made.read_at);
        }
    }

    /// Runs a look-up on the threads of the engine.
    async fn ask<T: Send + 'static, F: Future<Output = io::Result<T>> + Send + 'static>(
        &self,
        look_up: impl FnOnce(TokioResolver) -> F,
    ) -> io::Result<T> {
        let resolver = self.resolver(Instant::now()).await?;
        let asked = self.runtime.spawn(look_up(resolver));
        let answer = asked.await.map_err(io::Error::other)?;
        if answer.is_err() {
            self.doubt().await;
        }
        answer
    }
}

#[async_trait]
impl Resolver for DnsResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if self.options.name_server.is_none() {
            return SystemResolver.addresses(name).await;
        }
        let name = absolute(name)?;
        let found = self.ask(|resolver| async move { any_addresses(&resolver, name).await });
        match found.await? {
            none if none.is_empty() => Err(io::Error::other("the name has no addresses")),
            addresses => Ok(addresses),
        }
    }

    async fn records(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = absolute(name)?;
        self.ask(|resolver| async move { addresses(&resolver, &name).await })
            .await
    }

    async fn srv(&self, name: &str) -> io::Result<Vec<SrvRecord>> {
        let name = absolute(name)?;
        let min_ttl = self.options.min_ttl;
        self.ask(move |resolver| async move { srv(&resolver, name, min_ttl).await })
            .await
    }
}

/// The name servers that are configured, or those of the system.
async fn read_servers(server: Option<String>) -> io::Result<(ResolverConfig, ResolverOpts)> {
    let Some(server) = server else {
        return read_system_conf().map_err(|error| {
            io::Error::other(format!(
                "the system does not say which name servers to ask; set nameServer: {error}"
            ))
        });
    };
    let mut found: Vec<SocketAddr> = lookup_host(server).await?.collect();
    // A name with several addresses has them in another order each time.
    found.sort_unstable();
    let servers = found.into_iter().map(name_server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    Ok((config, ResolverOpts::default()))
}

fn make(
    config: ResolverConfig,
    asking: ResolverOpts,
    options: &DnsOptions,
) -> io::Result<TokioResolver> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    let set = builder.options_mut();
    *set = asking;
    set.timeout = options.timeout;
    set.positive_min_ttl = Some(options.min_ttl);
    set.negative_min_ttl = Some(options.min_ttl);
    set.negative_max_ttl = Some(MAX_NEGATIVE_TTL.max(options.min_ttl));
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

/// All addresses, those of IPv4 first, in an order that does not change. Half an answer is none: a
/// name server that fails for one family has not said that there are no such addresses.
async fn addresses(resolver: &TokioResolver, name: &Name) -> io::Result<Vec<IpAddr>> {
    let (mut addresses, others) = try_join(
        addresses_of(resolver, name, RecordType::A),
        addresses_of(resolver, name, RecordType::AAAA),
    )
    .await?;
    addresses.extend(others);
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The addresses of one family.
async fn addresses_of(
    resolver: &TokioResolver,
    name: &Name,
    kind: RecordType,
) -> io::Result<Vec<IpAddr>> {
    match resolver.lookup(name.clone(), kind).await {
        Ok(found) => {
            let records = found.answers().iter();
            // An alias comes with the records of what it stands for.
            Ok(records.filter_map(|record| record.data.ip_addr()).collect())
        }
        Err(error) if says_there_are_none(&error) => Ok(Vec::new()),
        Err(error) => Err(explain(&error, name)),
    }
}

/// The addresses of a host to connect to. Those of one family suffice.
async fn any_addresses(resolver: &TokioResolver, name: Name) -> io::Result<Vec<IpAddr>> {
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
            let addresses = addresses(resolver, &srv.target).await?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::UdpSocket;
    use tokio::time::timeout;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A resolver that is told of these name servers in turn, and of the last one from then on; with
    /// the number of times that it asked for them.
    fn told(servers: Vec<SocketAddr>) -> (DnsResolver, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let options = DnsOptions {
            timeout: Duration::from_millis(20),
            ..DnsOptions::default()
        };
        let counted = Arc::clone(&count);
        let read = move || -> BoxFuture<'static, _> {
            let turn = counted.fetch_add(1, Ordering::Relaxed);
            let server = servers[turn.min(servers.len() - 1)];
            Box::pin(read_servers(Some(server.to_string())))
        };
        (DnsResolver::with_servers(options, Box::new(read)), count)
    }

    async fn silent_server() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    #[tokio::test]
    async fn a_name_server_that_has_moved_is_asked_where_it_is_after_a_failure() {
        let ((old, old_addr), (new, new_addr)) = (silent_server().await, silent_server().await);
        let (resolver, _) = told(vec![old_addr, new_addr]);
        for server in [old, new] {
            resolver.records("example.com").await.expect_err("silence");
            let asked = timeout(TIMEOUT, server.recv(&mut [0; 512])).await;
            asked.expect("it is asked").unwrap();
        }
    }

    #[tokio::test]
    async fn name_servers_are_looked_up_again_each_minute() {
        let ((_a, old), (_b, new)) = (silent_server().await, silent_server().await);
        let (resolver, count) = told(vec![old, old, new]);
        let started = Instant::now();
        let mut lookups = Vec::new();
        for seconds in [0, 59, 61, 100, 122, 181, 183] {
            let now = started + Duration::from_secs(seconds);
            resolver.resolver(now).await.unwrap();
            lookups.push(count.load(Ordering::Relaxed));
        }
        assert_eq!(lookups, [1, 1, 2, 2, 3, 3, 4]);
        let made = resolver.made.lock().await;
        let servers = &made.as_ref().unwrap().servers;
        assert!(servers.contains(&new.port().to_string()), "{servers}");
    }
}
