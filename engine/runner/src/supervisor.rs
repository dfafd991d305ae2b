use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_common::{BatchReceiver, vital};
use hotswap_core::{DeploymentId, Environment};
use hotswap_store::{Appended, Session};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::{self, DriverContext};
use crate::driver_threads::DriverThreads;
use crate::environment_leases::EnvironmentLeases;

/// The error of a lease or of a list.
type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// What wakes each driver.
type Wakes = HashMap<DeploymentId, Arc<Notify>>;

/// How often the store is asked which deployments are open. The supervisor notices appends at once;
/// the timer finds missed ones, and deployments that an earlier engine left open.
const SCAN_INTERVAL: Duration = Duration::from_millis(500);

/// How long the supervisor may rest between two looks at what was appended: each look takes a
/// processor from the drivers, and nobody notices this delay.
const REST: Duration = Duration::from_millis(2);

/// How often an engine may give an environment back. Long enough for the others to take the one
/// before: each compares its nodes every five seconds.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(10);

/// Runs one driver for each deployment that has not ended, and wakes it when somebody
/// requests something of its deployment. Cheap to clone.
///
/// # Guarantees
/// Every deployment that is open in the store has a driver within a second, whoever began it:
/// a request whose client has left, an append whose answer was lost, or an engine before. A
/// deployment that another engine has acquired is left to it.
///
/// Where several engines share the store, each takes the deployments that no living engine drives,
/// in the environments in which it works. Where those are more than its share, it gives some back,
/// one after the other. What only a newer release can read it leaves to other engines. After a
/// time in which the others may have taken its own, it drops all drivers and looks anew. So it does in a new epoch of the store.
#[derive(Clone)]
pub(crate) struct Supervisor {
    context: Arc<DriverContext>,
    leases: Arc<EnvironmentLeases>,
    /// `None` if this engine alone has the store.
    session: Option<Arc<dyn Session>>,
    /// Cancelled when the leases of all drivers may have passed to others.
    term: Arc<Mutex<CancellationToken>>,
    /// One for each driver that runs; notified to wake it.
    wakes: Arc<Mutex<Wakes>>,
    tasks: TaskTracker,
    threads: Arc<DriverThreads>,
    shutdown: CancellationToken,
}

