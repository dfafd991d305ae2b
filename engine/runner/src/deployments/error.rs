use hotswap_core::{DeploymentId, Environment, IllegalTransition, ModuleName, StrategyName};
use hotswap_plugins::ConfigError;
use hotswap_store::{AppendError, ReadError};
use semver::Version;

use crate::strategies;

/// Why something asked of deployments was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// A deployment of the same module in the same environment has not ended.
    #[error("deployment {by} of the same module in the same environment has not ended")]
    Busy {
        /// That one.
        by: DeploymentId,
    },
    /// It does not fit where the deployment is.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// No version of the module was uploaded.
    #[error("no module '{0}'")]
    UnknownModule(ModuleName),
    /// This version of the module was not uploaded.
    #[error("module '{module}' has no version {version}")]
    UnknownVersion {
        /// The module.
        module: ModuleName,
        /// The version that was named.
        version: Version,
        /// Those that it has.
        known: Vec<Version>,
    },
    /// There is no such strategy.
    #[error("no strategy '{name}'")]
    UnknownStrategy {
        /// The name.
        name: StrategyName,
        /// Those that there are.
        known: Vec<StrategyName>,
    },
    /// The configuration does not fit the strategy's schema.
    #[error("the configuration does not fit the strategy")]
    Config(#[source] ConfigError),
    /// The environment has no nodes.
    #[error("environment '{0}' has no nodes")]
    NoNodes(Environment),
    /// Nothing ran before the deployment that is to be rolled back.
    #[error("nothing ran before deployment {0}")]
    NothingBefore(DeploymentId),
    /// The strategy could not be read.
    #[error("the strategy could not be read")]
    Strategy(#[source] strategies::Error),
    /// The store failed; whether something was done is unknown.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unknown(id) => Self::Unknown(id),
            ReadError::Store(source) => Self::Store(source),
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unknown(id) => Self::Unknown(id),
            AppendError::IllegalTransition(illegal) => Self::IllegalTransition(illegal),
            AppendError::Store(source) => Self::Store(source),
            lost @ (AppendError::Conflict(_) | AppendError::Fenced(_)) => {
                Self::Store(Box::new(lost))
            }
        }
    }
}
