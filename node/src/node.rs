use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hotswap_common::file::{self, Attempt, FileLock};
use hotswap_common::tls::ServerTls;
use hotswap_common::{Backoff, CurrentSecret, Secret, Stopping, vital_until_done};
use hotswap_protocol::Registration;
use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode, Version};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::addresses::{Addresses, Locator};
use crate::config::Config;
use crate::control::{
    ControlContext, ControlService, Modules, RegistrationClient, Reporter, metrics_text,
};
use crate::current_engine::CurrentEngine;
use crate::data::ResponseBody;
use crate::disk::{ArtifactStore, RecordStore, StartRecord, read_instance_key};
use crate::problem::{problem, problem_response};
use crate::server::{Port, serve};
use crate::{Error, Runtime, data, process};

/// How long the start waits for modules to load.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(3);

/// Delays between attempts to load, in the background, what could not be loaded.
const MIN_RESTORE_DELAY: Duration = Duration::from_secs(1);
const MAX_RESTORE_DELAY: Duration = Duration::from_secs(30);

/// The path on the data port that says whether clients may be sent to the node. No module has
/// a name like this, and none sees requests to it.
const READY_PATH: &str = "/.hotswap/ready";

/// How much longer than a request connections may take to end on shutdown, and how long what is
/// ended by force may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A running node. Dropping it without [`Node::shutdown`] ends it at once.
#[derive(Debug)]
pub struct Node {
    data_addr: SocketAddr,
    control_addr: SocketAddr,
    tasks: TaskTracker,
    stopping: Stopping,
    drain: Duration,
    /// `None` if the node has no engine.
    registration: Option<RegistrationClient>,
    addresses: Addresses,
    modules: Modules,
    starts: StartRecord,
    token: CurrentSecret,
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
    /// the background, and reports them in its health. It registers in the background.
    ///
    /// # Errors
    /// If a port or the data directory cannot be used, or the engine's URL or the advertised
    /// host is not valid.
    // Boxed, and so compiled in this crate, not again in every program that starts a node.
    pub fn start_with(runtime: Runtime, config: Config) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(Self::assemble(runtime, config))
    }

    async fn assemble(runtime: Runtime, config: Config) -> Result<Self, Error> {
        let url = config.engine_url.as_deref();
        let token = CurrentSecret::from(config.token.clone());
        let engine = CurrentEngine::new(url, token.clone(), config.engine_tls.clone())?;
        let lock = lock_data_dir(&config)?;
        let data_listener = listen(config.data_addr).await?;
        let control_listener = listen(config.control_addr).await?;
        let data_addr = local_addr(&data_listener)?;
        let control_addr = local_addr(&control_listener)?;

        let boot = random_boot_id();
        let path = config.data_dir.join("starts.json");
        let starts = StartRecord::begin(path).map_err(|source| Error::Folder {
            path: config.data_dir.clone(),
            source,
        })?;

        let tasks = TaskTracker::new();
        let stopping = Stopping::default();
        let crashes = starts.starts().crashes;
        let modules = open_modules(runtime, &config, engine.clone(), &tasks, &stopping, crashes)?;
        let configured = engine.configured().cloned();
        let addresses = Addresses::new(
            config.advertise.clone(),
            data_addr,
            control_addr,
            (configured.as_ref()).map(|engine| engine.host_and_port().to_owned()),
        )?
        .with_tls(config.tls.is_some());
        let reporter = Reporter {
            registration: registration(&config, &boot)?.into(),
            modules: modules.clone(),
        };
        if configured.is_none() && !config.is_discovered {
            modules.tell_desired(None, None);
        }
        let registration = configured.map(|engine| RegistrationClient {
            id: config.id.clone(),
            engine,
            addresses: addresses.clone(),
            reporter: reporter.clone(),
        });
        restore(&modules, &tasks, &stopping).await;

        let data_service = {
            let (routing_table, modules) = (modules.routing_table().clone(), modules.clone());
            move |request: hyper::Request<_>, _: SocketAddr| {
                let ready = (request.uri().path() == READY_PATH).then(|| readiness(&modules));
                let is_http1 = request.version() <= Version::HTTP_11;
                let (routing_table, modules) = (routing_table.clone(), modules.clone());
                async move {
                    let mut response = match ready {
                        Some(response) => response,
                        None => data::handle(routing_table, modules.rejected(), request).await,
                    };
                    // The client's next request goes to another node, before the port closes.
                    if is_http1 && modules.is_stopping() {
                        let close = HeaderValue::from_static("close");
                        response.headers_mut().insert(CONNECTION, close);
                    }
                    response
                }
            }
        };
        let rejected = modules.rejected().clone();
        let control_service = {
            let service = ControlService::new(ControlContext {
                id: config.id.clone(),
                boot,
                starts: starts.starts(),
                token: token.clone(),
                wants_certificate: config
                    .tls
                    .as_ref()
                    .is_some_and(ServerTls::asks_for_certificates),
                modules: modules.clone(),
                reporter,
                addresses: addresses.clone(),
                engine,
                synthetic: Arc::default(),
                log: config.log.clone(),
            });
            move |request, local| service.clone().handle(request, local)
        };
        let limits = config.limits.clone();
        let port = |listener| Port {
            listener,
            tls: config.tls.clone(),
        };
        spawn_until_shutdown(
            "the data port",
            &tasks,
            &stopping,
            serve(
                port(data_listener),
                data_service,
                move || rejected.count_malformed(),
                limits.clone(),
                stopping.clone(),
                tasks.clone(),
            ),
        );
        spawn_until_shutdown(
            "the control port",
            &tasks,
            &stopping,
            serve(
                port(control_listener),
                control_service,
                || {},
                limits,
                stopping.clone(),
                tasks.clone(),
            ),
        );
        if let Some(client) = &registration {
            let run = client.clone().run();
            spawn_until_shutdown("the registration", &tasks, &stopping, run);
        }
        tracing::info!(node = %config.id, %data_addr, %control_addr, "node started");
        Ok(Self {
            data_addr,
            control_addr,
            tasks,
            drain: config
                .drain
                .unwrap_or(config.limits.request_timeout + SHUTDOWN_GRACE),
            registration,
            addresses,
            modules,
            starts,
            token,
            _lock: lock,
            _end_on_drop: stopping.immediate.clone().drop_guard(),
            stopping,
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

    /// Reads all metrics of this node, as `/metrics` shows them.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let modules = self.modules.clone();
        move || metrics_text(&modules)
    }

    /// Finds out where others reach this node.
    #[must_use]
    pub fn locator(&self) -> Locator {
        Locator(self.addresses.clone())
    }

    /// Replaces the token that the node shares with its engine, for both directions.
    pub fn replace_token(&self, token: Secret) {
        self.token.replace(token);
    }

    /// Makes the node not ready from now on, and goes on serving: until [`Node::shutdown`] those
    /// who follow its readiness have time to send requests elsewhere. Responses of HTTP/1 end their
    /// connections, and clients of HTTP/2 are told to open others.
    pub fn begin_lame_duck(&self) {
        self.modules.tell_stopping();
        self.stopping.lame_duck.cancel();
    }

    /// Checks that clients may be sent to the node: it runs what it should, is not drained, and
    /// is not about to stop.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn check_ready(&self) -> Result<(), String> {
        self.modules.check_ready()
    }

    /// Shuts the node down: tells the engine, accepts no new connections, and waits for
    /// requests and orders under way, for [`Config::drain`] at most. An order that
    /// loads a version ends; what has arrived of it is there after the next start. If this is
    /// cancelled, the node ends at once.
    pub async fn shutdown(self) {
        self.begin_lame_duck();
        self.stopping.graceful.cancel();
        self.tasks.close();
        if let Some(client) = &self.registration {
            client.report_stop().await;
        }
        if tokio::time::timeout(self.drain, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(tasks = self.tasks.len(), "aborting requests on shutdown");
            self.stopping.immediate.cancel();
            // This ends connections. Modules end by their own time limit.
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.tasks.wait()).await;
        }
        self.starts.end();
        tracing::info!("node stopped");
    }
}

