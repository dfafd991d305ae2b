use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hotswap_common::Secret;
use hotswap_core::{Health, SystemClock};
use hotswap_fleet::discovery::{
    Discovery as _, Error, Instance, Prober, WatchOptions, WatchedSource,
};
use hotswap_plugins::discovery::{
    BackendComponent, BackendInstance, BackendSettings, DnsOptions, DnsResolver, HealthCheck,
    InstanceHealth, Registration, TlsFiles,
};
use hotswap_runner::discovery::{ComponentBackend, Registrar, RegistrarOptions};
pub use hotswap_tests::DiscoveryServer as Server;
pub use hotswap_tests::kube_objects::{SERVICE, discovery_rules as rules};
use hotswap_tests::{
    KubeApiServer, NameServer, RegistryKind, RegistryServer, shared_discovery_host,
};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::writer::Writer;

/// Time limit of each wait. Generous, because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The time in which an instance must report in.
pub const TTL: Duration = Duration::from_secs(10);

/// The time in which a node must report in, as `hotswap node` registers itself.
const NODE_TTL: Duration = Duration::from_secs(30);

/// The shortest time to live. That of the records counts.
const MIN_TTL: Duration = Duration::from_millis(100);

/// A registry, and the component for it.
pub struct Fixture {
    pub server: Server,
    component: BackendComponent,
    settings: BackendSettings,
}

/// A source that watches.
pub struct Watched {
    pub source: WatchedSource,
    _task: AbortOnDropHandle<()>,
}

/// A registration that is kept alive.
pub struct Kept {
    pub failure: watch::Receiver<Option<Error>>,
    stop: oneshot::Sender<()>,
    task: AbortOnDropHandle<Result<(), Error>>,
}

impl Fixture {
    pub async fn start(kind: RegistryKind) -> Result<Self> {
        let server = RegistryServer::start(kind).await?;
        let (component, config) = match kind {
            RegistryKind::Consul | RegistryKind::ConsulWithAcls => {
                (hotswap_guests::CONSUL, json!({ "agents": [server.url()] }))
            }
            RegistryKind::Etcd | RegistryKind::Etcd35 | RegistryKind::EtcdWithJwt => {
                (hotswap_guests::ETCD, json!({ "endpoints": [server.url()] }))
            }
        };
        let settings = BackendSettings {
            config: Some(config),
            origins: vec![server.url().parse()?],
            ..BackendSettings::new("test")
        };
        Self::new(Server::Registry(Box::new(server)), component, settings).await
    }

    /// A Kubernetes, with the token of a service account that may read slices and pods.
    pub async fn kubernetes() -> Result<Self> {
        let server = KubeApiServer::start().await?;
        let token = Secret::new(server.account("hotswap", &rules()).await?);
        let settings = BackendSettings {
            config: Some(json!({ "apiServers": [server.url()] })),
            origins: vec![server.url().parse()?],
            tls: TlsFiles {
                authorities: Some(server.authority()),
                client: None,
            },
            secrets: [("token".to_owned(), token.into())].into(),
            ..BackendSettings::new("test")
        };
        let component = hotswap_guests::KUBERNETES;
        let server = Server::Kubernetes(Box::new(server));
        Self::new(server, component, settings).await
    }

    /// A name server, and the component with these settings.
    pub async fn dns(config: Value) -> Result<Self> {
        let server = NameServer::start().await?;
        let options = DnsOptions {
            name_server: Some(server.addr()),
            min_ttl: MIN_TTL,
            timeout: Duration::from_secs(1),
        };
        let name = config["name"].as_str().context("no name")?.to_owned();
        let settings = BackendSettings {
            config: Some(config),
            names: vec![name],
            resolver: Arc::new(DnsResolver::new(options)),
            ..BackendSettings::new("test")
        };
        let component = hotswap_guests::DNS;
        Self::new(Server::Dns(Box::new(server)), component, settings).await
    }

    async fn new(server: Server, component: &[u8], settings: BackendSettings) -> Result<Self> {
        Ok(Self {
            component: shared_discovery_host()?.load(component).await?,
            server,
            settings,
        })
    }

