use hotswap_core::{Damage, DeploymentId, IllegalTransition};
use hotswap_store::ReadError;

/// Why the state of a deployment could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The journal cannot be read to its end.
    #[error("{0}")]
    Damaged(Damage),
    /// There is no state before the first event.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unknown(id) => Self::Unknown(id),
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::Store(source) => Self::Store(source),
        }
    }
}
