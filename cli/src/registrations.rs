//! Registers this program in the registries of the configuration, so that others find it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use hotswap_common::Backoff;
use hotswap_core::{Clock, SystemClock};
use hotswap_node::{Locator, Node};
use hotswap_plugins::discovery::{
    BackendSettings, HealthCheck, InstanceHealth, Registration, registration,
};
use hotswap_runner::discovery::{EngineUrl, Registrar, RegistrarOptions};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{DiscoverySource, STATIC};
use crate::discovery::Components;

/// The service that an engine registers as.
const ENGINE_SERVICE: &str = "distributed-kernel-orchestrator";

/// An instance that does not report in for this long is critical.
const TTL: Duration = Duration::from_secs(30);

/// A registry forgets an instance that was critical for this long.
const DEREGISTER_AFTER: Duration = Duration::from_secs(600);

/// How long a registry may take to answer one call, within the time-outs of the registrar.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const MIN_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// Registrations, which are kept alive until [`Self::stop`].
pub struct Registrations {
    health: watch::Sender<InstanceHealth>,
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// What is registered. Where it is reached may depend on who asks.
#[async_trait]
pub trait Registrant: Send + Sync + 'static {
    /// How it wants to be found in the registry at `peer`, which is `host:port`.
    ///
    /// # Errors
    /// If it is not known how others reach it.
    async fn registration(&self, service: &str, peer: &str) -> Result<Registration>;

    /// The service that it is an instance of, as the source configures it for nodes.
    fn service(&self, source: &DiscoverySource) -> String;
}

impl Registrations {
    /// Registers in each source that has `register` set and can register. Waits for no registry.
    ///
    /// # Errors
    /// If a component does not load, its settings are invalid, or a secret cannot be read.
    pub async fn start(
        sources: &[DiscoverySource],
        health: InstanceHealth,
        registrant: Arc<dyn Registrant>,
        components: &Components,
    ) -> Result<Self> {
        let (health, stop) = (watch::Sender::new(health), CancellationToken::new());
        let mut tasks = Vec::new();
        let is_registrable = |it: &&DiscoverySource| it.register && it.backend != STATIC;
        for source in sources.iter().filter(is_registrable) {
            let context = || format!("discovery source '{}'", source.name);
            let prepared = components.prepare(source).await;
            let (component, settings) = prepared.with_context(context)?;
            let settings = BackendSettings {
                call_timeout: Some(CALL_TIMEOUT),
                ..settings
            };
            if !component.descriptor().can_register {
                continue;
            }
            let peer = peer(source).with_context(context)?;
            let (registrant, service) = (Arc::clone(&registrant), registrant.service(source));
            let (health, stop) = (health.subscribe(), stop.clone());
            let name = source.name.clone();
            let work = async move {
                let located = locate(registrant.as_ref(), &name, &service, &peer);
                let Some(registration) = stop.run_until_cancelled(located).await else {
                    return;
                };
                let registrar = Registrar::new(
                    component,
                    settings,
                    registration,
                    Arc::new(SystemClock),
                    RegistrarOptions::for_ttl(TTL),
                );
                let registrar = registrar.with_health(health);
                if let Err(error) = registrar.run(stop.cancelled_owned()).await {
                    tracing::warn!(source = name, %error, "cannot deregister; the registration expires");
                }
            };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(work)));
        }
        Ok(Self {
            health,
            stop,
            tasks,
        })
    }

    /// Reports whether the program can do its work. A change is reported at once.
    pub fn report(&self, health: InstanceHealth) {
        self.health.send_if_modified(|now| {
            let is_new = *now != health;
            *now = health;
            is_new
        });
    }

    /// Deregisters everywhere, and waits for that, some seconds at most. What a registry does not
    /// hear of expires there. Does nothing the second time.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            // One that has panicked has said so.
            let _ = task.await;
        }
    }
}

/// Finds out how others reach the registrant. The name of the registry may not resolve yet.
async fn locate(
    registrant: &dyn Registrant,
    source: &str,
    service: &str,
    peer: &str,
) -> Registration {
    let mut backoff = Backoff::new(MIN_RETRY, MAX_RETRY);
    let mut is_told = false;
    loop {
        match registrant.registration(service, peer).await {
            Ok(registration) => return registration,
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    let error = format!("{error:#}");
                    tracing::warn!(source, error, "cannot register yet, trying again");
                }
            }
        }
        let clock = SystemClock;
        clock
            .sleep_until(clock.instant() + backoff.next_delay())
            .await;
    }
}