    /// What changes the registry as nodes do.
    pub async fn writer(&self) -> Result<Writer<'_>> {
        Ok(match &self.server {
            Server::Registry(_) | Server::Dns(_) => {
                Writer::Component(Box::new(self.instance().await?))
            }
            Server::Kubernetes(server) => Writer::Kubernetes(server),
        })
    }

    /// The component, and what it is started with.
    pub fn backend(&self) -> (&BackendComponent, &BackendSettings) {
        (&self.component, &self.settings)
    }

    pub fn settings(&mut self) -> &mut BackendSettings {
        &mut self.settings
    }

    /// Has the component reach the registry by other addresses, in this order.
    pub fn go_through(&mut self, addrs: &[SocketAddr]) -> Result<()> {
        let url = self.server.url();
        let (scheme, _) = url.split_once("://").context("no URL")?;
        let others = addrs.iter().map(|addr| format!("{scheme}://{addr}"));
        let others: Vec<_> = others.collect();
        let origins = others.iter().map(|other| other.parse());
        self.settings.origins = origins.collect::<Result<_, _>>()?;
        let config = self.settings.config.take().context("no settings")?;
        // The only element of a list.
        let own = json!([url]).to_string();
        let config = config.to_string().replace(&own, &json!(others).to_string());
        self.settings.config = Some(serde_json::from_str(&config)?);
        Ok(())
    }

    /// Has the component ask another name server, which may take this long.
    pub fn ask_name_server(&mut self, addr: SocketAddr, timeout: Duration) {
        let options = DnsOptions {
            name_server: Some(addr.to_string()),
            min_ttl: MIN_TTL,
            timeout,
        };
        self.settings.resolver = Arc::new(DnsResolver::new(options));
    }

    /// An instance of the component.
    pub async fn instance(&self) -> Result<BackendInstance> {
        Ok(self.component.start(self.settings.clone()).await?)
    }

    /// Watches the service.
    pub fn watch(&self, prober: Option<Arc<dyn Prober>>) -> Watched {
        let options = WatchOptions {
            poll_interval: Duration::from_secs(60),
            confirm_after: Duration::from_millis(200),
            min_retry: Duration::from_millis(50),
            max_retry: Duration::from_millis(500),
            ..WatchOptions::default()
        };
        let clock = Arc::new(SystemClock);
        let source = WatchedSource::new("test", "component", clock, options, prober);
        let component = self.component.clone();
        let backend = ComponentBackend::new(component, self.settings.clone(), SERVICE);
        Watched::run(source, backend)
    }

    /// Keeps an instance registered.
    pub fn keep(&self, id: &str) -> Kept {
        let options = RegistrarOptions {
            interval: Duration::from_millis(500),
            min_retry: Duration::from_millis(50),
            max_retry: Duration::from_millis(500),
            ..RegistrarOptions::for_ttl(TTL)
        };
        let (component, settings) = (self.component.clone(), self.settings.clone());
        let clock = Arc::new(SystemClock);
        Kept::run(Registrar::new(
            component,
            settings,
            registration(id),
            clock,
            options,
        ))
    }

    /// Keeps an instance registered with the times of a node, and reports this health.
    pub fn keep_as_a_node(&self, id: &str, health: watch::Receiver<InstanceHealth>) -> Kept {
        let registration = Registration {
            check: Some(HealthCheck::Ttl(NODE_TTL.as_millis() as u64)),
            ..registration(id)
        };
        let (component, settings) = (self.component.clone(), self.settings.clone());
        let (clock, options) = (Arc::new(SystemClock), RegistrarOptions::for_ttl(NODE_TTL));
        let registrar = Registrar::new(component, settings, registration, clock, options);
        Kept::run(registrar.with_health(health))
    }
}

impl Kept {
    fn run(registrar: Registrar) -> Self {
        let failure = registrar.failure();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(registrar.run(async move {
            let _ = stopped.await;
        }));
        Self {
            failure,
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Stops, and waits until the instance is deregistered.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        Ok(timeout(TIMEOUT, self.task).await???)
    }
}

impl Watched {
    /// Has a source watch until this is dropped.
    pub fn run(source: WatchedSource, backend: ComponentBackend) -> Self {
        let running = source.clone();
        let task = tokio::spawn(async move { running.run(backend).await });
        Self {
            source,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Waits until the source is as `is_met` wants it. Returns how long that took.
    pub async fn until(
        &self,
        what: &str,
        is_met: impl Fn(&WatchedSource) -> bool,
    ) -> Result<Duration> {
        let started = Instant::now();
        let mut changes = self.source.changes();
        let met = timeout(TIMEOUT, async {
            while !is_met(&self.source) {
                // Ages and texts change without a change of the view.
                let _ = timeout(Duration::from_millis(100), changes.changed()).await;
            }
        });
        met.await
            .with_context(|| format!("{what}: {:?} {:?}", self.ids(), self.source.state()))?;
        Ok(started.elapsed())
    }

    pub async fn until_ids(&self, ids: &[&str]) -> Result<Duration> {
        self.until(&format!("waited for {ids:?}"), |_| self.ids() == ids)
            .await
    }

    /// Waits until the registry says this of the health of an instance. Returns how long that took.
    pub async fn until_health(&self, id: &str, health: Health) -> Result<Duration> {
        let has_it = |_: &WatchedSource| self.get(id).is_some_and(|found| found.health == health);
        self.until(&format!("{id} is {health:?}"), has_it).await
    }

    pub fn ids(&self) -> Vec<String> {
        let instances = self.source.instances();
        instances.iter().map(|it| it.id.to_string()).collect()
    }

    pub fn get(&self, id: &str) -> Option<Arc<Instance>> {
        let mut instances = self.source.instances().into_iter();
        instances.find(|instance| instance.id.as_str() == id)
    }
}

/// A node, as it would register.
pub fn registration(id: &str) -> Registration {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let ports = [("control", 5001), ("data", 8080)];
    Registration {
        version: Some("0.1.0".to_owned()),
        zone: Some("eu".to_owned()),
        metadata: vec![
            pair("environment", "production"),
            pair("hotswap.dev/tier", "edge"),
        ],
        check: Some(HealthCheck::Ttl(TTL.as_millis() as u64)),
        deregister_after: Some(600_000),
        ..hotswap_plugins::discovery::registration(SERVICE, id, "10.0.0.1", &ports)
    }
}
