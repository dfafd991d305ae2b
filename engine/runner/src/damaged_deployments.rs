//! The deployments whose journals this engine cannot read.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;

/// The deployments that this engine cannot drive, because it cannot read their journals. In memory
/// only: another engine finds them again, or can read them.
#[derive(Debug, Default)]
pub(crate) struct DamagedDeployments(Mutex<Damaged>);

#[derive(Debug, Default)]
struct Damaged {
    all: HashSet<DeploymentId>,
    /// Those of them that an engine of a newer release can drive. This one does not take their
    /// leases.
    left: HashSet<DeploymentId>,
}

impl DamagedDeployments {
    pub(crate) fn add(&self, deployment: DeploymentId) {
        self.lock().all.insert(deployment);
    }

    /// Adds a deployment that is left to an engine of a newer release, until [`Self::reconsider`].
    pub(crate) fn leave(&self, deployment: DeploymentId) {
        let mut damaged = self.lock();
        damaged.all.insert(deployment);
        damaged.left.insert(deployment);
    }

    pub(crate) fn is_left(&self, deployment: DeploymentId) -> bool {
        self.lock().left.contains(&deployment)
    }

    /// Call after an append. A deployment that was left to others may have another driver now, or a
    /// request to be terminated, which any engine can carry out.
    pub(crate) fn reconsider(&self, deployment: DeploymentId) {
        let mut damaged = self.lock();
        if damaged.left.remove(&deployment) {
            damaged.all.remove(&deployment);
        }
    }

    /// As [`Self::reconsider`], for all.
    pub(crate) fn reconsider_all(&self) {
        let mut damaged = self.lock();
        for deployment in std::mem::take(&mut damaged.left) {
            damaged.all.remove(&deployment);
        }
    }

    /// Forgets a deployment whose driver ends here, unless it is left to others.
    pub(crate) fn remove(&self, deployment: DeploymentId) {
        let mut damaged = self.lock();
        if !damaged.left.contains(&deployment) {
            damaged.all.remove(&deployment);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Damaged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
