//! The open deployments whose nodes have lost what was decided for them.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;
use tokio::sync::Notify;

/// Deployments with a node in their plan that does not run what the deployment has decided for it.
/// The reconciler, which looks at all nodes, requests the repair. The deployment's driver, which
/// alone changes its nodes, carries it out at its next wait.
#[derive(Debug, Default)]
pub(crate) struct DueRepairs {
    inner: Mutex<Inner>,
    requested: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    due: HashSet<DeploymentId>,
    /// Those of them whose driver was not woken yet.
    unannounced: Vec<DeploymentId>,
}

impl DueRepairs {
    /// Requests a repair of the nodes of a deployment. Does nothing where one is due already.
    pub(crate) fn request(&self, deployment: DeploymentId) {
        let mut inner = self.lock();
        if inner.due.insert(deployment) {
            inner.unannounced.push(deployment);
            drop(inner);
            self.requested.notify_one();
        }
    }

    /// The deployments whose drivers are to be woken, each once for each request. Waits for the
    /// first. Cancel safe; for one caller.
    pub(crate) async fn next(&self) -> Vec<DeploymentId> {
        loop {
            let next = std::mem::take(&mut self.lock().unannounced);
            if !next.is_empty() {
                return next;
            }
            self.requested.notified().await;
        }
    }

    /// Whether a repair was requested since the last call.
    pub(crate) fn take(&self, deployment: DeploymentId) -> bool {
        self.lock().due.remove(&deployment)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_request_wakes_once_and_is_taken_once() {
        let due = DueRepairs::default();
        let [one, other] = [(); 2].map(|()| DeploymentId::generate());
        let mut next = Box::pin(due.next());
        assert!(poll!(&mut next).is_pending());
        due.request(one);
        due.request(one);
        assert_eq!(next.await, [one]);
        assert!(
            poll!(Box::pin(due.next())).is_pending(),
            "it is due already"
        );
        assert!(due.take(one) && !due.take(one) && !due.take(other));
        due.request(one);
        due.request(other);
        assert_eq!(due.next().await, [one, other]);
    }
}
