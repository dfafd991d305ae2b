//! The fences under which nodes are repaired.

use std::collections::HashMap;
use std::sync::Arc;

use hotswap_core::{Environment, Fence};
use hotswap_store::{EnvironmentJournal, ReadError};
use tokio::sync::Mutex;

/// The lease of each environment. Nodes take an order only under a fence that is not lower than
/// that of the last deployment there, so the lease is acquired anew after each.
pub(super) struct Leases {
    journal: Arc<dyn EnvironmentJournal>,
    fences: Mutex<HashMap<Environment, Fence>>,
}

impl Leases {
    pub(super) fn new(journal: Arc<dyn EnvironmentJournal>) -> Self {
        Self {
            journal,
            fences: Mutex::default(),
        }
    }

    /// The fence of the lease, which is acquired where there is none.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn fence(&self, environment: &Environment) -> Result<Fence, ReadError> {
        let mut fences = self.fences.lock().await;
        if let Some(fence) = fences.get(environment) {
            return Ok(*fence);
        }
        let fence = self.journal.acquire_environment_lease(environment).await?;
        fences.insert(environment.clone(), fence);
        Ok(fence)
    }

    /// The next caller acquires a new lease, with a higher fence.
    pub(super) async fn renew(&self, environment: &Environment) {
        self.fences.lock().await.remove(environment);
    }

    /// As [`Self::renew`], for all environments.
    pub(super) async fn renew_all(&self) {
        self.fences.lock().await.clear();
    }
}
