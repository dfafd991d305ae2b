//! Starts the sources of nodes that the configuration names, and finds the components of their
//! backends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_common::vital;
use hotswap_core::Clock;
use hotswap_fleet::discovery::{
    Backend, Discovery, SourceRules, Sources, StaticFile, WatchOptions, WatchedSource,
};
use hotswap_fleet::{NodeProber, PollClient, Registry};
use hotswap_plugins::discovery::{
    BackendComponent, BackendSettings, DnsOptions, DnsResolver, Origin, SecretSource,
};
use hotswap_runner::BackendInUse;
use hotswap_runner::discovery::{ComponentBackend, LazyDiscoveryHost};
use hotswap_runner::discovery_backends::uploaded_component;
use hotswap_store::{Blobs, Catalogue};
use hotswap_wasm::CompiledCache;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{DiscoverySource, STATIC};

/// The sources, which watch until this is dropped.
pub struct RunningSources {
    /// The sources, in the order of the configuration.
    pub sources: Sources,
    /// What the configuration says of the sources, by their names.
    pub rules: BTreeMap<String, SourceRules>,
    /// The components that run, by the names of the sources.
    pub components: BTreeMap<String, BackendInUse>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl RunningSources {
    /// Starts the sources. Waits for no registry. `client` asks instances that a source has lost
    /// whether they stop; those that report in have said it to `registry`.
    ///
    /// # Errors
    /// If a component does not load, its settings are invalid, or a secret cannot be read.
    pub async fn start(
        config: &[DiscoverySource],
        clock: &Arc<dyn Clock>,
        components: &Components,
        client: &Arc<PollClient>,
        registry: &Registry,
    ) -> Result<Self> {
        let mut sources: Vec<Arc<dyn Discovery>> = Vec::new();
        let mut tasks = Vec::new();
        let mut rules = BTreeMap::new();
        let mut running = BTreeMap::new();
        for source in config {
            let context = || format!("discovery source '{}'", source.name);
            rules.insert(source.name.clone(), source.rules()?);
            let (kind, backend) = match &source.file {
                Some(file) if source.backend == STATIC => {
                    let backend = StaticFile::new(file, Arc::clone(clock));
                    (STATIC.to_owned(), AnyBackend::Static(backend))
                }
                _ => {
                    let prepared = components.prepare(source).await;
                    let (component, settings) = prepared.with_context(context)?;
                    let in_use = BackendInUse {
                        backend: source.backend.clone(),
                        digest: component.digest(),
                    };
                    running.insert(source.name.clone(), in_use);
                    let kind = component.descriptor().name.clone();
                    let backend = ComponentBackend::new(component, settings, &source.service);
                    (kind, AnyBackend::Component(Box::new(backend)))
                }
            };
            let networks = source.rules()?.networks;
            let prober = NodeProber::new(Arc::clone(client), networks, registry.clone());
            let watched = WatchedSource::new(
                &source.name,
                kind,
                Arc::clone(clock),
                WatchOptions {
                    poll_interval: source.poll_interval.0,
                    service: source.file.is_none().then(|| source.service.clone()),
                    environment: source.environment.clone(),
                    ..WatchOptions::default()
                },
                Some(Arc::new(prober)),
            );
            sources.push(Arc::new(watched.clone()));
            let watch = async move {
                match backend {
                    AnyBackend::Static(backend) => run(watched, backend).await,
                    AnyBackend::Component(backend) => run(watched, *backend).await,
                }
            };
            let task = tokio::spawn(vital("the watch of a source of nodes", watch));
            tasks.push(AbortOnDropHandle::new(task));
        }
        Ok(Self {
            sources: Sources::new(sources),
            rules,
            components: running,
            _tasks: tasks,
        })
    }
}

enum AnyBackend {
    Static(StaticFile),
    Component(Box<ComponentBackend>),
}

async fn run(source: WatchedSource, backend: impl Backend) {
    source.run(backend).await;
}

/// Finds and loads the components of backends: the engine's own, files, and those that were
/// uploaded. Cheap to clone; clones compile a component once between them.
#[derive(Clone, Default)]
pub struct Components {
    host: LazyDiscoveryHost,
    /// Where uploads are kept. `None` without an engine.
    uploads: Option<(Arc<dyn Catalogue>, Blobs)>,
}

impl Components {
    /// Those that are here without a store. Compiled ones are kept in `compiled`.
    pub fn with_compiled(compiled: CompiledCache) -> Self {
        Self {
            host: LazyDiscoveryHost::with_compiled(compiled),
            uploads: None,
        }
    }

