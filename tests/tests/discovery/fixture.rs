use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hotswap_common::Secret;
use hotswap_core::SystemClock;
use hotswap_fleet::discovery::{
    Discovery as _, Error, Instance, Prober, WatchOptions, WatchedSource,
};
use hotswap_plugins::discovery::{
    BackendComponent, BackendInstance, BackendLimits, BackendSettings, DiscoveryHost, HealthCheck,
    Port, Registration, TlsFiles,
};
use hotswap_runner::discovery::{ComponentBackend, Registrar, RegistrarOptions};
use hotswap_tests::{KubeApiServer, RegistryKind, RegistryServer};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::writer::Writer;

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time in which an instance must report in.
pub const TTL: Duration = Duration::from_secs(10);

/// The service of the tests.
pub const SERVICE: &str = "hotswap-node";

/// A registry, and the component for it.
pub struct Fixture {
    pub server: Server,
    component: BackendComponent,
    settings: BackendSettings,
}

/// A registry of a test.
pub enum Server {
    Registry(Box<RegistryServer>),
    Kubernetes(Box<KubeApiServer>),
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
            RegistryKind::Etcd | RegistryKind::Etcd35 => {
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
        let rules = json!([
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
              "verbs": ["list", "watch"] },
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] },
        ]);
        let token = Secret::new(server.account("hotswap", &rules).await?);
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

    async fn new(server: Server, component: &[u8], settings: BackendSettings) -> Result<Self> {
        let host = DiscoveryHost::new(BackendLimits::default())?;
        Ok(Self {
            component: host.load(component).await?,
            server,
            settings,
        })
    }

    /// What changes the registry as nodes do.
    pub async fn writer(&self) -> Result<Writer<'_>> {
        Ok(match &self.server {
            Server::Registry(_) => Writer::Component(Box::new(self.instance().await?)),
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
        let running = source.clone();
        let task = tokio::spawn(async move { running.run(backend).await });
        Watched {
            source,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Keeps an instance registered.
    pub fn keep(&self, id: &str) -> Kept {
        let options = RegistrarOptions {
            interval: Duration::from_millis(500),
            min_retry: Duration::from_millis(50),
            max_retry: Duration::from_millis(500),
            ..RegistrarOptions::for_ttl(TTL)
        };
        let registrar = Registrar::new(
            self.component.clone(),
            self.settings.clone(),
            registration(id),
            Arc::new(SystemClock),
            options,
        );
        let failure = registrar.failure();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(registrar.run(async move {
            let _ = stopped.await;
        }));
        Kept {
            failure,
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }
}

impl Server {
    pub async fn kill(&mut self) -> Result<()> {
        match self {
            Self::Registry(server) => server.kill().await,
            Self::Kubernetes(server) => server.kill().await,
        }
    }

    pub async fn restart(&mut self) -> Result<()> {
        match self {
            Self::Registry(server) => server.restart().await,
            Self::Kubernetes(server) => server.restart().await,
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Registry(server) => server.url(),
            Self::Kubernetes(server) => server.url(),
        }
    }

    /// Sends it a request as its administrator.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> Result<String> {
        match self {
            Self::Registry(server) => server.request(method, path, body).await,
            Self::Kubernetes(server) => Ok(server.request(method, path, body).await?.to_string()),
        }
    }
}

impl Watched {
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

    pub fn ids(&self) -> Vec<String> {
        let instances = self.source.instances();
        instances.iter().map(|it| it.id.to_string()).collect()
    }

    pub fn get(&self, id: &str) -> Option<Arc<Instance>> {
        let mut instances = self.source.instances().into_iter();
        instances.find(|instance| instance.id.as_str() == id)
    }
}

impl Kept {
    /// Stops, and waits until the instance is deregistered.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        Ok(timeout(TIMEOUT, self.task).await???)
    }
}

/// A node, as it would register.
pub fn registration(id: &str) -> Registration {
    let port = |name: &str, number| Port {
        name: name.to_owned(),
        number,
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Registration {
        id: id.to_owned(),
        service: SERVICE.to_owned(),
        address: "10.0.0.1".to_owned(),
        ports: vec![port("control", 5001), port("data", 8080)],
        version: Some("0.1.0".to_owned()),
        zone: Some("eu".to_owned()),
        metadata: vec![
            pair("environment", "production"),
            pair("hotswap.dev/tier", "edge"),
        ],
        check: Some(HealthCheck::Ttl(TTL.as_millis() as u64)),
        deregister_after: Some(600_000),
    }
}
