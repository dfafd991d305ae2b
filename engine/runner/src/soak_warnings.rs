//! Warnings of soaks that cannot decide anything, for the deployments under way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Forecasts at the same time. Each needs a processor, and thousands of deployments may begin at
/// once.
const FORECASTS: usize = 4;

/// The warnings of all deployments that this engine drives. In memory only: they are about the
/// traffic when a deployment began.
#[derive(Debug)]
pub(crate) struct SoakWarnings {
    by_deployment: Mutex<HashMap<DeploymentId, Vec<String>>>,
    forecasts: Semaphore,
}

impl Default for SoakWarnings {
    fn default() -> Self {
        Self {
            by_deployment: Mutex::default(),
            forecasts: Semaphore::new(FORECASTS),
        }
    }
}

impl SoakWarnings {
    /// Lets warnings of a deployment be recorded from now on.
    pub(crate) fn begin(&self, deployment: DeploymentId) {
        self.lock().insert(deployment, Vec::new());
    }

    /// Waits until a forecast may begin. Cancel safe.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so this is always a permit.
        self.forecasts.acquire().await.ok()
    }

    /// Records the warnings of a deployment, unless it has ended since.
    pub(crate) fn record(&self, deployment: DeploymentId, warnings: Vec<String>) {
        if let Some(known) = self.lock().get_mut(&deployment) {
            *known = warnings;
        }
    }

    /// The warnings of a deployment, each in a sentence.
    pub(crate) fn get(&self, deployment: DeploymentId) -> Vec<String> {
        self.lock().get(&deployment).cloned().unwrap_or_default()
    }

    /// Forgets a deployment: it has ended, or another engine drives it.
    pub(crate) fn end(&self, deployment: DeploymentId) {
        self.lock().remove(&deployment);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Vec<String>>> {
        self.by_deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_known_until_the_deployment_ends() {
        let warnings = SoakWarnings::default();
        let deployment = DeploymentId::generate();
        warnings.begin(deployment);
        warnings.record(deployment, vec!["too few".to_owned()]);
        assert_eq!(warnings.get(deployment), ["too few"]);
        warnings.end(deployment);
        warnings.record(deployment, vec!["too late".to_owned()]);
        assert_eq!(warnings.get(deployment), Vec::<String>::new());
    }
}
