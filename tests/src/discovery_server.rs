use anyhow::{Result, bail};

use crate::kube_apiserver::KubeApiServer;
use crate::name_server::NameServer;
use crate::registry_server::RegistryServer;

/// A real registry of any kind, in which nodes are found.
pub enum DiscoveryServer {
    /// A Consul or an etcd.
    Registry(Box<RegistryServer>),
    /// The API server of a Kubernetes.
    Kubernetes(Box<KubeApiServer>),
    /// A name server.
    Dns(Box<NameServer>),
}

impl DiscoveryServer {
    /// Kills it.
    ///
    /// # Errors
    /// If it is down, or is not gone in time.
    pub async fn kill(&mut self) -> Result<()> {
        match self {
            Self::Registry(server) => server.kill().await,
            Self::Kubernetes(server) => server.kill().await,
            Self::Dns(server) => server.kill().await,
        }
    }

    /// Starts it again on the same ports, and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub async fn restart(&mut self) -> Result<()> {
        match self {
            Self::Registry(server) => server.restart().await,
            Self::Kubernetes(server) => server.restart().await,
            Self::Dns(server) => server.restart().await,
        }
    }

    /// Starts it again without its data, where it has kept some.
    ///
    /// # Errors
    /// If it does not answer in time, or is a name server: that keeps its zone.
    pub async fn restart_empty(&mut self) -> Result<()> {
        match self {
            Self::Registry(server) => server.restart_empty().await,
            Self::Kubernetes(server) => server.restart_empty().await,
            Self::Dns(_) => bail!("it keeps its data"),
        }
    }

    /// Where it answers: a URL, or `host:port` for a name server.
    pub fn url(&self) -> String {
        match self {
            Self::Registry(server) => server.url(),
            Self::Kubernetes(server) => server.url(),
            Self::Dns(server) => server.addr(),
        }
    }

    /// Sends it a request as its administrator, and returns the body of the answer.
    ///
    /// # Errors
    /// If it does not answer with a status 2xx, or is a name server.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> Result<String> {
        match self {
            Self::Registry(server) => server.request(method, path, body).await,
            Self::Kubernetes(server) => Ok(server.request(method, path, body).await?.to_string()),
            Self::Dns(_) => bail!("a name server takes no requests"),
        }
    }
}
