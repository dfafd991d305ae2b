//! `hotswap serve`: one engine, until a signal stops it. Starts the engine's crates in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hotswap_api::{Authenticator, Server, Tokens};
use hotswap_common::tls::{ClientTls, Reload, ServerTls, follow};
use hotswap_common::{CurrentSecret, Secret, vital, vital_until_done};
use hotswap_core::{Clock, SystemClock};
use hotswap_fleet::discovery::Polled;
use hotswap_fleet::{HttpFleet, PollClient, Registry};
use hotswap_plugins::Host;
use hotswap_plugins::discovery::InstanceHealth;
use hotswap_runner::discovery::{EngineUrl, PollConfig};
use hotswap_runner::{DiscoveryBackendsConfig, Engine, EngineConfig, Environments};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::args::{Global, Serve};
use crate::config::{Config, Jwt, MetricProvider, STATIC, Telemetry, default_lame_duck};
use crate::discovery::{Components, RunningSources};
use crate::engine_store::EngineStore;
use crate::environment_variables::{EnvironmentVariables, read_variable};
use crate::exit::{Exit, UsageError};
use crate::registrations::{EngineRegistrant, Registrations};
use crate::shutdown::{ReloadSignal, ShutdownSignal};
use crate::{compiled_folder, logging, predecessor, secret_file, settings, telemetry};

mod reload;

/// A running engine with its API.
pub struct RunningEngine {
    addr: SocketAddr,
    engine: Engine,
    store: EngineStore,
    /// The one with which it has started.
    config: Config,
    authenticator: Authenticator,
    node_token: CurrentSecret,
    /// Has certificates read again at once.
    reload_files: Arc<Notify>,
    /// Reads certificates again when they change.
    _files: AbortOnDropHandle<()>,
    /// Reads the metrics of the API.
    metrics: telemetry::ReadMetrics,
    /// Makes the API not ready.
    lame_duck: CancellationToken,
    /// Stops the API from accepting requests.
    api_shutdown: CancellationToken,
    api: AbortOnDropHandle<()>,
    /// Where the engine itself can be found.
    registrations: Registrations,
    /// Watches the registries of the configuration.
    _sources: RunningSources,
    /// Notices nodes whose heartbeats stop.
    _registry: AbortOnDropHandle<()>,
}

/// The tokens that an engine accepts.
#[derive(Debug, Clone)]
pub struct EngineTokens {
    /// For people and their programs.
    pub api: Secret,
    /// For nodes, and for the engine when it calls them.
    pub node: Secret,
}

/// Runs an engine until SIGINT or SIGTERM, and after SIGTERM for its lame-duck time. A second signal
/// waits neither for that nor for a clean shutdown; the journal holds all progress.
///
/// # Errors
/// Where the configuration is invalid, or the engine cannot start.
pub async fn run(args: &Serve, global: &Global, variables: &EnvironmentVariables) -> Result<Exit> {
    let config = Config::read_with(args, &global.tls, read_variable)?;
    logging::init(config.log_format)?;
    let mut exporting = start_telemetry(&config)?;
    let (mut signal, mut reload) = (ShutdownSignal::new()?, ReloadSignal::new()?);
    secret_file::create_private_folder(&config.data_dir)?;
    let tokens = EngineTokens::resolve(&config, global, variables)?;
    let has_stopped = predecessor::wait_until_stopped(&config.data_dir, &EngineStore::LOCKS);
    tokio::select! {
        has_stopped = has_stopped => has_stopped?,
        _ = signal.next() => {
            telemetry::shutdown(exporting).await;
            return Ok(Exit::Success);
        }
    }
    // An unusable key is an error before any file is created.
    let jwt = config.jwt.as_ref().map(Jwt::verifier).transpose()?;
    let store = tokio::select! {
        store = EngineStore::open_when_available(&config) => store?,
        _ = signal.next() => {
            telemetry::shutdown(exporting).await;
            return Ok(Exit::Success);
        }
    };
    let mut running = RunningEngine::start_on(store, &config, &tokens, jwt).await?;
    if let Some(exporting) = &mut exporting {
        exporting.export_metrics(running.metrics());
    }
    let (addr, dir) = (running.addr(), config.data_dir.display());
    tracing::info!(%addr, %dir, "engine ready");
    let stopped_by = loop {
        tokio::select! {
            signal = signal.next() => break signal,
            () = running.api_ended() => {
                bail!("the API has stopped by itself, which is a bug: please report it");
            }
            () = reload.received() => {
                let read = Config::read_with(args, &global.tls, read_variable);
                let reloaded = read.and_then(|config| {
                    let tokens = EngineTokens::resolve(&config, global, variables)?;
                    running.reload(&config, &tokens)
                });
                if let Err(error) = reloaded {
                    let error = format!("{error:#}");
                    tracing::error!(error, "cannot reload; what was in use before stays so");
                }
            }
        }
    };
    let lame_duck = config.lame_duck.map(|span| span.0);
    let lame_duck = lame_duck.unwrap_or_else(|| default_lame_duck(&[config.listen]));
    tokio::select! {
        () = running.stop(stopped_by.lame_duck(lame_duck)) => {}
        () = signal.received() => {}
    }
    telemetry::shutdown(exporting).await;
    Ok(Exit::Success)
}

