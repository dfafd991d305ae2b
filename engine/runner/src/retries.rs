//! Faults that keep the engine from driving deployments. They pass, or a person must act.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::{DeploymentId, Timestamp};

/// A fault that keeps the engine from driving a deployment. The engine tries again until it
/// has passed; the deployment can be aborted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The last fault.
    pub reason: String,
    /// When the first attempt failed.
    pub since: Timestamp,
    /// How many attempts have failed since then.
    pub attempts: u32,
}

/// The faults of all deployments. In memory only: another engine finds them again, or not.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    by_deployment: Mutex<HashMap<DeploymentId, Retry>>,
}

impl Retries {
    /// The fault of a deployment, where there is one now.
    pub(crate) fn get(&self, deployment: DeploymentId) -> Option<Retry> {
        self.lock().get(&deployment).cloned()
    }

    /// Counts an attempt that failed.
    pub(crate) fn record(&self, deployment: DeploymentId, at: Timestamp, reason: String) {
        let mut retries = self.lock();
        let retry = retries.entry(deployment).or_insert_with(|| Retry {
            reason: String::new(),
            since: at,
            attempts: 0,
        });
        retry.reason = reason;
        retry.attempts = retry.attempts.saturating_add(1);
    }

    /// Forgets the fault: it has passed.
    pub(crate) fn clear(&self, deployment: DeploymentId) {
        self.lock().remove(&deployment);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Retry>> {
        self.by_deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_counts_its_attempts_until_it_has_passed() {
        let retries = Retries::default();
        let (deployment, at) = (DeploymentId::generate(), Timestamp::from_millis);
        retries.record(deployment, at(5), "no room".to_owned());
        retries.record(deployment, at(9), "disk fault".to_owned());
        let expected = Retry {
            reason: "disk fault".to_owned(),
            since: at(5),
            attempts: 2,
        };
        assert_eq!(retries.get(deployment), Some(expected));
        assert_eq!(retries.get(DeploymentId::generate()), None);
        retries.clear(deployment);
        assert_eq!(retries.get(deployment), None);
    }
}
