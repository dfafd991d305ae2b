//! Deleting deployments that have ended.

use hotswap_core::{DeploymentId, Status};
use hotswap_store::DeleteError;

use super::{Deployments, Error};

impl Deployments {
    /// Deletes a deployment that has ended, with its journal. What it rolled out stays.
    ///
    /// # Errors
    /// [`Error::InUse`] if it has not ended, or what it rolled out should run in its
    /// environment: a rollback needs it. [`Error::Unknown`] if there is no such deployment.
    pub async fn delete(&self, id: DeploymentId) -> Result<(), Error> {
        if matches!(
            self.head(id).await?.lifecycle.status(),
            Status::Succeeded | Status::Partial
        ) {
            let state = self.projections.get(id).await?;
            let environment = &state.header.environment;
            let current = self.journal.current_deployments(Some(environment)).await?;
            if current.contains(&id) {
                let module = &state.header.module;
                let reason = format!(
                    "{module} should run in {environment} because of it; deploy a version of the \
                     module first"
                );
                return Err(Error::InUse { id, reason });
            }
        }
        self.projections.forget(id);
        match self.journal.delete(id).await {
            Ok(()) => Ok(()),
            Err(DeleteError::Unknown(id)) => Err(Error::Unknown(id)),
            Err(DeleteError::Open(id)) => Err(Error::InUse {
                id,
                reason: "it has not ended; abort it, or wait for its end".to_owned(),
            }),
            Err(DeleteError::Store(source)) => Err(Error::Store(source)),
        }
    }
}
