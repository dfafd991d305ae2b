//! An installation whose nodes report in to nobody: the engine finds them in a registry.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hotswap_plugins::discovery::InstanceHealth;
use hotswap_tests::kube_objects::{Endpoint, PODS, SERVICE, SLICES, discovery_rules, pod, slice};
use hotswap_tests::{
    DiscoveryServer, Installation, KubeApiServer, NameServer, RegistryKind, RegistryServer,
    host_address,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::contents::forget_everything;
use crate::source_feed::SourceFeed;

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Where nodes listen, except those of Kubernetes.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const ENVIRONMENT: &str = "production";

/// The file with the token for Kubernetes.
const TOKEN: &str = "token";

/// One node may die without ending a rollout.
const POLICY: &str = "[environments.production]\ntoleratedFailures = 1\nrevertPatience = \"2s\"\n";

/// Where the nodes of an installation are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundIn {
    Consul,
    /// The test writes the catalogue, as programs do that keep services of other machines there.
    ConsulCatalogue,
    Etcd,
    /// The test writes the keys, without leases, as programs do that know the nodes otherwise.
    EtcdKeys,
    /// etcd 3.5.
    Etcd35,
    /// The test registers pods, as Kubernetes' controllers do.
    Kubernetes,
    /// The test writes the zone.
    Dns,
}

/// A registry, and an installation whose nodes are found there.
pub struct Found {
    pub server: DiscoveryServer,
    pub installation: Installation,
    /// Where the nodes listen.
    ip: IpAddr,
    /// Whether the nodes register themselves.
    is_self_registering: bool,
    /// The ports of the nodes that the test has registered: for orders, and for requests.
    registered: BTreeMap<String, (u16, u16)>,
    folder: TempDir,
}

impl Found {
    /// Starts a registry, an engine and nodes, and waits until the engine has found them.
    pub async fn start(place: FoundIn, nodes: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut found = match place {
            FoundIn::Consul => {
                return Self::consul(nodes, "").await;
            }
            FoundIn::Etcd | FoundIn::Etcd35 => {
                let kind = match place {
                    FoundIn::Etcd => RegistryKind::Etcd,
                    _ => RegistryKind::Etcd35,
                };
                let server = RegistryServer::start(kind).await?;
                Self::self_registering(server, ("etcd", "endpoints"), nodes, "", folder).await?
            }
            FoundIn::ConsulCatalogue => {
                Self::written(RegistryKind::Consul, ("consul", "agents"), folder).await?
            }
            FoundIn::EtcdKeys => {
                Self::written(RegistryKind::Etcd, ("etcd", "endpoints"), folder).await?
            }
            FoundIn::Kubernetes => Self::kubernetes(folder).await?,
            FoundIn::Dns => Self::dns(folder).await?,
        };
        if !found.is_self_registering {
            for number in 1..=nodes {
                found.start_node(&format!("{ENVIRONMENT}-{number}")).await?;
            }
            found.installation.wait_for_nodes(nodes).await?;
        }
        Ok(found)
    }

    /// As [`Self::start`] with Consul, and with these keys of the source.
    pub async fn consul(nodes: usize, keys: &str) -> Result<Self> {
        let server = RegistryServer::start(RegistryKind::Consul).await?;
        Self::self_registering(
            server,
            ("consul", "agents"),
            nodes,
            keys,
            tempfile::tempdir()?,
        )
        .await
    }

    async fn self_registering(
        server: RegistryServer,
        (backend, servers): (&str, &str),
        nodes: usize,
        keys: &str,
        folder: TempDir,
    ) -> Result<Self> {
        let table = source(&server, (backend, servers), keys);
        Ok(Self {
            installation: Installation::start_found(ENVIRONMENT, nodes, POLICY, &table).await?,
            server: DiscoveryServer::Registry(Box::new(server)),
            ip: LOOPBACK,
            is_self_registering: true,
            registered: BTreeMap::new(),
            folder,
        })
    }