/// The first server of a registry, as `host:port`.
fn peer(source: &DiscoverySource) -> Result<String> {
    let origin = source.origins.first().context("it has no origins")?;
    let url = reqwest::Url::parse(origin).context("origins")?;
    let host = url.host_str().context("origins: there is no host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    Ok(format!("{host}:{port}"))
}

/// A registration that reports in.
fn reporting(service: &str, id: &str, host: &str, ports: &[(&str, u16)]) -> Registration {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    Registration {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        check: Some(HealthCheck::Ttl(millis(TTL))),
        deregister_after: Some(millis(DEREGISTER_AFTER)),
        ..registration(service, id, address, ports)
    }
}

/// A node that registers itself.
pub struct NodeRegistrant {
    id: String,
    /// Where others reach it, with the ports for orders and for requests. `None` before it listens.
    location: Option<(Locator, u16, u16)>,
    zone: Option<String>,
    /// Its labels, and its environment.
    metadata: BTreeMap<String, String>,
}

impl NodeRegistrant {
    /// A node with this configuration.
    pub fn of(config: &hotswap_node::Config) -> Self {
        let mut metadata = config.labels.clone();
        if let Some(environment) = &config.environment {
            metadata.insert("environment".to_owned(), environment.to_string());
        }
        Self {
            id: config.id.to_string(),
            location: None,
            zone: config.zone.clone(),
            metadata,
        }
    }

    /// The node has started.
    pub fn listens_on(&mut self, node: &Node) {
        let ports = (node.control_addr().port(), node.data_addr().port());
        self.location = Some((node.locator(), ports.0, ports.1));
    }
}

#[async_trait]
impl Registrant for NodeRegistrant {
    async fn registration(&self, service: &str, peer: &str) -> Result<Registration> {
        let location = self.location.as_ref();
        let (locator, control, data) = location.context("the node has not started")?;
        let host = locator.host_towards(peer).await?;
        let ports = [("control", *control), ("data", *data)];
        let mut metadata = self.metadata.clone();
        if locator.has_tls() {
            metadata.insert("scheme".to_owned(), "https".to_owned());
        }
        Ok(Registration {
            zone: self.zone.clone(),
            metadata: metadata.into_iter().collect(),
            ..reporting(service, &self.id, &host, &ports)
        })
    }

    fn service(&self, source: &DiscoverySource) -> String {
        source.service.clone()
    }
}

/// An engine that registers itself.
pub struct EngineRegistrant {
    /// Where others reach it.
    pub url: EngineUrl,
}

#[async_trait]
impl Registrant for EngineRegistrant {
    async fn registration(&self, service: &str, peer: &str) -> Result<Registration> {
        let mut found = tokio::net::lookup_host(peer).await?;
        let peer: SocketAddr = found.next().context("the registry has no address")?;
        let url = self.url.towards(peer)?;
        let parsed = reqwest::Url::parse(&url)?;
        let host = parsed.host_str().context("the engine's URL has no host")?;
        let port = parsed.port_or_known_default().unwrap_or(80);
        let mut registration =
            reporting(service, &format!("{host}:{port}"), host, &[("api", port)]);
        let health = format!("{}/health/ready", url.trim_end_matches('/'));
        registration.metadata = vec![
            ("health".to_owned(), health),
            ("url".to_owned(), url.clone()),
        ];
        Ok(registration)
    }

    fn service(&self, _: &DiscoverySource) -> String {
        ENGINE_SERVICE.to_owned()
    }
}

/// The registries that a node registers in, from a file with the tables `[[discovery]]` of the
/// engine's configuration.
///
/// # Errors
/// If the file cannot be read, or a table is invalid.
pub fn read_node_sources(file: &Path) -> Result<Vec<DiscoverySource>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        discovery: Vec<DiscoverySource>,
    }
    let shown = file.display();
    if !file.is_file() {
        bail!("there is no file {shown}; --discovery takes a file with [[discovery]] tables");
    }
    let read: Result<File, _> = Figment::from(Toml::file_exact(file)).extract();
    let read = read.map_err(|error| {
        // An error repeats the value, which may be megabytes long.
        let text: String = error.to_string().chars().take(400).collect();
        anyhow::anyhow!(text).context(format!("{shown} is invalid"))
    })?;
    DiscoverySource::check_all(&read.discovery).with_context(|| format!("{shown} is invalid"))?;
    let is_useful = |it: &DiscoverySource| it.register && it.backend != STATIC;
    ensure!(
        read.discovery.iter().any(is_useful),
        "{shown} names no registry that a node can register in; add a [[discovery]] table with the \
         backend consul or etcd, or start the node with --discovered if others register it"
    );
    Ok(read.discovery)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<DiscoverySource>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        std::fs::write(&file, text).unwrap();
        read_node_sources(&file).map_err(|error| format!("{error:#}"))
    }

    const CONSUL: &str =
        "[[discovery]]\nname = \"main\"\nbackend = \"consul\"\norigins = [\"http://c:8500\"]\n";

    #[test]
    fn a_node_reads_the_tables_that_an_engine_reads() {
        let sources = read(CONSUL).unwrap();
        assert_eq!(sources[0].name, "main");
        assert_eq!(peer(&sources[0]).unwrap(), "c:8500");
    }

    #[test]
    fn a_file_that_registers_nowhere_is_refused() {
        let list = "[[discovery]]\nname = \"a\"\nbackend = \"static\"\nfile = \"x\"\n";
        let off = format!("{CONSUL}register = false\n");
        for (text, reason) in [
            ("", "names no registry"),
            (list, "names no registry"),
            (&*off, "names no registry"),
            ("listen = \"127.0.0.1:1\"", "listen"),
            (
                "[[discovery]]\nname = \"a\"\nbackend = \"consul\"\n",
                "origins is empty",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let missing = read_node_sources(Path::new("missing.toml")).unwrap_err();
        assert!(missing.to_string().contains("missing.toml"), "{missing}");
    }

    #[tokio::test]
    async fn an_engine_registers_with_the_url_of_its_health() {
        let engine = EngineRegistrant {
            url: EngineUrl::Listening("0.0.0.0:5000".parse().unwrap()),
        };
        let found = engine.registration(ENGINE_SERVICE, "127.0.0.1:8500").await;
        let found = found.unwrap();
        assert_eq!(
            (&*found.id, &*found.address),
            ("127.0.0.1:5000", "127.0.0.1")
        );
        assert_eq!(found.service, "distributed-kernel-orchestrator");
        let health = "http://127.0.0.1:5000/health/ready".to_owned();
        assert_eq!(found.metadata[0], ("health".to_owned(), health));
    }
}
