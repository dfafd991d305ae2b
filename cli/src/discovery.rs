//! Starts the sources of nodes that the configuration names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hotswap_core::Clock;
use hotswap_fleet::discovery::{
    Backend, Discovery, SourceRules, Sources, StaticFile, TcpProber, WatchOptions, WatchedSource,
};
use hotswap_plugins::discovery::{
    BackendComponent, BackendLimits, BackendSettings, DiscoveryHost, DnsOptions, DnsResolver,
    Origin, SecretSource,
};
use hotswap_runner::discovery::ComponentBackend;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{DiscoverySource, STATIC};

/// The sources, which watch until this is dropped.
pub struct RunningSources {
    /// The sources, in the order of the configuration.
    pub sources: Sources,
    /// What the configuration says of the sources, by their names.
    pub rules: BTreeMap<String, SourceRules>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl RunningSources {
    /// Starts the sources. Waits for no registry.
    ///
    /// # Errors
    /// If a component does not load, its settings are invalid, or a secret cannot be read.
    pub async fn start(config: &[DiscoverySource], clock: &Arc<dyn Clock>) -> Result<Self> {
        let mut sources: Vec<Arc<dyn Discovery>> = Vec::new();
        let mut tasks = Vec::new();
        let mut rules = BTreeMap::new();
        // Only where there is a component: its threads and its compiler cost memory.
        let mut host = None;
        for source in config {
            let context = || format!("discovery source '{}'", source.name);
            rules.insert(source.name.clone(), source.rules()?);
            let (kind, backend) = match &source.file {
                Some(file) if source.backend == STATIC => {
                    let backend = StaticFile::new(file, Arc::clone(clock));
                    (STATIC.to_owned(), AnyBackend::Static(backend))
                }
                _ => {
                    if host.is_none() {
                        host = Some(DiscoveryHost::new(BackendLimits::default())?);
                    }
                    let host = host.as_ref().context("the host has just started")?;
                    let component = load(host, &source.backend).await.with_context(context)?;
                    let settings = settings(source, &component).await;
                    let settings = settings.with_context(context)?;
                    let kind = component.descriptor().name.clone();
                    let backend = ComponentBackend::new(component, settings, &source.service);
                    (kind, AnyBackend::Component(Box::new(backend)))
                }
            };
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
                Some(Arc::new(TcpProber::default())),
            );
            sources.push(Arc::new(watched.clone()));
            let task = tokio::spawn(async move {
                match backend {
                    AnyBackend::Static(backend) => run(watched, backend).await,
                    AnyBackend::Component(backend) => run(watched, *backend).await,
                }
            });
            tasks.push(AbortOnDropHandle::new(task));
        }
        Ok(Self {
            sources: Sources::new(sources),
            rules,
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

/// The component of a backend: one of the engine's own, or a file.
///
/// # Errors
/// If there is no such backend, or it does not load.
pub async fn load(host: &DiscoveryHost, backend: &str) -> Result<BackendComponent> {
    let own = hotswap_guests::discovery();
    if let Some(guest) = own.iter().find(|guest| guest.name == backend) {
        return Ok(host.load(guest.component).await?);
    }
    let names: Vec<_> = own.iter().map(|guest| guest.name).collect();
    ensure!(
        backend.ends_with(".wasm"),
        "there is no backend '{backend}'; choose {STATIC}, {} or the path of a component, which \
         ends with .wasm",
        names.join(", ")
    );
    let bytes = tokio::fs::read(Path::new(backend)).await;
    let bytes = bytes.with_context(|| format!("cannot read the component {backend}"))?;
    Ok(host.load(&bytes).await?)
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

/// The component of a source, and what its instances are started with.
///
/// # Errors
/// If the component does not load, its settings are invalid, or a secret cannot be read.
pub async fn prepare(
    host: &DiscoveryHost,
    source: &DiscoverySource,
) -> Result<(BackendComponent, BackendSettings)> {
    let component = load(host, &source.backend).await?;
    let settings = settings(source, &component).await?;
    Ok((component, settings))
}