    /// Also those that were uploaded to an engine with this store.
    #[must_use]
    pub fn and_uploads(self, catalogue: Arc<dyn Catalogue>, blobs: Blobs) -> Self {
        Self {
            uploads: Some((catalogue, blobs)),
            ..self
        }
    }

    /// What loads them.
    pub fn host(&self) -> LazyDiscoveryHost {
        self.host.clone()
    }

    /// The component of a backend: one of the engine's own, a file, or an upload.
    ///
    /// # Errors
    /// If there is no such backend, or it cannot be read.
    pub async fn read(&self, backend: &str) -> Result<Cow<'static, [u8]>> {
        let own = hotswap_guests::discovery();
        if let Some(guest) = own.iter().find(|guest| guest.name == backend) {
            return Ok(guest.component.into());
        }
        if backend.ends_with(".wasm") {
            let bytes = tokio::fs::read(Path::new(backend)).await;
            let bytes = bytes.with_context(|| format!("cannot read the component {backend}"))?;
            return Ok(bytes.into());
        }
        if let Some((catalogue, blobs)) = &self.uploads {
            let found = uploaded_component(catalogue.as_ref(), blobs, backend).await?;
            if let Some(bytes) = found {
                return Ok(bytes.into());
            }
        }
        let names: Vec<_> = own.iter().map(|guest| guest.name).collect();
        let names = names.join(", ");
        if self.uploads.is_none() {
            bail!(
                "there is no backend '{backend}' here; choose {STATIC}, {names} or the path of a \
                 component, which ends with .wasm. Uploaded ones are in the store of their engine"
            );
        }
        bail!(
            "there is no backend '{backend}'; choose {STATIC}, {names}, the path of a component, \
             which ends with .wasm, or the name or the digest of one that was uploaded: start the \
             engine without this source, and upload it with hotswap discovery upload"
        )
    }

    /// The component of a source, and what its instances are started with.
    ///
    /// # Errors
    /// If the component does not load, its settings are invalid, or a secret cannot be read.
    pub async fn prepare(
        &self,
        source: &DiscoverySource,
    ) -> Result<(BackendComponent, BackendSettings)> {
        let bytes = self.read(&source.backend).await?;
        let component = self.host.get().await?.load(&bytes).await?;
        let settings = settings(source, &component).await?;
        Ok((component, settings))
    }
}

/// What an instance of the backend is started with, all of it checked.
///
/// # Errors
/// If a setting is invalid, or a file cannot be read.
pub async fn settings(
    source: &DiscoverySource,
    component: &BackendComponent,
) -> Result<BackendSettings> {
    let config = component.configure(Some(Value::Object(source.settings.clone())));
    let config = config.context("its settings are invalid")?;
    let mut secrets: BTreeMap<String, SecretSource> = BTreeMap::new();
    for (name, file) in &source.secrets {
        let known = &component.descriptor().secrets;
        ensure!(
            known.iter().any(|secret| secret.name == *name),
            "the backend has no secret '{name}'; it has: {}",
            known
                .iter()
                .map(|secret| secret.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        );
        secrets.insert(name.clone(), SecretSource::from_file(file)?);
    }
    let tls = source.tls_files();
    let origins = source.parse_origins()?;
    if origins.iter().any(Origin::is_tls) {
        tls.check().await?;
    }
    let dns = DnsOptions {
        name_server: source.name_server.clone(),
        ..DnsOptions::default()
    };
    Ok(BackendSettings {
        config: Some(config),
        origins,
        names: source.names.clone(),
        tls,
        secrets,
        resolver: Arc::new(DnsResolver::new(dns)),
        ..BackendSettings::new(&source.name)
    })
}
