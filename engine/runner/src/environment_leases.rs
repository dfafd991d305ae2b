//! Which environments this engine works in, and the fences under which it repairs their nodes.

use std::collections::HashMap;
use std::sync::Arc;

use hotswap_core::{Environment, Fence};
use hotswap_store::{EnvironmentJournal, LeaseError};
use tokio::sync::Mutex;

/// The lease of each environment. Nodes take an order only under a fence that is not lower than
/// that of the last deployment there, so the lease is acquired anew after each.
///
/// Where several engines share the store, the one that holds the lease of an environment does all
/// that changes its nodes: it drives the deployments there, repairs, and removes nodes that are
/// gone. So one engine's memory is enough to keep plans apart from repairs, and to count all nodes
/// that are being changed.
pub(crate) struct EnvironmentLeases {
    journal: Arc<dyn EnvironmentJournal>,
    /// Whether other engines may hold leases.
    is_shared: bool,
    fences: Mutex<HashMap<Environment, Fence>>,
}

impl EnvironmentLeases {
    pub(crate) fn new(journal: Arc<dyn EnvironmentJournal>, is_shared: bool) -> Self {
        Self {
            journal,
            is_shared,
            fences: Mutex::default(),
        }
    }

    /// Whether this engine works in an environment: it holds the lease, or acquires it now. Always
    /// where it alone has the store.
    ///
    /// # Errors
    /// [`LeaseError::Store`].
    pub(crate) async fn holds(&self, environment: &Environment) -> Result<bool, LeaseError> {
        if !self.is_shared {
            return Ok(true);
        }
        match self.fence(environment).await {
            Ok(_) => Ok(true),
            Err(LeaseError::Held(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The fence of the lease, which is acquired where there is none.
    ///
    /// # Errors
    /// Where another engine holds it, or the store fails.
    pub(crate) async fn fence(&self, environment: &Environment) -> Result<Fence, LeaseError> {
        let mut fences = self.fences.lock().await;
        if let Some(fence) = fences.get(environment) {
            return Ok(*fence);
        }
        let fence = self.journal.acquire_environment_lease(environment).await?;
        fences.insert(environment.clone(), fence);
        Ok(fence)
    }

    /// The next caller acquires a new lease, with a higher fence.
    pub(crate) async fn renew(&self, environment: &Environment) {
        self.fences.lock().await.remove(environment);
    }

    /// As [`Self::renew`], for all environments.
    pub(crate) async fn renew_all(&self) {
        self.fences.lock().await.clear();
    }
}
