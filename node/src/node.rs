use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hotswap_common::file::{self, Attempt, FileLock};
use hotswap_protocol::Registration;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::control::{ControlContext, ControlService, Modules, RegistrationClient};
use crate::disk::{ArtifactStore, RecordStore};
use crate::engine_client::EngineClient;
use crate::server::{Shutdown, serve};
use crate::{Error, Runtime, data, process};

/// How long the start waits for modules to load, and the interval at which loading is then
/// retried in the background.
const RESTORE_INTERVAL: Duration = Duration::from_secs(3);

/// How much longer than a request connections may take to end on shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A running node. Dropping it without [`Node::shutdown`] ends it at once.
#[derive(Debug)]
pub struct Node {
    data_addr: SocketAddr,
    control_addr: SocketAddr,
    tasks: TaskTracker,
    shutdown: Shutdown,
    shutdown_timeout: Duration,
    /// Held until the node ends, then free for the next node with this data directory.
    _lock: FileLock,
    _end_on_drop: DropGuard,
}

impl Node {
    /// Starts a node with its own WebAssembly engine. Compiled modules are kept in
    /// `compiled` below its data directory.
    ///
    /// # Errors
    /// The errors of [`Node::start_with`] and [`Runtime::new`].
    pub async fn start(config: Config) -> Result<Self, Error> {
        let compiled = config.data_dir.join("compiled");
        Self::start_with(Runtime::new(&compiled)?, config).await
    }

    /// Starts a node on a runtime that it shares with other nodes of this process.
    ///
    /// When this returns, the node accepts requests and orders, and has loaded the modules
    /// that it ran before, unless that takes longer than 3 seconds. It retries the others in
    /// the background, and reports them in its health.
    ///
    /// # Errors
    /// If a port or the data directory cannot be used, or the engine's URL is not valid.
    pub async fn start_with(runtime: Runtime, config: Config) -> Result<Self, Error> {
        let engine = match &config.engine_url {
            Some(url) => Some(EngineClient::new(url, config.token.clone())?),
            None => None,
        };
        let lock = lock_data_dir(&config)?;
        let data_listener = listen(config.data_addr).await?;
        let control_listener = listen(config.control_addr).await?;
        let data_addr = local_addr(&data_listener)?;
        let control_addr = local_addr(&control_listener)?;

        let tasks = TaskTracker::new();
        let shutdown = Shutdown::default();
        let modules = open_modules(runtime, &config, engine.clone(), tasks.clone())?;
        restore(&modules, &tasks, &shutdown).await;

        let data_service = {
            let routing_table = modules.routing_table().clone();
            move |request| data::handle(routing_table.clone(), request)
        };
        let control_service = {
            let service = ControlService::new(ControlContext {
                id: config.id.clone(),
                boot: random_boot_id(),
                token: config.token.clone(),
                modules: modules.clone(),
            });
            move |request| service.clone().handle(request)
        };
        let limits = config.limits.clone();
        spawn_until_shutdown(
            &tasks,
            &shutdown,
            serve(
                data_listener,
                data_service,
                limits.clone(),
                shutdown.clone(),
                tasks.clone(),
            ),
        );
        spawn_until_shutdown(
            &tasks,
            &shutdown,
            serve(
                control_listener,
                control_service,
                limits,
                shutdown.clone(),
                tasks.clone(),
            ),
        );
        if let Some(engine) = engine {
            let client = RegistrationClient {
                id: config.id.clone(),
                engine,
                registration: registration(&config, data_addr, control_addr),
                modules,
            };
            spawn_until_shutdown(&tasks, &shutdown, client.run());
        }
        tracing::info!(node = %config.id, %data_addr, %control_addr, "node started");
        Ok(Self {
            data_addr,
            control_addr,
            tasks,
            shutdown_timeout: config.limits.request_timeout + SHUTDOWN_GRACE,
            _lock: lock,
            _end_on_drop: shutdown.immediate.clone().drop_guard(),
            shutdown,
        })
    }

    /// Address of the data port.
    #[must_use]
    pub fn data_addr(&self) -> SocketAddr {
        self.data_addr
    }

