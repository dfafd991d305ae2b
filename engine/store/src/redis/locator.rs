//! Finds the server that takes writes, and connects to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, cmd,
};

use super::credentials::Credentials;
use super::endpoint::{Endpoint, EndpointKind, Host};

/// How long one sentinel, or one node of a cluster, may take before the next one is asked.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a node may name another one.
const MAX_REDIRECTS: usize = 8;

/// Knows where the server may be. After a failover it finds the new one.
pub(super) struct Locator {
    endpoint: Endpoint,
    /// Of the connections that begin from now on.
    credentials: Mutex<Arc<Credentials>>,
    /// A key of the store.
    key: String,
    /// The host that answered last. It is asked first.
    first: AtomicUsize,
}

impl Locator {
    pub(super) fn new(endpoint: Endpoint, credentials: Credentials, key: String) -> Self {
        Self {
            endpoint,
            credentials: Mutex::new(Arc::new(credentials)),
            key,
            first: AtomicUsize::new(0),
        }
    }

    /// Connections that begin from now on use these credentials. Returns whether they are others
    /// than before.
    pub(super) fn replace_credentials(&self, credentials: Credentials) -> bool {
        let mut current = self.lock_credentials();
        let are_other = **current != credentials;
        *current = Arc::new(credentials);
        are_other
    }

    fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.lock_credentials())
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn lock_credentials(&self) -> MutexGuard<'_, Arc<Credentials>> {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the server that takes writes. Cancel safe.
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<(Client, MultiplexedConnection), RedisError> {
        let hosts = &self.endpoint.hosts;
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = None;
        for index in (0..hosts.len()).map(|offset| (first + offset) % hosts.len()) {
            let Some(host) = hosts.get(index) else {
                continue;
            };
            let found = match &self.endpoint.kind {
                EndpointKind::Server => self.connect_to(host, config).await,
                EndpointKind::Sentinel(name) => self.ask_sentinel(host, name, config).await,
                EndpointKind::Cluster => self.ask_node(host, config).await,
            };
            match found {
                Ok(found) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(found);
                }
                Err(error) => {
                    tracing::debug!(%host, %error, "does not lead to the store");
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| (ErrorKind::Client, "the store has no address").into()))
    }

    async fn connect_to(
        &self,
        host: &Host,
        config: &AsyncConnectionConfig,
    ) -> Result<(Client, MultiplexedConnection), RedisError> {
        let credentials = self.credentials();
        let settings = credentials.settings().set_db(self.endpoint.database);
        let client = self.client(host, settings, &credentials)?;
        let connection = client.get_multiplexed_async_connection_with_config(config);
        let connection = connection.await?;
        Ok((client, connection))
    }

    /// Connects to the primary that a sentinel names, if it is one.
    async fn ask_sentinel(
        &self,
        sentinel: &Host,
        name: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<(Client, MultiplexedConnection), RedisError> {
        let asking = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ASK_TIMEOUT))
            .set_response_timeout(Some(ASK_TIMEOUT));
        let credentials = self.credentials();
        let client = self.client(sentinel, credentials.sentinel_settings(), &credentials)?;
        let connection = client.get_multiplexed_async_connection_with_config(&asking);
        let mut connection = connection.await?;
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let address: Option<(String, u16)> = command.query_async(&mut connection).await?;
        let Some((name, port)) = address else {
            let kind = ErrorKind::MasterNameNotFoundBySentinel;
            return Err((kind, "the sentinel knows no primary of this name").into());
        };
        let (client, mut connection) = self.connect_to(&Host { name, port }, config).await?;
        // A sentinel that was cut off may name the earlier one.
        let mut command = cmd("INFO");
        command.arg("replication");
        let info: String = command.query_async(&mut connection).await?;
        if !info.lines().any(|line| line.trim() == "role:master") {
            return Err((ErrorKind::Io, "the sentinel names a replica").into());
        }
        Ok((client, connection))
    }

    /// Connects to the node of a cluster that has the keys of the store, beginning at any.
    async fn ask_node(
        &self,
        seed: &Host,
        config: &AsyncConnectionConfig,
    ) -> Result<(Client, MultiplexedConnection), RedisError> {
        let asking = config.clone().set_connection_timeout(Some(ASK_TIMEOUT));
        let mut node = seed.clone();
        for _ in 0..MAX_REDIRECTS {
            let (client, mut connection) = self.connect_to(&node, &asking).await?;
            let mut command = cmd("EXISTS");
            command.arg(&self.key);
            let answer: Result<u64, RedisError> = command.query_async(&mut connection).await;
            let Err(error) = answer else {
                return Ok((client, connection));
            };
            // While the keys are moved, their node stays the one that had them.
            if error.code() == Some("ASK") {
                return Ok((client, connection));
            }
            node = match error.redirect_node() {
                Some((address, _)) => redirect(address, &node).ok_or(error)?,
                None => return Err(error),
            };
        }
        Err((ErrorKind::Io, "the nodes of the cluster name each other").into())
    }

    fn client(
        &self,
        host: &Host,
        settings: RedisConnectionInfo,
        credentials: &Credentials,
    ) -> Result<Client, RedisError> {
        let (name, port) = (host.name.clone(), host.port);
        if !self.endpoint.has_tls {
            let info = ConnectionAddr::Tcp(name, port).into_connection_info()?;
            return Client::open(info.set_redis_settings(settings));
        }
        let address = ConnectionAddr::TcpTls {
            host: name,
            port,
            insecure: false,
            tls_params: None,
        };
        let info = address.into_connection_info()?;
        let info = info.set_redis_settings(settings);
        Client::build_with_tls(info, credentials.certificates())
    }
}

/// The node that another one names. Without a name, it has the other's.
fn redirect(address: &str, by: &Host) -> Option<Host> {
    let (name, port) = address.rsplit_once(':')?;
    let name = match name {
        "" | "?" => &by.name,
        name => name.trim_start_matches('[').trim_end_matches(']'),
    };
    Some(Host {
        name: name.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_name_has_that_of_the_one_that_names_it() {
        let by = Host {
            name: "a".to_owned(),
            port: 1,
        };
        for (address, expected) in [
            ("b:2", "b:2"),
            (":2", "a:2"),
            ("?:2", "a:2"),
            ("::1:2", "[::1]:2"),
            ("[::1]:2", "[::1]:2"),
        ] {
            assert_eq!(redirect(address, &by).unwrap().to_string(), expected);
        }
        assert_eq!(redirect("b", &by), None);
    }
}
