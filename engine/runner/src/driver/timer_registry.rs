//! The timers of all open deployments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::{Clock, DeploymentId};

use super::timers::Timers;

/// The timers of the deployments that this engine has driven and that are open. Drivers end in a new
/// epoch of the store and after a lapse of the session; their successors go on with the same ends of
/// waits, which a step of the wall-clock must not move.
#[derive(Default)]
pub(crate) struct TimerRegistry {
    by_deployment: Mutex<HashMap<DeploymentId, Arc<Timers>>>,
}

impl TimerRegistry {
    /// The timers of a deployment, new ones where it had none.
    pub(super) fn get(&self, deployment: DeploymentId, clock: &Arc<dyn Clock>) -> Arc<Timers> {
        let mut timers = self.lock();
        let timers = timers
            .entry(deployment)
            .or_insert_with(|| Arc::new(Timers::new(Arc::clone(clock))));
        Arc::clone(timers)
    }

    /// Forgets a deployment that has ended.
    pub(crate) fn remove(&self, deployment: DeploymentId) {
        self.lock().remove(&deployment);
    }

    /// Forgets all deployments but these, where it is not known which have ended. The waits of the
    /// others are measured anew if this engine drives them again.
    pub(crate) fn retain(&self, is_kept: impl Fn(&DeploymentId) -> bool) {
        self.lock().retain(|deployment, _| is_kept(deployment));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Arc<Timers>>> {
        self.by_deployment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::TestClock;
    use super::*;

    #[test]
    fn timers_are_the_same_until_the_deployment_has_ended() {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let registry = TimerRegistry::default();
        let [one, other] = [DeploymentId::generate(), DeploymentId::generate()];
        let first = registry.get(one, &clock);
        assert!(Arc::ptr_eq(&first, &registry.get(one, &clock)));
        assert!(!Arc::ptr_eq(&first, &registry.get(other, &clock)));
        registry.retain(|id| *id == one);
        assert!(Arc::ptr_eq(&first, &registry.get(one, &clock)));
        registry.remove(one);
        assert!(!Arc::ptr_eq(&first, &registry.get(one, &clock)));
    }
}