/// Spawns `work`, which ends at its end or when the node begins to shut down. Without it the node
/// would be of no use: the process is aborted where it panics.
fn spawn_until_shutdown(
    name: &'static str,
    tasks: &TaskTracker,
    stopping: &Stopping,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let stopping = stopping.clone();
    let work = vital_until_done(name, work);
    tasks.spawn(async move {
        tokio::select! {
            () = stopping.graceful.cancelled() => {}
            () = stopping.immediate.cancelled() => {}
            () = work => {}
        }
    });
}

fn open_modules(
    runtime: Runtime,
    config: &Config,
    engine: CurrentEngine,
    tasks: &TaskTracker,
    stopping: &Stopping,
    crashes: u64,
) -> Result<Modules, Error> {
    let folder_error = |path: PathBuf| move |source| Error::Folder { path, source };
    let path = config.data_dir.join("artifacts");
    let artifacts = ArtifactStore::open(path.clone(), engine, config.limits.artifact_bytes)
        .map_err(folder_error(path))?;
    let path = config.data_dir.join("modules");
    let records = RecordStore::open(path.clone()).map_err(folder_error(path.clone()))?;
    let (limits, tasks) = (config.limits.clone(), tasks.clone());
    let stopping = stopping.graceful.clone();
    let modules = Modules::open(
        runtime, artifacts, records, limits, tasks, stopping, crashes,
    );
    modules.map_err(folder_error(path))
}

