//! Why the operations of a store fail.

use hotswap_core::{Damage, DeploymentId, Fence};

use super::record::Head;

/// The error of the store below. Boxed because every store has its own error type.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why [`Journal::create`](super::Journal::create) failed.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The requester has created this deployment under the same idempotency key.
    #[error("deployment {0} was created under the same idempotency key")]
    Repeated(DeploymentId),
    /// Another deployment of the module in the environment is open.
    #[error("deployment {0} of the same module in the same environment has not ended")]
    Busy(DeploymentId),
    /// The deployment that is to be superseded has ended.
    #[error("deployment {0}, which is to be superseded, has ended")]
    NothingToSupersede(DeploymentId),
    /// The success from which the deployment goes back is not the newest one any more, or its
    /// module was retired.
    #[error("deployment {0}, from which it goes back, is not what should run any more")]
    NothingToUndo(DeploymentId),
    /// The disk is full. What is left is for the deployments that are under way.
    #[error("the disk is full")]
    Full,
    /// The store failed. Whether the journal was created is unknown.
    #[error("the store could not create the journal")]
    Store(#[source] Source),
}

/// Why [`Journal::append`](super::Journal::append) failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The journal does not end where the caller expected.
    #[error("the journal's next event is number {}", .0.next_seq)]
    Conflict(Head),
    /// Another engine drives the deployment, under this fence. 0 if none has acquired a lease
    /// yet.
    #[error("the lease has passed to another engine, with fence {}", .0.0)]
    Fenced(Fence),
    /// One of the events cannot follow those before it.
    #[error(transparent)]
    IllegalTransition(hotswap_core::IllegalTransition),
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The store failed. Whether the events were appended is unknown.
    #[error("the store could not append to the journal")]
    Store(#[source] Source),
}

/// Why a lease could not be acquired.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The engine of this name holds it.
    #[error("the engine {0} holds the lease")]
    Held(String),
    /// The store failed. Whether the lease was acquired is unknown.
    #[error("the store could not hand out the lease")]
    Store(#[source] Source),
}

/// Why [`Journal::delete`](super::Journal::delete) failed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The deployment has not ended.
    #[error("deployment {0} has not ended")]
    Open(DeploymentId),
    /// The store failed. Whether the deployment was deleted is unknown.
    #[error("the store could not delete the journal")]
    Store(#[source] Source),
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// The journal holds an event that cannot be read, or lacks one. A retry does not help.
    #[error("{0}")]
    Damaged(Damage),
    /// The store failed.
    #[error("the store could not read the journal")]
    Store(#[source] Source),
}