    /// Address of the control port.
    #[must_use]
    pub fn control_addr(&self) -> SocketAddr {
        self.control_addr
    }

    /// Shuts the node down: accepts no new connections, and waits for requests and orders
    /// under way, at most as long as a request may take. If this is cancelled, the node ends
    /// at once.
    pub async fn shutdown(self) {
        self.shutdown.graceful.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.shutdown_timeout, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(tasks = self.tasks.len(), "aborting requests on shutdown");
            self.shutdown.immediate.cancel();
            // This ends connections. Modules end by their own time limit.
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.wait()).await;
        }
        tracing::info!("node stopped");
    }
}

/// Spawns `work`, which ends at its end or when the node begins to shut down.
fn spawn_until_shutdown(
    tasks: &TaskTracker,
    shutdown: &Shutdown,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = shutdown.graceful.cancelled() => {}
            () = shutdown.immediate.cancelled() => {}
            () = work => {}
        }
    });
}

fn open_modules(
    runtime: Runtime,
    config: &Config,
    engine: Option<EngineClient>,
    tasks: TaskTracker,
) -> Result<Modules, Error> {
    let folder_error = |path: PathBuf| move |source| Error::Folder { path, source };
    let path = config.data_dir.join("artifacts");
    let artifacts = ArtifactStore::open(path.clone(), engine, config.limits.artifact_bytes)
        .map_err(folder_error(path))?;
    let path = config.data_dir.join("modules");
    let records = RecordStore::open(path.clone()).map_err(folder_error(path.clone()))?;
    Modules::open(runtime, artifacts, records, config.limits.clone(), tasks)
        .map_err(folder_error(path))
}

/// Loads the modules that the node ran before, and retries in the background until all are
/// loaded. Waits only for a while: an engine that is down must not delay the start.
async fn restore(modules: &Modules, tasks: &TaskTracker, shutdown: &Shutdown) {
    let (first_attempt, first_attempt_done) = tokio::sync::oneshot::channel();
    let modules = modules.clone();
    spawn_until_shutdown(tasks, shutdown, async move {
        let mut fully_loaded = modules.restore().await;
        // Fails if the start no longer waits.
        let _ = first_attempt.send(());
        while !fully_loaded {
            tokio::time::sleep(RESTORE_INTERVAL).await;
            fully_loaded = modules.restore().await;
        }
    });
    let _ = tokio::time::timeout(RESTORE_INTERVAL, first_attempt_done).await;
}

fn lock_data_dir(config: &Config) -> Result<FileLock, Error> {
    let folder_error = |source| Error::Folder {
        path: config.data_dir.clone(),
        source,
    };
    file::create_private_folder(&config.data_dir).map_err(folder_error)?;
    match FileLock::try_acquire(&config.data_dir.join("lock")) {
        Ok(Attempt::Acquired(lock)) => Ok(lock),
        Ok(Attempt::Held(_)) => Err(Error::DataDirInUse(config.data_dir.clone())),
        Err(source) => Err(folder_error(source)),
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| Error::Listen { addr, source })
}

fn local_addr(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen {
        addr: SocketAddr::from(([0, 0, 0, 0], 0)),
        source,
    })
}

fn registration(config: &Config, data_addr: SocketAddr, control_addr: SocketAddr) -> Registration {
    let url = |addr: SocketAddr| match &config.advertise {
        Some(host) => format!("http://{host}:{}", addr.port()),
        None => format!("http://{addr}"),
    };
    Registration {
        environment: config.environment.to_string(),
        zone: config.zone.clone(),
        labels: config.labels.clone(),
        control_url: url(control_addr),
        data_url: url(data_addr),
        highest_fence: 0,
    }
}

/// A random id for this start of the node. If the system has no randomness, the process id
/// and CPU time distinguish starts.
fn random_boot_id() -> String {
    let number = getrandom::u64()
        .unwrap_or_else(|_| u64::from(std::process::id()) << 32 | process::cpu_millis());
    format!("{number:016x}")
}