    /// A registry into which the test writes the nodes.
    async fn written(
        kind: RegistryKind,
        (backend, servers): (&str, &str),
        folder: TempDir,
    ) -> Result<Self> {
        let server = RegistryServer::start(kind).await?;
        let table = source(&server, (backend, servers), "");
        let started = Installation::start_discovered(ENVIRONMENT, LOOPBACK, POLICY, &table);
        Ok(Self {
            installation: started.await?,
            server: DiscoveryServer::Registry(Box::new(server)),
            ip: LOOPBACK,
            is_self_registering: false,
            registered: BTreeMap::new(),
            folder,
        })
    }

    /// Without `networks`: nodes are where pods would be.
    async fn kubernetes(folder: TempDir) -> Result<Self> {
        let server = KubeApiServer::start().await?;
        let token = folder.path().join(TOKEN);
        std::fs::write(&token, server.account("engine", &discovery_rules()).await?)?;
        let (url, authority, token) = (server.url(), server.authority(), token.display());
        let table = format!(
            "[[discovery]]\nname = \"main\"\nbackend = \"kubernetes\"\norigins = [\"{url}\"]\n\
             caFile = \"{}\"\nsecrets = {{ token = \"{token}\" }}\n\
             [discovery.settings]\napiServers = [\"{url}\"]\n",
            authority.display()
        );
        let ip = host_address()?;
        let started = Installation::start_discovered(ENVIRONMENT, ip, POLICY, &table);
        Ok(Self {
            installation: started.await?,
            server: DiscoveryServer::Kubernetes(Box::new(server)),
            ip,
            is_self_registering: false,
            registered: BTreeMap::new(),
            folder,
        })
    }

    async fn dns(folder: TempDir) -> Result<Self> {
        let server = NameServer::start().await?;
        let name = format!("_{SERVICE}._tcp.{}", NameServer::ZONE);
        let addr = server.addr();
        let table = format!(
            "[[discovery]]\nname = \"main\"\nbackend = \"dns\"\nnames = [\"{name}\"]\n\
             nameServer = \"{addr}\"\nnetworks = [\"127.0.0.0/8\"]\n\
             [discovery.settings]\nname = \"{name}\"\ninterval = \"1s\"\n"
        );
        let started = Installation::start_discovered(ENVIRONMENT, LOOPBACK, POLICY, &table);
        Ok(Self {
            installation: started.await?,
            server: DiscoveryServer::Dns(Box::new(server)),
            ip: LOOPBACK,
            is_self_registering: false,
            registered: BTreeMap::new(),
            folder,
        })
    }

    /// Starts a node, and registers it where it does not do that itself.
    pub async fn start_node(&mut self, id: &str) -> Result<()> {
        self.installation.start_node(id)?;
        if self.is_self_registering {
            return Ok(());
        }
        let ports = self.installation.node_ports(id).await?;
        let is_new = self.registered.insert(id.to_owned(), ports).is_none();
        match &mut self.server {
            DiscoveryServer::Kubernetes(server) if is_new => {
                server.create(PODS, &pod(id)).await?;
                let endpoint = endpoint(id, self.ip, ports, InstanceHealth::Passing);
                server.create(SLICES, &slice(&endpoint)).await?;
                Ok(())
            }
            DiscoveryServer::Kubernetes(server) => {
                let endpoint = endpoint(id, self.ip, ports, InstanceHealth::Passing);
                update_slice(server, &endpoint).await
            }
            DiscoveryServer::Dns(_) | DiscoveryServer::Registry(_) => self.publish_nodes().await,
        }
    }

