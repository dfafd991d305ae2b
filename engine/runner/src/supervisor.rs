use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::DeploymentId;
use hotswap_store::Appended;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::{self, Driven, DriverContext};
use crate::driver_threads::DriverThreads;

/// How often the store is asked which deployments are open. Appends are noticed at once; this
/// finds what was missed, and what an engine before left open.
const SCAN_INTERVAL: Duration = Duration::from_millis(500);

/// Runs one driver for each deployment that has not ended, and wakes it when somebody
/// requests something of its deployment. Cheap to clone.
///
/// # Guarantees
/// Every deployment that is open in the store has a driver within a second, whoever began it:
/// a request whose client has left, an append whose answer was lost, or an engine before. A
/// deployment that another engine has acquired is left to it.
#[derive(Clone)]
pub(crate) struct Supervisor {
    context: Arc<DriverContext>,
    /// One for each driver that runs; notified to wake it.
    wakes: Arc<Mutex<HashMap<DeploymentId, Arc<Notify>>>>,
    tasks: TaskTracker,
    threads: Arc<DriverThreads>,
    shutdown: CancellationToken,
}

impl Supervisor {
    /// Starts to supervise. Drivers run on `threads`.
    pub(crate) fn new(context: Arc<DriverContext>, threads: DriverThreads) -> Self {
        let supervisor = Self {
            context,
            wakes: Arc::default(),
            tasks: TaskTracker::new(),
            threads: Arc::new(threads),
            shutdown: CancellationToken::new(),
        };
        // Subscribe before any driver starts, so that no wake is missed.
        let appended = supervisor.context.journal.subscribe();
        let supervise = supervisor.clone().supervise(appended);
        let shutdown = supervisor.shutdown.clone();
        supervisor
            .tasks
            .spawn(async move { shutdown.run_until_cancelled(supervise).await });
        supervisor
    }

    /// Starts a driver. Does nothing where the deployment has one.
    fn start(&self, deployment: DeploymentId) {
        let wake = Arc::new(Notify::new());
        {
            let mut wakes = self.lock_wakes();
            if wakes.contains_key(&deployment) {
                return;
            }
            wakes.insert(deployment, Arc::clone(&wake));
        }
        let supervisor = self.clone();
        let drive = async move {
            // Boxed, because the task would hold the future twice: as an argument, and as
            // what runs.
            let driver = Box::pin(driver::drive(
                Arc::clone(&supervisor.context),
                deployment,
                wake,
            ));
            match supervisor.shutdown.run_until_cancelled(driver).await {
                // Without its entry the next scan would take the lease back, and the engines
                // would do so in turn for ever.
                Some(Driven::LeaseLost) => {}
                Some(Driven::Ended) | None => drop(supervisor.lock_wakes().remove(&deployment)),
            }
        };
        self.tasks.spawn_on(drive, self.threads.handle());
    }

    /// Drops all drivers wherever they are: the journals hold their progress.
    pub(crate) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Starts the drivers that are missing, and wakes those whose deployment has a request.
    async fn supervise(self, mut appended: broadcast::Receiver<Appended>) {
        let mut scans = interval(SCAN_INTERVAL);
        scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let appended = tokio::select! {
                appended = appended.recv() => appended,
                _ = scans.tick() => {
                    self.start_missing().await;
                    continue;
                }
            };
            match appended {
                // The driver itself appended.
                Ok(appended) if appended.fenced => {}
                Ok(appended) => {
                    if !appended.head.lifecycle.is_ended() {
                        self.start(appended.deployment);
                    }
                    self.wake(appended.deployment);
                }
                // A driver that wakes without need does no harm.
                Err(RecvError::Lagged(_)) => self.wake_all(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn start_missing(&self) {
        match self.context.journal.open_deployments().await {
            Ok(open) => open
                .into_iter()
                .for_each(|deployment| self.start(deployment)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot list the open deployments, retrying");
            }
        }
    }

    fn wake(&self, deployment: DeploymentId) {
        if let Some(wake) = self.lock_wakes().get(&deployment) {
            wake.notify_one();
        }
    }

    fn wake_all(&self) {
        self.lock_wakes()
            .values()
            .for_each(|wake| wake.notify_one());
    }

    fn lock_wakes(&self) -> MutexGuard<'_, HashMap<DeploymentId, Arc<Notify>>> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
