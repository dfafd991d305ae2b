//! What may make nodes differ from what they should run.

use hotswap_fleet::{HealthChange, Registry};
use hotswap_store::{Appended, EnvironmentAppended, EnvironmentJournal, Journal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

use super::lease::Leases;
use super::repairs::Repairs;

/// Changes that a look at the nodes has not seen yet.
pub(super) struct Changes {
    /// A node has come, gone, or come back.
    health: Receiver<HealthChange>,
    /// A node has reported other modules than before.
    reports: watch::Receiver<u64>,
    /// A deployment may have ended.
    appended: Receiver<Appended>,
    /// A person may have decided something.
    decided: Receiver<EnvironmentAppended>,
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
            appended: journal.subscribe(),
            decided: environment_journal.subscribe_to_environments(),
        }
    }

    /// Returns once something has changed. Cancel safe.
    pub(super) async fn next(&mut self, repairs: &Repairs, leases: &Leases) {
        tokio::select! {
            () = has_ended(&mut self.appended) => leases.renew_all().await,
            () = was_decided(&mut self.decided) => {}
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

    /// Takes everything that has changed meanwhile: the next look at the nodes sees it.
    pub(super) async fn take_all(&mut self, repairs: &Repairs, leases: &Leases) {
        self.reports.mark_unchanged();
        drain(&mut self.decided, |_| {});
        let mut has_ended = false;
        let is_complete = drain(&mut self.appended, |appended| {
            has_ended |= appended.head.lifecycle.is_ended();
        });
        drain(&mut self.health, |change| repairs.forgive(&change.node));
        if has_ended || !is_complete {
            leases.renew_all().await;
        }
    }
}

/// Receives everything that is there. Returns whether nothing was lost.
fn drain<T: Clone>(receiver: &mut Receiver<T>, mut receive: impl FnMut(T)) -> bool {
    let mut is_complete = true;
    loop {
        match receiver.try_recv() {
            Ok(message) => receive(message),
            Err(TryRecvError::Lagged(_)) => is_complete = false,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return is_complete,
        }
    }
}

/// Returns once a deployment has ended.
async fn has_ended(appended: &mut Receiver<Appended>) {
    loop {
        match appended.recv().await {
            Ok(appended) if !appended.head.lifecycle.is_ended() => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Returns once a person has decided something in an environment.
async fn was_decided(appended: &mut Receiver<EnvironmentAppended>) {
    loop {
        match appended.recv().await {
            Ok(appended) if appended.fenced => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
