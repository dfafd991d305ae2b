//! `hotswap serve`: one engine, until it is told to stop. Here the floors are put
//! together.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hotswap_api::{Secret, Server, Tokens};
use hotswap_core::SystemClock;
use hotswap_fleet::{HttpFleet, Options, Registry};
use hotswap_plugins::Host;
use hotswap_runner::{Engine, EngineConfig, Environments};
use hotswap_store::{Blobs, Sqlite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::args::{Global, Serve};
use crate::config::Config;
use crate::exit::{Exit, Usage};
use crate::jwt::Jwt;
use crate::settings::{Environ, Token};
use crate::stop::Stop;
use crate::{logs, tokens};

/// The largest artifact that is taken, in bytes; nodes take no larger one either.
const ARTIFACT: u64 = 256 << 20;

/// A running engine with its API.
pub struct Running {
    addr: SocketAddr,
    engine: Engine,
    store: Arc<Sqlite>,
    /// Has the API take no more requests.
    closing: CancellationToken,
    serving: AbortOnDropHandle<()>,
    /// Tells when a node falls silent.
    _watching: AbortOnDropHandle<()>,
}

/// What opens the API, and what nodes and the engine show each other.
#[derive(Debug, Clone)]
pub struct Keys {
    /// For people and their programs.
    pub api: Token,
    /// For nodes.
    pub node: Token,
}

/// Runs an engine until SIGINT or SIGTERM.
///
/// # Errors
/// Where the configuration does not fit, or the engine does not start.
pub async fn run(args: &Serve, global: &Global, environ: &Environ) -> Result<Exit> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let config = Config::read(args, variable)?;
    logs::begin(config.log_format, "info")?;
    let mut stop = Stop::new()?;
    tokens::private_folder(&config.data_dir)?;
    let keys = Keys::resolve(&config, global, environ)?;
    let running = Running::start(&config, &keys).await?;
    let (addr, dir) = (running.addr(), config.data_dir.display());
    tracing::info!(%addr, %dir, "engine ready");
    stop.asked().await;
    tracing::info!("engine stopping");
    // Whoever asks a second time does not want to wait; the journal has what was done.
    tokio::select! {
        () = running.shutdown() => {}
        () = stop.asked() => {}
    }
    Ok(Exit::Success)
}

impl Keys {
    /// Flags, then the environment, then the configuration; on loopback alone they are
    /// made and kept where none are given.
    ///
    /// # Errors
    /// Where others can reach the engine and no token is given, or a file cannot be read.
    pub fn resolve(config: &Config, global: &Global, environ: &Environ) -> Result<Self> {
        let api = match (
            &global.token,
            &global.token_file,
            &environ.token,
            &config.token_file,
        ) {
            (Some(token), ..) => Some(Token::new(token)),
            (None, Some(file), ..) => Some(Token::from_file(file)?),
            (None, None, Some(token), _) => Some(token.clone()),
            (None, None, None, Some(file)) => Some(Token::from_file(file)?),
            (None, None, None, None) => None,
        };
        let node = match (&config.node_token_file, &environ.node_token) {
            (Some(file), _) => Some(Token::from_file(file)?),
            (None, Some(token)) => Some(token.clone()),
            (None, None) => None,
        };
        let made = |given: Option<Token>, name: &str, how: &str| -> Result<Token> {
            match given {
                Some(token) => Ok(token),
                None if config.listen.ip().is_loopback() => {
                    let file = config.data_dir.join(name);
                    let token = tokens::kept(&file)?;
                    tracing::info!(file = %file.display(), "token in a file, for none was given");
                    Ok(token)
                }
                None => {
                    let listen = config.listen;
                    Err(Usage(format!(
                        "others can reach {listen}: give a token of your own with {how}"
                    ))
                    .into())
                }
            }
        };
        Ok(Self {
            api: made(api, "token", "tokenFile, --token-file or HOTSWAP_TOKEN")?,
            node: made(
                node,
                "node-token",
                "nodeTokenFile, --node-token-file or HOTSWAP_NODE_TOKEN",
            )?,
        })
    }
}

impl Running {
    /// Starts an engine, which goes on with every deployment that has not ended.
    ///
    /// # Errors
    /// Where a key cannot be read, the data cannot be opened, or the port is taken.
    pub async fn start(config: &Config, keys: &Keys) -> Result<Self> {
        let jwt = config.jwt.as_ref().map(Jwt::verifier).transpose()?;
        let dir = &config.data_dir;
        let store = Sqlite::open(dir.join("engine.db")).await;
        let store = Arc::new(store.context("cannot open the store")?);
        let blobs = Blobs::open_folder(dir.join("blobs"), ARTIFACT).await;
        let blobs = blobs.context("cannot open the artifacts")?;
        let host = Host::new(hotswap_plugins::Limits::default())?;
        let clock = Arc::new(SystemClock);
        let interval = Registry::DEFAULT_INTERVAL;
        let registry = Registry::load(store.clone(), clock.clone(), interval).await?;
        let watcher = registry.clone();
        let watching = AbortOnDropHandle::new(tokio::spawn(async move { watcher.run().await }));
        let fleet = HttpFleet::new(registry.clone(), keys.node.secret(), Options::default())?;
        let built_in = hotswap_guests::strategies();
        let engine = Engine::start(EngineConfig {
            journal: store.clone(),
            catalogue: store.clone(),
            blobs,
            host,
            registry,
            fleet: Arc::new(fleet),
            environments: Environments::new(config.policies()),
            clock,
            limits: config.limits(),
            built_in: built_in.iter().map(|guest| guest.component).collect(),
        })
        .await?;
        let secret = |token: &Token, name| {
            Secret::strong(token.secret()).with_context(|| format!("the {name} token does not do"))
        };
        let mut api = hotswap_api::Config::new(Tokens {
            api: secret(&keys.api, "API")?,
            node: secret(&keys.node, "node")?,
        });
        api.addr = config.listen;
        api.jwt = jwt;
        api.cors_origins.clone_from(&config.cors_origins);
        let server = Server::bind(api, engine.clone()).await?;
        let addr = server.local_addr();
        let closing = CancellationToken::new();
        let serving = tokio::spawn(server.run(closing.clone().cancelled_owned()));
        Ok(Self {
            addr,
            engine,
            store,
            closing,
            serving: AbortOnDropHandle::new(serving),
            _watching: watching,
        })
    }

    /// Where the API listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers what is being asked, lets go of the deployments, and stops.
    pub async fn shutdown(self) {
        self.closing.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "api ended in disorder");
        }
        self.engine.shutdown().await;
        self.store.close().await;
    }
}