    /// Writes the nodes of the test into the zone, into Consul's catalogue, or into etcd.
    pub async fn publish_nodes(&mut self) -> Result<()> {
        let ip = self.ip;
        match &mut self.server {
            DiscoveryServer::Dns(server) => {
                let records = self.registered.iter().map(|(id, (control, _))| {
                    format!("_{SERVICE}._tcp SRV 0 1 {control} {id}\n{id} A {ip}\n")
                });
                server.publish(records.collect()).await
            }
            DiscoveryServer::Registry(etcd) if etcd.kind() == RegistryKind::Etcd => {
                for (id, (control, data)) in &self.registered {
                    let ports = json!({ "control": control, "data": data });
                    let instance = json!({ "address": ip, "ports": ports });
                    let entry = json!({
                        "key": BASE64_STANDARD.encode(format!("/hotswap/{SERVICE}/{id}")),
                        "value": BASE64_STANDARD.encode(instance.to_string()),
                    });
                    let path = "/v3/kv/put";
                    etcd.request("POST", path, &entry.to_string()).await?;
                }
                Ok(())
            }
            DiscoveryServer::Registry(consul) => {
                for (id, (control, data)) in &self.registered {
                    // A machine of its own, which no agent has.
                    let entry = json!({
                        "Node": id, "Address": ip,
                        "Service": {
                            "ID": id, "Service": SERVICE, "Port": control, "Meta": {
                                "port-control": control.to_string(),
                                "port-data": data.to_string(),
                            },
                        },
                    });
                    let path = "/v1/catalog/register";
                    consul.request("PUT", path, &entry.to_string()).await?;
                }
                Ok(())
            }
            DiscoveryServer::Kubernetes(_) => bail!("each node has a slice of its own"),
        }
    }

    /// Removes the nodes of the test from there, all at once.
    pub async fn withdraw_nodes(&mut self) -> Result<()> {
        let is_etcd = matches!(
            &self.server,
            DiscoveryServer::Registry(server) if server.kind() == RegistryKind::Etcd
        );
        match &mut self.server {
            DiscoveryServer::Dns(server) => server.publish(String::new()).await,
            server @ DiscoveryServer::Registry(_) if is_etcd => forget_everything(server).await,
            DiscoveryServer::Registry(consul) => {
                let ids = self.registered.keys();
                let removed = ids.map(|id| {
                    let service = json!({ "ID": id, "Service": SERVICE });
                    json!({ "Service": { "Verb": "delete", "Node": id, "Service": service } })
                });
                let all = Value::from_iter(removed).to_string();
                consul.request("PUT", "/v1/txn", &all).await.map(drop)
            }
            DiscoveryServer::Kubernetes(_) => bail!("each node has a slice of its own"),
        }
    }

    /// Kills a node. Kubernetes notices that its pod has died.
    pub async fn kill_node(&mut self, id: &str) -> Result<()> {
        self.installation.kill_node(id).await?;
        if let (DiscoveryServer::Kubernetes(server), Some(&ports)) =
            (&self.server, self.registered.get(id))
        {
            let endpoint = endpoint(id, self.ip, ports, InstanceHealth::Critical);
            update_slice(server, &endpoint).await?;
        }
        Ok(())
    }

    /// Tells a node to stop, and deregisters it where it does not do that itself. It serves on for
    /// its lame-duck time.
    pub async fn ask_node_to_stop(&mut self, id: &str) -> Result<()> {
        self.installation.ask_node_to_stop(id)?;
        match &mut self.server {
            DiscoveryServer::Kubernetes(server) => {
                let path = format!("{SLICES}/{id}");
                server.request("DELETE", &path, "").await?;
            }
            DiscoveryServer::Registry(_) => {}
            DiscoveryServer::Dns(_) => bail!("who owns the zone would remove its records"),
        }
        Ok(())
    }

    /// Gives nodes that are started from now on this lame-duck time.
    pub fn set_lame_duck(&mut self, time: &str) {
        self.installation.add_node_flags(&["--lame-duck", time]);
    }

    /// Kills the registry, and starts it again without its data: Kubernetes knows nothing of the
    /// engine's account, either, until it is made again.
    pub async fn lose_the_store(&mut self) -> Result<()> {
        self.server.kill().await?;
        self.server.restart_empty().await?;
        if let DiscoveryServer::Kubernetes(server) = &self.server {
            let token = server.account("engine", &discovery_rules()).await?;
            std::fs::write(self.folder.path().join(TOKEN), token)?;
        }
        Ok(())
    }

