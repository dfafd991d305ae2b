//! What may make nodes differ from what they should run.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hotswap_common::BatchReceiver;
use hotswap_core::{DeploymentId, Step};
use hotswap_fleet::{HealthChange, Registry};
use hotswap_store::{Appended, EnvironmentAppended, EnvironmentJournal, Journal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

use super::repairs::Repairs;
use crate::environment_decisions::next_decision;
use crate::environment_leases::EnvironmentLeases;

/// How long it may take until the end of a deployment is noticed while others append: each look
/// takes a processor from their drivers.
const REST: Duration = Duration::from_millis(10);

/// Changes that a look at the nodes has not seen yet.
pub(super) struct Changes {
    /// A node has come, gone, or come back.
    health: Receiver<HealthChange>,
    /// A node has reported other modules than before.
    reports: watch::Receiver<u64>,
    /// A deployment may have ended, or been planned by another engine.
    appended: BatchReceiver<Appended>,
    /// The open deployments that are known to have a plan: their nodes are told of it. `None` where
    /// this engine makes all plans itself.
    planned: Option<HashSet<DeploymentId>>,
    /// A person may have decided something.
    decided: Receiver<EnvironmentAppended>,
    /// What was decided may be lost.
    epochs: watch::Receiver<Arc<str>>,
}

impl Changes {
    /// Changes from now on.
    pub(super) fn subscribe(
        registry: &Registry,
        journal: &dyn Journal,
        environment_journal: &dyn EnvironmentJournal,
    ) -> Self {
        Self {
            health: registry.subscribe(),
            reports: registry.watch_reports(),
            appended: BatchReceiver::new(journal.subscribe(), REST),
            planned: journal.session().map(|_| HashSet::new()),
            decided: environment_journal.subscribe_to_environments(),
            epochs: journal.epochs(),
        }
    }

    /// Returns once something has changed. Cancel safe.
    pub(super) async fn next(&mut self, repairs: &Repairs, leases: &EnvironmentLeases) {
        tokio::select! {
            has_ended = next_of_plan(&mut self.appended, &mut self.planned) => {
                if has_ended {
                    leases.renew_all().await;
                }
            }
            () = next_decision(&mut self.decided) => {}
            Ok(()) = self.epochs.changed() => self.forget(leases).await,
            // The registry lives as long as the reconciler.
            Ok(()) = self.reports.changed() => {}
            change = self.health.recv() => {
                // A node that has come back is tried at once.
                if let Ok(change) = change {
                    repairs.forgive(&change.node);
                }
            }
        }
    }

    /// The store has lost writes.
    async fn forget(&mut self, leases: &EnvironmentLeases) {
        if let Some(planned) = &mut self.planned {
            planned.clear();
        }
        leases.renew_all().await;
    }

    /// Takes everything that has changed meanwhile: the next look at the nodes sees it.
    pub(super) async fn take_all(&mut self, repairs: &Repairs, leases: &EnvironmentLeases) {
        self.reports.mark_unchanged();
        if self.epochs.has_changed().unwrap_or(false) {
            self.epochs.mark_unchanged();
            self.forget(leases).await;
        }
        drain(|| self.decided.try_recv(), |_| {});
        let mut has_ended = false;
        let note = |appended: Appended| {
            note_plan(&mut self.planned, &appended);
            has_ended |= appended.head.lifecycle.is_ended();
        };
        let is_complete = drain(|| self.appended.try_recv(), note);
        let forgive = |change: HealthChange| repairs.forgive(&change.node);
        drain(|| self.health.try_recv(), forgive);
        if has_ended || !is_complete {
            leases.renew_all().await;
        }
    }
}

/// Receives everything that is there. Returns whether nothing was lost.
fn drain<T>(mut next: impl FnMut() -> Result<T, TryRecvError>, mut receive: impl FnMut(T)) -> bool {
    let mut is_complete = true;
    loop {
        match next() {
            Ok(message) => receive(message),
            Err(TryRecvError::Lagged(_)) => is_complete = false,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return is_complete,
        }
    }
}

/// Returns once a deployment has ended, or another engine may have planned one. Returns whether one
/// may have ended.
async fn next_of_plan(
    appended: &mut BatchReceiver<Appended>,
    planned: &mut Option<HashSet<DeploymentId>>,
) -> bool {
    loop {
        match appended.recv().await {
            Ok(appended) => {
                let is_new = note_plan(planned, &appended);
                let has_ended = appended.head.lifecycle.is_ended();
                if is_new || has_ended {
                    return has_ended;
                }
            }
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Whether an append is the first after the plan of a deployment that is noticed.
fn note_plan(planned: &mut Option<HashSet<DeploymentId>>, appended: &Appended) -> bool {
    let Some(planned) = planned else {
        return false;
    };
    match appended.head.lifecycle.step {
        Step::Ended(_) => {
            planned.remove(&appended.deployment);
            false
        }
        Step::Requested | Step::Gated | Step::Approved => false,
        Step::Running | Step::Asking | Step::Settling | Step::Reverting => {
            planned.insert(appended.deployment)
        }
    }
}