/// Begins to export the telemetry of the engine.
///
/// # Errors
/// Where a setting is not valid.
pub fn start_telemetry(config: &Config) -> Result<Option<telemetry::Exporting>> {
    let service = telemetry::Service {
        name: "hotswap-engine",
        instance: config.store.engine.clone(),
    };
    let settings = (&Telemetry::default(), &config.telemetry);
    telemetry::start(&service, settings, &config.tls.client_files()?)
}

impl EngineTokens {
    /// Resolves flags, then environment variables, then the configuration. On loopback,
    /// missing tokens are generated and stored in the data folder.
    ///
    /// # Errors
    /// Where a token is missing and other machines can reach the engine, or a file cannot be
    /// read.
    pub fn resolve(
        config: &Config,
        global: &Global,
        variables: &EnvironmentVariables,
    ) -> Result<Self> {
        let api = match settings::token(global, variables.token.as_ref())? {
            Some(token) => Some(token),
            None => read_token_file(config.token_file.as_deref())?,
        };
        let node = match read_token_file(config.node_token_file.as_deref())? {
            Some(token) => Some(token),
            None => variables.node_token.clone(),
        };
        Ok(Self {
            api: match api {
                Some(token) => token,
                None => generate(config, "token", "tokenFile, --token-file or HOTSWAP_TOKEN")?,
            },
            node: match node {
                Some(token) => token,
                None => generate(
                    config,
                    "node-token",
                    "nodeTokenFile, --node-token-file or HOTSWAP_NODE_TOKEN",
                )?,
            },
        })
    }
}

fn read_token_file(file: Option<&Path>) -> Result<Option<Secret>> {
    file.map(secret_file::read).transpose()
}

/// The token in a file of the data folder, generated at the first start. Only on loopback.
fn generate(config: &Config, file_name: &str, sources: &str) -> Result<Secret> {
    if !config.listen.ip().is_loopback() {
        return Err(UsageError(format!(
            "other machines can reach {}: set a token with {sources}",
            config.listen
        ))
        .into());
    }
    let file = config.data_dir.join(file_name);
    let token = secret_file::read_or_create(&file)?;
    tracing::info!(file = %file.display(), "no token configured, using a generated one");
    Ok(token)
}

impl RunningEngine {
    /// Starts an engine. It resumes every deployment that has not ended.
    ///
    /// # Errors
    /// Where a key cannot be read, the data cannot be opened, or the port is taken.
    pub async fn start(config: &Config, tokens: &EngineTokens) -> Result<Self> {
        let jwt = config.jwt.as_ref().map(Jwt::verifier).transpose()?;
        Self::start_on(EngineStore::open(config).await?, config, tokens, jwt).await
    }