    /// Checks that the nodes, and the nodes of their cluster, name the source where they were found.
    pub async fn check_sources(&self) -> Result<()> {
        let path = format!("/api/v1/clusters/{ENVIRONMENT}");
        let cluster = self.installation.get(&path).await?;
        let of_cluster = cluster["nodes"].as_array().context("no nodes")?.clone();
        let nodes = self.nodes().await?;
        ensure!(
            !nodes.is_empty() && of_cluster.len() == nodes.len(),
            "{cluster:#}"
        );
        for node in nodes.iter().chain(&of_cluster) {
            ensure!(node["source"] == "main", "{node:#}");
        }
        Ok(())
    }

    pub async fn nodes(&self) -> Result<Vec<Value>> {
        let nodes = self.installation.get("/api/v1/nodes").await?;
        Ok(nodes["nodes"].as_array().context("no nodes")?.clone())
    }

    /// Waits until the engine shows the nodes as `is_met` wants them. No event says when a node has
    /// reported.
    pub async fn until_nodes(&self, what: &str, is_met: impl Fn(&[Value]) -> bool) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let nodes = self.nodes().await?;
            if is_met(&nodes) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{what}: {nodes:#?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until each of these nodes runs a version of `hello`.
    pub async fn until_they_run(&self, ids: &[&str], version: &str) -> Result<()> {
        let runs = |nodes: &[Value], id: &str| {
            let node = nodes.iter().find(|node| node["id"] == *id);
            let actual = node.and_then(|node| node["modules"].as_array()?.first());
            actual.is_some_and(|module| module["actual"] == version)
        };
        let what = format!("{ids:?} should run {version}");
        let all_run = |nodes: &[Value]| ids.iter().all(|id| runs(nodes, id));
        self.until_nodes(&what, all_run).await
    }

    async fn begin(&self, version: &str, strategy: &str, config: Value) -> Result<String> {
        let id = self.installation.propose(version, strategy, config).await?;
        self.installation.approve(&id).await?;
        Ok(id)
    }

    pub async fn roll_out(&self, version: &str) -> Result<()> {
        let id = self.begin(version, "direct", json!({})).await?;
        let state = self.installation.wait_for_end(&id).await?;
        ensure!(state["status"] == "succeeded", "{state:#}");
        Ok(())
    }

    /// Begins a canary with two soaks, and waits until its first node has changed.
    pub async fn begin_canary(&self, version: &str, soak: &str) -> Result<String> {
        let config = json!({ "steps": [25, 50], "soak": soak });
        let id = self.begin(version, "canary", config).await?;
        let has_begun = |state: &Value| {
            let mut nodes = state["nodes"].as_array().into_iter().flatten();
            nodes.any(|node| node["phase"] == "active")
        };
        let state = self.installation.wait_for_state(&id, has_begun).await?;
        ensure!(state["endedAt"].is_null(), "{state:#}");
        Ok(id)
    }

    /// The source, as the engine sends its changes.
    pub async fn source(&self) -> Result<SourceFeed> {
        SourceFeed::follow(&self.installation, "main").await
    }
}

/// A source whose nodes listen on this machine, and that has these keys, too.
fn source(server: &RegistryServer, (backend, servers): (&str, &str), keys: &str) -> String {
    let url = server.url();
    format!(
        "[[discovery]]\nname = \"main\"\nbackend = \"{backend}\"\norigins = [\"{url}\"]\n\
         networks = [\"127.0.0.0/8\"]\n{keys}[discovery.settings]\n{servers} = [\"{url}\"]\n"
    )
}

fn endpoint(id: &str, ip: IpAddr, ports: (u16, u16), health: InstanceHealth) -> Endpoint<'_> {
    let (control, data) = ports;
    Endpoint {
        id,
        address: ip.to_string(),
        control,
        data,
        health,
    }
}

async fn update_slice(server: &KubeApiServer, endpoint: &Endpoint<'_>) -> Result<()> {
    let path = format!("{SLICES}/{}", endpoint.id);
    let slice = slice(endpoint).to_string();
    server.request("PUT", &path, &slice).await.map(drop)
}
