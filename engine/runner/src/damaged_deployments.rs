//! The deployments whose journals this engine cannot read.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;

/// The deployments that nothing drives, because this engine cannot read their journals. In memory
/// only: another engine finds them again, or can read them.
#[derive(Debug, Default)]
pub(crate) struct DamagedDeployments(Mutex<HashSet<DeploymentId>>);

impl DamagedDeployments {
    pub(crate) fn add(&self, deployment: DeploymentId) {
        self.lock().insert(deployment);
    }

    /// Forgets a deployment: it has ended, or another engine drives it.
    pub(crate) fn remove(&self, deployment: DeploymentId) {
        self.lock().remove(&deployment);
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<DeploymentId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
