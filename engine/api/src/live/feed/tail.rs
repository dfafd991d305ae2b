//! The tail of all journals, of deployments and of environments, in order of position.

use std::sync::Arc;

use hotswap_runner::deployments::Error;
use hotswap_runner::{Deployments, Reconciler};
use hotswap_store::{Appended, Entry, EnvironmentAppended, EnvironmentEntry};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// The maximum number of events per read, of each kind of journal.
const PAGE_SIZE: usize = 256;

/// Where the tail is read.
#[derive(Clone)]
pub(super) struct Tail {
    pub deployments: Deployments,
    pub reconciler: Reconciler,
}

/// An event of some journal.
pub(super) enum TailEntry {
    Deployment(Entry),
    Environment(EnvironmentEntry),
}

/// Notifications of appends.
pub(super) struct Appends {
    deployments: Receiver<Appended>,
    environments: Receiver<EnvironmentAppended>,
    epochs: watch::Receiver<Arc<str>>,
}

impl TailEntry {
    pub fn position(&self) -> u64 {
        match self {
            Self::Deployment(entry) => entry.position,
            Self::Environment(entry) => entry.position,
        }
    }
}

impl Tail {
    /// Receives notifications of every append from now on.
    pub fn subscribe(&self) -> Appends {
        Appends {
            deployments: self.deployments.subscribe(),
            environments: self.reconciler.subscribe(),
            epochs: self.deployments.epochs(),
        }
    }

    /// The next events after a position, in order. Empty where there are none.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn read(&self, position: u64) -> Result<Vec<TailEntry>, Error> {
        // Positions become visible in order, so both reads see everything up to this one.
        let mut end = self.deployments.position().await?;
        let of_deployments = self.deployments.tail(position, PAGE_SIZE).await?;
        let of_environments = self.reconciler.events_after(None, position, PAGE_SIZE);
        let of_environments = of_environments.await?;
        // Behind a full page there may be more of its kind.
        if let [.., last] = &of_deployments[..]
            && of_deployments.len() == PAGE_SIZE
        {
            end = end.min(last.position);
        }
        if let [.., last] = &of_environments[..]
            && of_environments.len() == PAGE_SIZE
        {
            end = end.min(last.position);
        }
        let of_deployments = of_deployments.into_iter().map(TailEntry::Deployment);
        let of_environments = of_environments.into_iter().map(TailEntry::Environment);
        let mut entries: Vec<_> = of_deployments.chain(of_environments).collect();
        entries.retain(|entry| entry.position() <= end);
        entries.sort_by_key(TailEntry::position);
        Ok(entries)
    }
}

impl Appends {
    /// Returns once there may be events after `position`, or the epoch is a new one. Returns false where there will be
    /// none any more.
    pub async fn wait(&mut self, position: u64) -> bool {
        loop {
            let appended = tokio::select! {
                appended = self.deployments.recv() => appended.map(|append| append.position),
                appended = self.environments.recv() => appended.map(|append| append.position),
                Ok(()) = self.epochs.changed() => return true,
            };
            match appended {
                Ok(appended) if appended <= position => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    }
}
