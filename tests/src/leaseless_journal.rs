use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::DeploymentId;
use hotswap_store::{Journal, Lease, LeaseError};

use crate::{InterceptedJournal, Interceptor};

/// Never grants a lease, so no engine drives a deployment. Tests append the events themselves.
pub struct Leaseless;

/// A journal that never grants a lease.
pub type LeaselessJournal = InterceptedJournal<Leaseless>;

impl LeaselessJournal {
    /// Wraps `journal`, for an engine that shall not drive deployments.
    pub fn wrap(journal: Arc<dyn Journal>) -> Arc<Self> {
        Self::new(journal, Leaseless)
    }
}

#[async_trait]
impl Interceptor for Leaseless {
    async fn acquire_lease(&self, _: &dyn Journal, _: DeploymentId) -> Result<Lease, LeaseError> {
        std::future::pending().await
    }
}