    async fn start_on(
        store: EngineStore,
        config: &Config,
        tokens: &EngineTokens,
        jwt: Option<hotswap_api::JwtVerifier>,
    ) -> Result<Self> {
        let compiled = compiled_folder::open(&config.compiled_dir())?;
        let host = Host::with_compiled(hotswap_plugins::Limits::default(), compiled.clone())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let components = Components::with_compiled(compiled)
            .and_uploads(store.catalogue.clone(), store.blobs.clone());
        let interval = Registry::DEFAULT_INTERVAL;
        let registry = Registry::load(store.catalogue.clone(), clock.clone(), interval).await?;
        let registry_task = {
            let registry = registry.clone();
            let run = async move { registry.run().await };
            AbortOnDropHandle::new(tokio::spawn(vital("the registry of nodes", run)))
        };
        let server_tls = config.tls.server_files()?;
        let server_tls = server_tls
            .map(|files| ServerTls::open(files, "the certificate of the API"))
            .transpose()?;
        let node_tls = ClientTls::open(config.tls.client_files()?)?;
        let node_token = CurrentSecret::from(tokens.node.clone());
        let poll_client = PollClient::new(node_token.clone(), &config.nodes.into(), &node_tls)?;
        let poll_client = Arc::new(poll_client);
        let sources = RunningSources::start(
            &config.discovery,
            &clock,
            &components,
            &poll_client,
            &registry,
        )
        .await?;
        let fleet = HttpFleet::with_tls(
            registry.clone(),
            node_token.clone(),
            config.nodes.into(),
            &node_tls,
        )?;
        let (metric_providers, provider_files) =
            MetricProvider::open_all(&config.metric_providers, read_variable)?;
        let built_in = hotswap_guests::strategies();
        let engine = Engine::start(EngineConfig {
            journal: store.journal.clone(),
            environment_journal: store.environment_journal.clone(),
            catalogue: store.catalogue.clone(),
            blobs: store.blobs.clone(),
            host,
            registry,
            fleet: Arc::new(fleet),
            environments: Environments::new(config.policies()).with_selectors(config.selectors()),
            clock,
            limits: hotswap_runner::Limits {
                retention: config.retention.into(),
                expiry: config.nodes.into(),
                ..config.limits.into()
            },
            metric_providers,
            built_in: built_in.iter().map(|guest| guest.component).collect(),
            discovery_backends: DiscoveryBackendsConfig {
                host: components.host(),
                built_in: built_in_backends(),
                in_use: sources.components.clone(),
            },
        })
        .await?;
        let mut api = api_config(config, tokens, jwt)?;
        api.tls.clone_from(&server_tls);
        let polled = Polled::default();
        api.sources = sources.sources.clone();
        api.polled = polled.clone();
        let server = Server::bind(api, engine.clone()).await?;
        let addr = server.local_addr();
        let engine_url = match &config.advertise {
            Some(url) => EngineUrl::Advertised(url.trim_end_matches('/').to_owned()),
            None if server_tls.is_some() => EngineUrl::ListeningWithTls(addr),
            None => EngineUrl::Listening(addr),
        };
        engine.poll_nodes(PollConfig {
            sources: sources.sources.clone(),
            rules: sources.rules.clone(),
            client: poll_client,
            engine_url: engine_url.clone(),
            interval,
            polled,
        });
        let registrant = Arc::new(EngineRegistrant { url: engine_url });
        let passing = InstanceHealth::Passing;
        let registrations =
            Registrations::start(&config.discovery, passing, registrant, &components).await?;
        let reload_files = Arc::new(Notify::new());
        let mut files: Vec<Arc<dyn Reload>> = vec![Arc::new(node_tls)];
        files.extend(server_tls.map(|tls| Arc::new(tls) as Arc<dyn Reload>));
        files.extend(provider_files);
        files.extend(store.files(config));
        let files = tokio::spawn(follow(files, Arc::clone(&reload_files)));
        let (authenticator, lame_duck) = (server.authenticator(), server.lame_duck());
        let metrics: telemetry::ReadMetrics = Arc::new(server.metrics());
        let api_shutdown = CancellationToken::new();
        let api = server.run(api_shutdown.clone().cancelled_owned());
        let api = tokio::spawn(vital_until_done("the API", api));
        Ok(Self {
            addr,
            engine,
            store,
            config: config.clone(),
            authenticator,
            node_token,
            reload_files,
            _files: AbortOnDropHandle::new(files),
            metrics,
            lame_duck,
            api_shutdown,
            api: AbortOnDropHandle::new(api),
            registrations,
            _sources: sources,
            _registry: registry_task,
        })
    }

    /// The address that the API listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until the API ends. It does so only in [`Self::shutdown`].
    async fn api_ended(&mut self) {
        let _ = (&mut self.api).await;
    }

    /// Reads the metrics of the engine, as `/metrics` shows them.
    pub fn metrics(&self) -> telemetry::ReadMetrics {
        Arc::clone(&self.metrics)
    }

    /// Is not ready any more, deregisters, and goes on serving for `lame_duck`. Then shuts down as
    /// [`Self::shutdown`] does.
    pub async fn stop(mut self, lame_duck: Duration) {
        self.lame_duck.cancel();
        if let Err(error) = predecessor::announce_stop(&self.config.data_dir) {
            tracing::warn!(%error, "cannot announce the stop; a successor will not wait for the data folder");
        }
        if lame_duck.is_zero() {
            tracing::info!("engine stopping");
            return self.shutdown().await;
        }
        tracing::info!(
            ?lame_duck,
            "engine stops soon and goes on serving until then"
        );
        let end = tokio::time::Instant::now() + lame_duck;
        self.registrations.stop().await;
        tokio::time::sleep_until(end).await;
        tracing::info!("engine stopping");
        self.shutdown().await;
    }

    /// Deregisters, answers the requests in flight, suspends the deployments and stops.
    pub async fn shutdown(mut self) {
        self.registrations.stop().await;
        self.api_shutdown.cancel();
        if let Err(error) = self.api.await {
            tracing::error!(%error, "api task failed");
        }
        self.engine.shutdown().await;
        self.store.close().await;
    }
}

/// The names that no uploaded backend can have.
fn built_in_backends() -> Vec<String> {
    let guests = hotswap_guests::discovery();
    let names = guests.iter().map(|guest| guest.name).chain([STATIC]);
    names.map(str::to_owned).collect()
}

fn api_config(
    config: &Config,
    tokens: &EngineTokens,
    jwt: Option<hotswap_api::JwtVerifier>,
) -> Result<hotswap_api::Config> {
    let mut api = hotswap_api::Config::new(tokens_of_api(tokens)?);
    api.addr = config.listen;
    api.jwt = jwt;
    api.cors_origins.clone_from(&config.cors_origins);
    api.limits.grace = config.drain.0;
    api.diagnostics.configuration = config.without_secrets();
    api.diagnostics.log = logging::recent();
    Ok(api)
}

fn tokens_of_api(tokens: &EngineTokens) -> Result<Tokens> {
    let secret = |token: &Secret, name| {
        hotswap_api::Secret::strong(token.expose())
            .with_context(|| format!("the {name} token cannot be used"))
    };
    Ok(Tokens {
        api: secret(&tokens.api, "API")?,
        node: secret(&tokens.node, "node")?,
    })
}
