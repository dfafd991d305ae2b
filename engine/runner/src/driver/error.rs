//! The error of a driver, in a file below all its parts.

use hotswap_core::IllegalTransition;
use hotswap_store::{AppendError, ReadError};

/// Why driving stopped. Retry: the journal holds all progress.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The store failed.
    #[error("the lease could not be acquired")]
    Lease(#[source] ReadError),
    /// Retry at once: a person's request came first, and changes what the driver is to append.
    #[error("a request came before the events could be appended")]
    Superseded,
    /// Do not retry: another engine drives the deployment.
    #[error("another engine has acquired the lease")]
    LeaseLost,
    /// The store failed.
    #[error("the journal could not be read")]
    Read(#[source] ReadError),
    /// The store failed, or rejected an event that the driver may append.
    #[error("the journal could not be written")]
    Append(#[source] AppendError),
    /// The store failed.
    #[error("the component of the strategy could not be read")]
    Strategy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store holds events that cannot follow each other.
    #[error("the journal is corrupt")]
    Corrupt(#[source] IllegalTransition),
}