/// Loads the modules that the node ran before, and retries in the background until all are
/// loaded. Waits only for a while: an engine that is down must not delay the start.
async fn restore(modules: &Modules, tasks: &TaskTracker, stopping: &Stopping) {
    let (first_attempt, first_attempt_done) = tokio::sync::oneshot::channel();
    let modules = modules.clone();
    spawn_until_shutdown("the restart of modules", tasks, stopping, async move {
        let mut fully_loaded = restore_once(&modules).await;
        // Fails if the start no longer waits.
        let _ = first_attempt.send(());
        let mut backoff = Backoff::new(MIN_RESTORE_DELAY, MAX_RESTORE_DELAY);
        while !fully_loaded {
            backoff.wait().await;
            fully_loaded = restore_once(&modules).await;
        }
    });
    let _ = tokio::time::timeout(RESTORE_TIMEOUT, first_attempt_done).await;
}

/// Returns whether all modules are loaded. A panic is no reason to end the node, which would panic
/// again at its next start: it serves what it has loaded.
async fn restore_once(modules: &Modules) -> bool {
    let restored = AssertUnwindSafe(modules.restore()).catch_unwind().await;
    restored.unwrap_or_else(|_| {
        tracing::error!("loading the modules panicked, which is a bug: please report it; retrying");
        false
    })
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

/// The registration without what changes while the node runs.
fn registration(config: &Config, boot: &str) -> Result<Registration, Error> {
    let path = config.data_dir.join("instance");
    let instance = read_instance_key(&path).map_err(|source| Error::Folder {
        path: config.data_dir.clone(),
        source,
    })?;
    Ok(Registration {
        environment: config.environment.as_ref().map(ToString::to_string),
        zone: config.zone.clone(),
        labels: config.labels.clone(),
        control_url: String::new(),
        data_url: String::new(),
        highest_fence: 0,
        boot: Some(boot.to_owned()),
        instance: Some(instance),
        modules: None,
    })
}

/// Says on the data port whether clients may be sent to the node. Not why: the control port
/// tells that.
fn readiness(modules: &Modules) -> Response<ResponseBody> {
    let response = match modules.check_ready() {
        Ok(()) => Response::new(Bytes::from_static(b"ready")),
        Err(_) => problem_response(&problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "The node is not ready",
            "send requests elsewhere; /health/ready on its control port says why".to_owned(),
        )),
    };
    response.map(ResponseBody::from_bytes)
}

/// A random id for this start of the node. If the system has no randomness, the process id
/// and CPU time distinguish starts.
fn random_boot_id() -> String {
    let number = getrandom::u64()
        .unwrap_or_else(|_| u64::from(std::process::id()) << 32 | process::cpu_millis());
    format!("{number:016x}")
}
