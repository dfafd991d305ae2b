use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::{Clock, DeploymentId};
use hotswap_fleet::Fleet;
use hotswap_store::Journal;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver;
use crate::limits::Limits;
use crate::strategies::Strategies;

/// What all drivers of an engine share.
pub(crate) struct Shared {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) strategies: Strategies,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// One for each strategy that may run at this moment.
    pub(crate) instances: Semaphore,
}

/// Keeps one driver for each deployment that has not ended, and wakes it when somebody
/// asks something of it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    bells: Arc<Mutex<HashMap<DeploymentId, Arc<Notify>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let supervisor = Self {
            shared,
            bells: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let listening = supervisor.clone().listen();
        let stopped = supervisor.stop.clone();
        supervisor
            .tasks
            .spawn(async move { stopped.run_until_cancelled(listening).await });
        supervisor
    }

    /// Drives a deployment until it has ended; does nothing where that is done already.
    pub(crate) fn start(&self, deployment: DeploymentId) {
        let bell = Arc::new(Notify::new());
        {
            let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
            if bells.contains_key(&deployment) {
                return;
            }
            bells.insert(deployment, Arc::clone(&bell));
        }
        let supervisor = self.clone();
        self.tasks.spawn(async move {
            // Boxed, or the task would have room for it twice: once as what is passed on,
            // once as what runs.
            let driving = Box::pin(driver::drive(
                Arc::clone(&supervisor.shared),
                deployment,
                bell,
            ));
            supervisor.stop.run_until_cancelled(driving).await;
            let mut bells = supervisor
                .bells
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            bells.remove(&deployment);
        });
    }

    /// Drops all drivers, wherever they are: the journal has what they did.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn listen(self) {
        let mut appended = self.shared.journal.subscribe();
        loop {
            match appended.recv().await {
                Ok(appended) if appended.fenced => {}
                Ok(appended) => self.ring(|deployment| *deployment == appended.deployment),
                // Something was missed; a bell rung for nothing does no harm.
                Err(RecvError::Lagged(_)) => self.ring(|_| true),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn ring(&self, whose: impl Fn(&DeploymentId) -> bool) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells
            .iter()
            .filter(|(id, _)| whose(id))
            .for_each(|(_, bell)| bell.notify_one());
    }
}
