use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;
use hotswap_store::Appended;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::{self, DriverContext};

/// Runs one driver for each deployment that has not ended, and wakes it when somebody
/// requests something of its deployment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Supervisor {
    context: Arc<DriverContext>,
    /// One for each driver that runs; notified to wake it.
    wakes: Arc<Mutex<HashMap<DeploymentId, Arc<Notify>>>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Supervisor {
    /// A supervisor without drivers.
    pub(crate) fn new(context: Arc<DriverContext>) -> Self {
        let supervisor = Self {
            context,
            wakes: Arc::default(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        // Subscribe before any driver starts, so that no wake is missed.
        let appended = supervisor.context.journal.subscribe();
        let listener = supervisor.clone().wake_after_appends(appended);
        let shutdown = supervisor.shutdown.clone();
        supervisor
            .tasks
            .spawn(async move { shutdown.run_until_cancelled(listener).await });
        supervisor
    }

    /// Starts a driver. Does nothing where the deployment has one.
    pub(crate) fn start(&self, deployment: DeploymentId) {
        let wake = Arc::new(Notify::new());
        {
            let mut wakes = self.lock_wakes();
            if wakes.contains_key(&deployment) {
                return;
            }
            wakes.insert(deployment, Arc::clone(&wake));
        }
        let supervisor = self.clone();
        self.tasks.spawn(async move {
            // Boxed, because the task would hold the future twice: as an argument, and as
            // what runs.
            let driver = Box::pin(driver::drive(
                Arc::clone(&supervisor.context),
                deployment,
                wake,
            ));
            supervisor.shutdown.run_until_cancelled(driver).await;
            supervisor.lock_wakes().remove(&deployment);
        });
    }

    /// Drops all drivers wherever they are: the journals hold their progress.
    pub(crate) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn wake_after_appends(self, mut appended: broadcast::Receiver<Appended>) {
        loop {
            match appended.recv().await {
                // The driver itself appended.
                Ok(appended) if appended.fenced => {}
                Ok(appended) => self.wake(|deployment| *deployment == appended.deployment),
                // A driver that wakes without need does no harm.
                Err(RecvError::Lagged(_)) => self.wake(|_| true),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn wake(&self, is_meant: impl Fn(&DeploymentId) -> bool) {
        let wakes = self.lock_wakes();
        let meant = wakes.iter().filter(|(deployment, _)| is_meant(deployment));
        meant.for_each(|(_, wake)| wake.notify_one());
    }

    fn lock_wakes(&self) -> MutexGuard<'_, HashMap<DeploymentId, Arc<Notify>>> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
