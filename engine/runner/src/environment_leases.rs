//! Which environments this engine works in, and the fences under which it repairs their nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hotswap_core::{Environment, Fence};
use hotswap_store::{EnvironmentJournal, LeaseError};
use tokio::sync::Mutex;

use crate::metrics::add_environment_leases;

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
    leases: Mutex<Leases>,
}

#[derive(Default)]
struct Leases {
    fences: HashMap<Environment, Fence>,
    /// The environments whose leases are this engine's, also while it has to acquire them anew.
    held: HashSet<Environment>,
}

impl EnvironmentLeases {
    pub(crate) fn new(journal: Arc<dyn EnvironmentJournal>, is_shared: bool) -> Self {
        Self {
            journal,
            is_shared,
            leases: Mutex::default(),
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
        let mut leases = self.leases.lock().await;
        if let Some(fence) = leases.fences.get(environment) {
            return Ok(*fence);
        }
        let acquired = self.journal.acquire_environment_lease(environment).await;
        match &acquired {
            Ok(fence) => {
                leases.fences.insert(environment.clone(), *fence);
                if leases.held.insert(environment.clone()) {
                    add_environment_leases(1.0);
                }
            }
            Err(LeaseError::Held(_)) if leases.held.remove(environment) => {
                add_environment_leases(-1.0);
            }
            Err(_) => {}
        }
        acquired
    }

    /// The next caller acquires a new lease, with a higher fence.
    pub(crate) async fn renew(&self, environment: &Environment) {
        self.leases.lock().await.fences.remove(environment);
    }

    /// As [`Self::renew`], for all environments: their leases may have passed to other engines.
    pub(crate) async fn renew_all(&self) {
        let mut leases = self.leases.lock().await;
        leases.fences.clear();
        leases.forget_held();
    }
}

impl Leases {
    fn forget_held(&mut self) {
        add_environment_leases(-(self.held.len() as f64));
        self.held.clear();
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.forget_held();
    }
}
