use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hotswap_protocol::Registration;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::artifacts::{Artifacts, Source};
use crate::config::Config;
use crate::control::{Context, Control};
use crate::modules::Modules;
use crate::record::Records;
use crate::registration::Reporter;
use crate::server::{Stop, serve};
use crate::{Error, Runtime, data, folder};

/// How long after the start, and after each attempt, it is tried again to load what
/// could not be loaded.
const MEND: Duration = Duration::from_secs(3);

/// Beyond the time that a request may take, for connections to end on shutting down.
const GRACE: Duration = Duration::from_secs(2);

/// A node that runs. When this is dropped without [`Node::shutdown`], it ends at once.
#[derive(Debug)]
pub struct Node {
    data_addr: SocketAddr,
    control_addr: SocketAddr,
    tasks: TaskTracker,
    stop: Stop,
    grace: Duration,
    /// Given up when the node ends, for the next one with this data directory.
    _lock: folder::Lock,
    _end: DropGuard,
}

impl Node {
    /// Starts a node with a WebAssembly engine of its own; compiled modules are kept in
    /// `compiled` below its data directory.
    ///
    /// # Errors
    /// As [`Node::start_with`], and as [`Runtime::new`].
    pub async fn start(config: Config) -> Result<Self, Error> {
        let compiled = config.data_dir.join("compiled");
        Self::start_with(Runtime::new(&compiled)?, config).await
    }

    /// Starts a node on an engine that it shares with others of this process.
    ///
    /// When this returns, the node has loaded what it ran before, as far as it can
    /// without its engine, and takes requests and orders. What it could not load it
    /// tries again in the background, and says so in its health.
    ///
    /// # Errors
    /// Where a port or the data directory cannot be used, or the engine's URL is none.
    pub async fn start_with(runtime: Runtime, config: Config) -> Result<Self, Error> {
        let source = source(&config)?;
        let lock = lock(&config)?;
        let unusable = |path: PathBuf| move |source| Error::Folder { path, source };

        let data = listen(config.data_addr).await?;
        let control = listen(config.control_addr).await?;
        let (data_addr, control_addr) = (address(&data)?, address(&control)?);

        let path = config.data_dir.join("artifacts");
        let artifacts = Artifacts::new(path.clone(), source.clone(), config.limits.artifact)
            .map_err(unusable(path))?;
        let path = config.data_dir.join("modules");
        let records = Records::new(path.clone()).map_err(unusable(path.clone()))?;
        let tasks = TaskTracker::new();
        let limits = config.limits.clone();
        let modules = Modules::new(runtime, artifacts, records, limits, tasks.clone())
            .map_err(unusable(path))?;
        let stop = Stop::default();

        restore(&modules, &tasks, &stop).await;

        let service = {
            let modules = modules.clone();
            move |request| data::answer(modules.clone(), request)
        };
        spawn(
            &tasks,
            &stop,
            serve(
                data,
                service,
                config.limits.clone(),
                stop.clone(),
                tasks.clone(),
            ),
        );
        let service = {
            let control = Control::new(Context {
                id: config.id.clone(),
                boot: boot(),
                token: config.token.clone(),
                modules: modules.clone(),
            });
            move |request| control.clone().answer(request)
        };
        spawn(
            &tasks,
            &stop,
            serve(
                control,
                service,
                config.limits.clone(),
                stop.clone(),
                tasks.clone(),
            ),
        );
        if let Some(engine) = source {
            let reporter = Reporter {
                id: config.id.clone(),
                engine,
                registration: registration(&config, data_addr, control_addr),
                modules,
            };
            spawn(&tasks, &stop, reporter.run());
        }
        tracing::info!(node = %config.id, %data_addr, %control_addr, "node started");
        Ok(Self {
            data_addr,
            control_addr,
            tasks,
            grace: config.limits.request_time + GRACE,
            _lock: lock,
            _end: stop.now.clone().drop_guard(),
            stop,
        })
    }

    /// Where it answers requests.
    #[must_use]
    pub fn data_addr(&self) -> SocketAddr {
        self.data_addr
    }

    /// Where it takes orders.
    #[must_use]
    pub fn control_addr(&self) -> SocketAddr {
        self.control_addr
    }

    /// Stops the node: takes no new connections, lets requests and orders that it has
    /// begun come to their end, for as long as a request may take, and returns.
    /// Cancelled, the node ends at once.
    pub async fn shutdown(self) {
        self.stop.gently.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.tasks.len(), "requests are broken off");
            self.stop.now.cancel();
            // Connections end with that; modules end by themselves, by their time limit.
            let _ = tokio::time::timeout(GRACE, self.tasks.wait()).await;
        }
        tracing::info!("node stopped");
    }
}

/// Runs until it ends or the node begins to stop.
fn spawn(tasks: &TaskTracker, stop: &Stop, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.gently.cancelled() => {}
            () = stop.now.cancelled() => {}
            () = work => {}
        }
    });
}

/// Loads what the node ran before; goes on in the background where that takes longer
/// than an engine that does not answer should hold up the start.
async fn restore(modules: &Modules, tasks: &TaskTracker, stop: &Stop) {
    let (first, done) = tokio::sync::oneshot::channel();
    let modules = modules.clone();
    spawn(tasks, stop, async move {
        let mut whole = modules.restore().await;
        // The receiver is gone where the start did not wait so long.
        let _ = first.send(());
        while !whole {
            tokio::time::sleep(MEND).await;
            whole = modules.restore().await;
        }
    });
    let _ = tokio::time::timeout(MEND, done).await;
}

fn source(config: &Config) -> Result<Option<Source>, Error> {
    let Some(url) = &config.engine_url else {
        return Ok(None);
    };
    let parsed = reqwest::Url::parse(url).ok();
    if parsed.is_none_or(|url| url.scheme() != "http" || !url.has_host()) {
        return Err(Error::EngineUrl(url.clone()));
    }
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(Error::Client)?;
    Ok(Some(Source {
        client,
        engine: url.trim_end_matches('/').to_owned(),
        token: config.token.clone(),
    }))
}

fn lock(config: &Config) -> Result<folder::Lock, Error> {
    let unusable = |source| Error::Folder {
        path: config.data_dir.clone(),
        source,
    };
    folder::create(&config.data_dir).map_err(unusable)?;
    match folder::Lock::take(&config.data_dir) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Error::InUse(config.data_dir.clone())),
        Err(source) => Err(unusable(source)),
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| Error::Listen { addr, source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen {
        addr: SocketAddr::from(([0, 0, 0, 0], 0)),
        source,
    })
}

fn registration(config: &Config, data: SocketAddr, control: SocketAddr) -> Registration {
    let url = |addr: SocketAddr| match &config.advertise {
        Some(host) => format!("http://{host}:{}", addr.port()),
        None => format!("http://{addr}"),
    };
    Registration {
        environment: config.environment.to_string(),
        zone: config.zone.clone(),
        labels: config.labels.clone(),
        control_url: url(control),
        data_url: url(data),
    }
}

/// Where the system gives no randomness, the process' id and CPU time tell starts apart.
fn boot() -> String {
    let number = getrandom::u64()
        .unwrap_or_else(|_| u64::from(std::process::id()) << 32 | crate::process::cpu_millis());
    format!("{number:016x}")
}
