//! Taking a module out of service.

use hotswap_core::{DeploymentId, Environment, EnvironmentEventBody, ModuleName};
use hotswap_store::{AppendToEnvironmentError, EnvironmentAppend};

use super::Reconciler;
use super::desired::Target;

/// Why a module was not retired.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// Nothing was ever decided for the module in the environment, or it is retired already.
    #[error("module '{module}' should not run in {environment} anyway")]
    NotDesired {
        /// The module.
        module: ModuleName,
        /// The environment.
        environment: Environment,
    },
    /// A deployment of the module is open.
    #[error("deployment {0} of the module in the environment has not ended")]
    Busy(DeploymentId),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Reconciler {
    /// Retires a module: from here on no version of it should run in the environment. Durable
    /// once this returns; the nodes follow.
    ///
    /// # Errors
    /// [`RetireError`].
    pub async fn retire(
        &self,
        environment: &Environment,
        module: &ModuleName,
        by: String,
        reason: Option<String>,
    ) -> Result<(), RetireError> {
        let desired = self.0.desired.read(environment).await;
        let desired = desired.map_err(|error| RetireError::Store(Box::new(error)))?;
        let is_desired = desired
            .iter()
            .filter(|one| one.module == *module)
            .flat_map(|one| &one.decisions)
            .any(|decision| match decision.target {
                Target::Version(_) | Target::AsBefore(_) => true,
                Target::Nothing | Target::NothingOn(_) => false,
            });
        if !is_desired {
            return Err(RetireError::NotDesired {
                module: module.clone(),
                environment: environment.clone(),
            });
        }
        let retired = EnvironmentEventBody::Retired {
            module: module.clone(),
            by,
            reason,
        };
        let append = EnvironmentAppend {
            environment: environment.clone(),
            fence: None,
            newest_cordon: None,
            at: self.0.clock.now(),
            bodies: vec![retired],
        };
        match self
            .0
            .environment_journal
            .append_to_environment(append)
            .await
        {
            Ok(_) => Ok(()),
            Err(AppendToEnvironmentError::Busy(id)) => Err(RetireError::Busy(id)),
            Err(AppendToEnvironmentError::Full) => Err(RetireError::Full),
            Err(error) => Err(RetireError::Store(Box::new(error))),
        }
    }
}
