//! Deployments that are tried again.

use hotswap_core::{Deployment, DeploymentId, Status};
use semver::Version;

use super::new_deployment::Origin;
use super::{Deployments, Error, NewDeployment, NewRetry};

/// A retry that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetriedDeployment {
    /// The new deployment.
    pub id: DeploymentId,
    /// The version that it deploys.
    pub version: Version,
    /// By which component of the strategy. Completes the sentence "it deploys 1.4.0, …".
    pub reason: String,
}

impl Deployments {
    /// Creates a deployment that asks for the same as deployment `id`, which ended without
    /// success. Uses the strategy that has the name now, and the present policy of the environment.
    ///
    /// # Errors
    /// [`Error::NotEnded`], [`Error::HasSucceeded`]; [`Error::VersionGone`] where the version was
    /// deleted since; [`Error::Damaged`] where its request cannot be read. Others as for
    /// [`Self::create`].
    pub async fn create_retry(
        &self,
        id: DeploymentId,
        new: NewRetry,
    ) -> Result<RetriedDeployment, Error> {
        let state = self.get(id).await?;
        match state.status() {
            Status::Succeeded | Status::Partial => return Err(Error::HasSucceeded(id)),
            status if !status.is_final() => return Err(Error::NotEnded(id)),
            _ => {}
        }
        if let Some(damage) = state.damage.clone().filter(|damage| damage.seq == 0) {
            return Err(Error::Damaged(damage));
        }
        let header = &state.header;
        let again = NewDeployment {
            module: header.module.name.clone(),
            version: Some(header.module.version.clone()),
            environment: header.environment.clone(),
            strategy: Some(header.strategy.name.clone()),
            config: Some(header.config.clone()),
            requester: new.requester,
            description: header.description.clone(),
            metadata: header.metadata.clone(),
            require_approval: header.require_approval,
            selector: header.selector.clone(),
            supersede: false,
            idempotency_key: new.idempotency_key,
        };
        let origin = Origin {
            rollback_of: header.rollback_of,
            retry_of: Some(id),
            undo_to: header.undo_to,
            // It is tried again by its name, whatever has succeeded since.
            undo_from: None,
            artifact: Some(header.module.clone()),
            request: None,
        };
        let id = self.create_with(again, origin).await?;
        Ok(RetriedDeployment {
            id,
            version: header.module.version.clone(),
            reason: describe_component(&state, &self.at(id, 1).await?),
        })
    }
}

/// Which component of the strategy tries it again.
fn describe_component(first: &Deployment, again: &Deployment) -> String {
    let (first, again) = (&first.header.strategy, &again.header.strategy);
    let (name, version) = (&again.name, &again.version);
    if again.digest == first.digest {
        format!("by {name} {version}, the same component as before")
    } else {
        let before = &first.version;
        format!("by {name} {version}, a newer component than before, which was {before}")
    }
}
