//! The provisional findings of the running soaks. In memory only: the journal has the
//! verdict.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::{DeploymentId, Finding, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::soak_warnings::SoakWarnings;

mod exchange;
#[cfg(test)]
mod tests;

/// Minimum interval between two notifications of one soak. A soak may be read four times a second,
/// and nobody reads that fast.
const MIN_TELL: Duration = Duration::from_secs(1);

/// Changes that a subscriber may be behind.
const CAPACITY: usize = 1024;

/// The provisional findings of a running soak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoakProgress {
    /// When the nodes were read.
    pub at: Timestamp,
    /// What the finding of each check would be if the soak ended now.
    pub findings: Vec<Finding>,
    /// A sentence for each soak of the deployment that cannot decide at the traffic with which that
    /// began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl SoakProgress {
    /// Whether both say the same, whenever they say it.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.findings == other.findings && self.warnings == other.warnings
    }
}

/// The soaks that are under way: those of this engine, and those that other engines on the store
/// tell of.
#[derive(Debug)]
pub(crate) struct LiveSoaks {
    by_deployment: Mutex<HashMap<DeploymentId, Shown>>,
    changes: broadcast::Sender<Change>,
    warnings: Arc<SoakWarnings>,
}

/// What is shown of a soak.
#[derive(Debug)]
struct Shown {
    progress: Arc<SoakProgress>,
    source: Source,
    /// What subscribers were told last, and when.
    told: (Instant, Arc<SoakProgress>),
}

/// Who runs a soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// This engine.
    Own,
    /// Another engine, last heard of then.
    Other(Instant),
}

/// Another progress of a soak is shown, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    deployment: DeploymentId,
    is_own: bool,
}

/// Tells which soaks have changed.
#[derive(Debug)]
pub struct SoakChanges(broadcast::Receiver<Change>);

/// A soak that this engine runs. It is not shown any more when this is dropped.
#[derive(Debug)]
pub(crate) struct LiveSoak {
    soaks: Arc<LiveSoaks>,
    deployment: DeploymentId,
}

impl LiveSoaks {
    /// What is known of the soak of a deployment. `None` where none is under way, or nothing was
    /// read yet.
    pub(crate) fn get(&self, deployment: DeploymentId) -> Option<Arc<SoakProgress>> {
        let soaks = self.lock();
        Some(Arc::clone(&soaks.get(&deployment)?.progress))
    }

    /// Begins to show the soak of a deployment.
    pub(crate) fn begin(self: &Arc<Self>, deployment: DeploymentId) -> LiveSoak {
        LiveSoak {
            soaks: Arc::clone(self),
            deployment,
        }
    }

    /// The warnings of soaks that cannot decide: those of this engine, and those that other engines
    /// tell with the progress of a soak.
    pub(crate) fn warnings(&self) -> &Arc<SoakWarnings> {
        &self.warnings
    }

    /// The changes from now on.
    pub(crate) fn changes(&self) -> SoakChanges {
        SoakChanges(self.changes.subscribe())
    }

    /// Shows this progress from now on, unless it is another engine's and this one runs the soak:
    /// the other one has lost the deployment, and does not know it yet. Returns whether subscribers
    /// should be told.
    fn insert(
        &self,
        deployment: DeploymentId,
        progress: Arc<SoakProgress>,
        source: Source,
    ) -> bool {
        let now = Instant::now();
        let mut soaks = self.lock();
        let before = soaks.get(&deployment);
        if source != Source::Own && before.is_some_and(|shown| shown.source == Source::Own) {
            return false;
        }
        let is_known = before.is_some_and(|shown| {
            let (at, told) = &shown.told;
            now.duration_since(*at) < MIN_TELL || told.says_the_same_as(&progress)
        });
        let known = soaks.remove(&deployment).filter(|_| is_known);
        let told = known.map_or_else(|| (now, Arc::clone(&progress)), |shown| shown.told);
        let shown = Shown {
            progress,
            source,
            told,
        };
        soaks.insert(deployment, shown);
        !is_known
    }

    /// Shows nothing of a soak any more, where its source is such. Returns whether it was shown.
    fn remove(&self, deployment: DeploymentId, is_such: impl Fn(Source) -> bool) -> bool {
        let mut soaks = self.lock();
        let is_shown = soaks
            .get(&deployment)
            .is_some_and(|shown| is_such(shown.source));
        if is_shown {
            soaks.remove(&deployment);
        }
        is_shown
    }

    fn tell(&self, deployment: DeploymentId, is_own: bool) {
        // Fails where nobody has subscribed.
        let _ = self.changes.send(Change { deployment, is_own });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Shown>> {
        self.by_deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LiveSoaks {
    fn default() -> Self {
        Self {
            by_deployment: Mutex::default(),
            changes: broadcast::Sender::new(CAPACITY),
            warnings: Arc::default(),
        }
    }
}

impl SoakChanges {
    /// The next deployment of whose soak something else is shown. `None`: it is not known of
    /// which, since too many have changed. Never returns once the engine has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<DeploymentId> {
        match self.0.recv().await {
            Ok(change) => Some(change.deployment),
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl LiveSoak {
    /// Shows these findings until the next ones, with the warnings of the deployment. Subscribers are
    /// told of them if they are others than those they know, at most once in [`MIN_TELL`].
    pub(crate) fn show(&self, at: Timestamp, findings: Vec<Finding>) {
        let progress = SoakProgress {
            at,
            findings,
            warnings: self.soaks.warnings.get(self.deployment),
        };
        if self
            .soaks
            .insert(self.deployment, Arc::new(progress), Source::Own)
        {
            self.soaks.tell(self.deployment, true);
        }
    }
}

impl Drop for LiveSoak {
    fn drop(&mut self) {
        let is_own = |source| source == Source::Own;
        if self.soaks.remove(self.deployment, is_own) {
            self.soaks.tell(self.deployment, true);
        }
    }
}