impl Supervisor {
    /// Starts to supervise. Drivers run on `threads`.
    pub(crate) fn new(
        context: Arc<DriverContext>,
        leases: Arc<EnvironmentLeases>,
        threads: DriverThreads,
    ) -> Self {
        let supervisor = Self {
            session: context.journal.session(),
            context,
            leases,
            term: Arc::default(),
            wakes: Arc::default(),
            tasks: TaskTracker::new(),
            threads: Arc::new(threads),
            shutdown: CancellationToken::new(),
        };
        // Subscribe before any driver starts, so that no wake is missed.
        let appended = BatchReceiver::new(supervisor.context.journal.subscribe(), REST);
        let supervise = supervisor.clone().supervise(appended);
        let supervise = vital("the supervisor", supervise);
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
        // Not all of the supervisor: ten thousand tasks may wait.
        let context = Arc::clone(&self.context);
        let (term, shutdown) = (self.lock_term().clone(), self.shutdown.clone());
        let driven = DrivenEntry {
            wakes: Arc::clone(&self.wakes),
            deployment,
        };
        let drive = async move {
            // Boxed, because the task would hold the future twice: as an argument, and as
            // what runs.
            let driver = Box::pin(driver::drive(context, deployment, wake));
            let driver = term.run_until_cancelled(driver);
            // Where several engines share the store, it tells which one has acquired a lost lease.
            // An engine that has it alone has lost the lease to itself: the next scan goes on.
            shutdown.run_until_cancelled(driver).await;
            drop(driven);
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
    async fn supervise(self, mut appended: BatchReceiver<Appended>) {
        let mut lapses = match &self.session {
            Some(session) => session.lapses(),
            None => watch::Sender::new(0).subscribe(),
        };
        let mut epochs = self.context.journal.epochs();
        let mut scans = interval(SCAN_INTERVAL);
        scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gives_back_at = Instant::now() + GIVE_BACK_INTERVAL;
        loop {
            let appended = tokio::select! {
                appended = appended.recv() => appended,
                Ok(()) = lapses.changed() => {
                    self.begin_term().await;
                    continue;
                }
                // What drivers know may not be in the store any more.
                Ok(()) = epochs.changed() => {
                    self.begin_term().await;
                    continue;
                }
                due = self.context.due_repairs.next() => {
                    for deployment in due {
                        self.wake_to_repair(deployment);
                    }
                    continue;
                }
                _ = scans.tick() => {
                    self.start_missing().await;
                    if Instant::now() >= gives_back_at {
                        gives_back_at = Instant::now() + GIVE_BACK_INTERVAL;
                        self.give_back_environment().await;
                    }
                    continue;
                }
            };
            if let Ok(appended) = &appended
                && appended.head.lifecycle.is_ended()
            {
                // Those that another engine has told.
                self.context.soak_warnings.end(appended.deployment);
                self.context.timers.remove(appended.deployment);
                self.context.due_repairs.take(appended.deployment);
            }
            match appended {
                // The driver itself appended.
                Ok(appended) if appended.fenced => {
                    self.context.damaged.reconsider(appended.deployment);
                }
                Ok(appended) => {
                    let is_open = !appended.head.lifecycle.is_ended();
                    if is_open && self.session.is_none() {
                        self.start(appended.deployment);
                    } else if is_open && appended.head.next_seq == 1 {
                        self.start_missing().await;
                    }
                    self.wake(appended.deployment);
                    // Last: its driver may just then leave it to another engine.
                    self.context.damaged.reconsider(appended.deployment);
                }
                // A driver that wakes without need does no harm.
                Err(RecvError::Lagged(_)) => {
                    let wakes = self.lock_wakes();
                    // Of the others, the end may have been missed.
                    self.context.timers.retain(|id| wakes.contains_key(id));
                    drop(wakes);
                    self.wake_all();
                    self.context.damaged.reconsider_all();
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Drops all drivers: what they drove may have passed to other engines, or have changed.
    async fn begin_term(&self) {
        std::mem::take(&mut *self.lock_term()).cancel();
        self.context.damaged.reconsider_all();
        self.leases.renew_all().await;
    }

    /// Gives back an environment where this engine works in more than its share.
    async fn give_back_environment(&self) {
        let Some(session) = &self.session else {
            return;
        };
        let busy = self.context.repairs.environments();
        if let Err(error) = self.leases.give_back(session.as_ref(), &busy).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot give an environment back, retrying");
        }
    }

    async fn start_missing(&self) {
        if let Some(session) = &self.session {
            if let Err(error) = self.start_undriven(session.as_ref()).await {
                tracing::warn!(
                    error = &*error,
                    "cannot list the deployments that no engine drives, retrying"
                );
            }
            return;
        }
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

    /// Starts drivers for deployments that no living engine drives, in the environments in which
    /// this engine works.
    async fn start_undriven(&self, session: &dyn Session) -> Result<(), BoxedError> {
        self.release_idle(session).await?;
        let undriven = session.undriven_deployments().await?;
        let damaged = &self.context.damaged;
        let (left, undriven): (Vec<_>, Vec<_>) = undriven
            .into_iter()
            .partition(|undriven| damaged.is_left(undriven.deployment));
        let held = self.leases.held_of(&undriven).await?;
        for undriven in &undriven {
            if held.contains(&undriven.environment) {
                self.start(undriven.deployment);
            }
        }
        // An environment with others stays: their drivers have just begun.
        let mut left: BTreeSet<_> = left.into_iter().map(|one| one.environment).collect();
        left.retain(|environment| !undriven.iter().any(|one| one.environment == *environment));
        self.pass_on(session, left).await
    }

    /// Gives back the environments of deployments that only an engine of a newer release can drive.
    async fn pass_on(
        &self,
        session: &dyn Session,
        environments: BTreeSet<Environment>,
    ) -> Result<(), BoxedError> {
        let busy = self.context.repairs.environments();
        for environment in environments {
            if !busy.contains(&environment) {
                self.leases.pass_on(session, &environment).await?;
            }
        }
        Ok(())
    }

    /// Gives back the leases of this engine that no driver uses. Drivers are dropped when leases may
    /// have passed to others, and one of them may just then acquire its lease anew. Nobody would
    /// drive its deployment, here or elsewhere, as long as this engine lives.
    async fn release_idle(&self, session: &dyn Session) -> Result<(), BoxedError> {
        let driver_count = self.lock_wakes().len();
        for deployment in session.own_leases(driver_count).await? {
            // Only this task starts drivers.
            let is_driven = self.lock_wakes().contains_key(&deployment);
            if !is_driven {
                tracing::info!(%deployment, "gives back a lease that no driver uses");
                session.release(deployment).await?;
            }
        }
        Ok(())
    }

    fn wake(&self, deployment: DeploymentId) {
        if let Some(wake) = self.lock_wakes().get(&deployment) {
            wake.notify_one();
        }
    }

    /// Where another engine drives the deployment, that one has noticed, too.
    fn wake_to_repair(&self, deployment: DeploymentId) {
        match self.lock_wakes().get(&deployment) {
            Some(wake) => wake.notify_one(),
            None => drop(self.context.due_repairs.take(deployment)),
        }
    }

    fn wake_all(&self) {
        self.lock_wakes()
            .values()
            .for_each(|wake| wake.notify_one());
    }

    fn lock_term(&self) -> MutexGuard<'_, CancellationToken> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_wakes(&self) -> MutexGuard<'_, Wakes> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the entry of a driver when it is dropped, also by a panic: while there is one, no other
/// driver is started.
struct DrivenEntry {
    wakes: Arc<Mutex<Wakes>>,
    deployment: DeploymentId,
}

impl Drop for DrivenEntry {
    fn drop(&mut self) {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.remove(&self.deployment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_driver_that_panics_makes_room_for_another() {
        let wakes = Arc::<Mutex<Wakes>>::default();
        let begin = |ends: bool| {
            let deployment = DeploymentId::generate();
            wakes.lock().unwrap().insert(deployment, Arc::default());
            let wakes = Arc::clone(&wakes);
            let entry = DrivenEntry { wakes, deployment };
            async move {
                assert!(ends, "as the test wants");
                drop(entry);
            }
        };
        assert!(tokio::spawn(begin(false)).await.unwrap_err().is_panic());
        assert!(wakes.lock().unwrap().is_empty());
        drop(begin(false));
        assert!(wakes.lock().unwrap().is_empty());
        tokio::spawn(begin(true)).await.unwrap();
        assert!(wakes.lock().unwrap().is_empty());
    }
}
