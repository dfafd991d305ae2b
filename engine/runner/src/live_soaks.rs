//! What the judge thinks of the soaks that are under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::{DeploymentId, Finding};

/// The findings so far of each soak that is under way. In memory only: the journal has the verdict.
#[derive(Debug, Default)]
pub(crate) struct LiveSoaks {
    by_deployment: Mutex<HashMap<DeploymentId, Arc<Vec<Finding>>>>,
}

/// A soak that is under way. Its findings are forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct LiveSoak {
    soaks: Arc<LiveSoaks>,
    deployment: DeploymentId,
}

impl LiveSoaks {
    /// The findings so far of the soak of a deployment. `None` where none is under way, or nothing
    /// was read yet.
    pub(crate) fn get(&self, deployment: DeploymentId) -> Option<Arc<Vec<Finding>>> {
        self.lock().get(&deployment).cloned()
    }

    /// Begins to show the soak of a deployment.
    pub(crate) fn begin(self: &Arc<Self>, deployment: DeploymentId) -> LiveSoak {
        LiveSoak {
            soaks: Arc::clone(self),
            deployment,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Arc<Vec<Finding>>>> {
        self.by_deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveSoak {
    /// Shows these findings until the next ones.
    pub(crate) fn show(&self, findings: Vec<Finding>) {
        let mut soaks = self.soaks.lock();
        soaks.insert(self.deployment, Arc::new(findings));
    }
}

impl Drop for LiveSoak {
    fn drop(&mut self) {
        self.soaks.lock().remove(&self.deployment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_until_the_soak_is_over() {
        let soaks = Arc::<LiveSoaks>::default();
        let deployment = DeploymentId::generate();
        let soak = soaks.begin(deployment);
        assert_eq!(soaks.get(deployment), None);
        soak.show(Vec::new());
        assert_eq!(soaks.get(deployment), Some(Arc::default()));
        drop(soak);
        assert_eq!(soaks.get(deployment), None);
    }
}
