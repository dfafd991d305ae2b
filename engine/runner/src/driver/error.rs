//! The error of a driver, in a file below all its parts.

use hotswap_core::{Damage, Fence};
use hotswap_store::{AppendError, LeaseError, ReadError};

use crate::strategies;

/// Why driving stopped. Retry: the journal holds all progress.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The store failed.
    #[error("the lease could not be acquired")]
    Lease(#[source] LeaseError),
    /// Retry at once: a person's request came first, and changes what the driver is to append.
    #[error("a request came before the events could be appended")]
    Superseded,
    /// Do not retry: another engine drives the deployment.
    #[error("another engine has acquired the lease")]
    LeaseLost,
    /// Raise the store's fence and retry with a new lease: a node has seen a higher fence than any
    /// that the store has handed out.
    #[error("the store's fences are older than a node's, which has seen {}", .seen.0)]
    StaleFence {
        /// The node's.
        seen: Fence,
        /// The order's. A revert has a lease of its own, later than the driver's.
        ours: Fence,
    },
    /// The store failed.
    #[error("the journal could not be read")]
    Read(#[source] ReadError),
    /// The store failed, or rejected an event that the driver may append.
    #[error("the journal could not be written")]
    Append(#[source] AppendError),
    /// The store failed, or the machine had no room to compile the component.
    #[error("the strategy could not be loaded")]
    Strategy(#[source] strategies::Error),
    /// The machine has no memory or address space for an instance of the strategy.
    #[error("not enough memory or address space to run the strategy: {0}")]
    NoRoom(String),
    /// This machine has no file, port or memory left for a connection.
    #[error("the nodes could not be asked")]
    Nodes(#[source] hotswap_fleet::Error),
    /// Do not retry until somebody appends: this engine cannot read the journal.
    #[error("{0}")]
    Damaged(Damage),
}

impl From<LeaseError> for Error {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Held(_) => Self::LeaseLost,
            LeaseError::Unknown(_) | LeaseError::Store(_) => Self::Lease(error),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::Unknown(_) | ReadError::Store(_) => Self::Read(error),
        }
    }
}

/// The error and its causes, in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
