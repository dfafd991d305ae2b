use std::io;

use hotswap_core::ParseError;

use crate::disk::ArtifactError;
use crate::load_error::LoadError;
use crate::slots;

/// Why an order was not carried out. Nothing has changed, except that the node may have
/// seen a higher fence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "the order has fence {fence}, but the node has seen fence {highest}: another engine or a later deployment has taken over"
    )]
    Fenced { fence: u64, highest: u64 },
    #[error("operation {0} was another order: give each order its own id")]
    OperationIdReused(String),
    #[error(transparent)]
    InvalidVersion(#[from] ParseError),
    #[error(transparent)]
    Slots(#[from] slots::Error),
    #[error("version {version} of module {module} cannot be loaded")]
    Version {
        module: String,
        version: String,
        #[source]
        source: VersionError,
    },
    #[error("a later order of this module has taken the place of this one")]
    Superseded,
    #[error("cannot save the change: check whether the node's data directory is full or read-only")]
    SaveRecord(#[source] io::Error),
    #[error("the node is shutting down")]
    ShuttingDown,
    #[error(
        "the node panicked in this order, which is a bug: please report it with the node's log"
    )]
    Panicked,
}

/// Why a version cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersionError {
    #[error(transparent)]
    Digest(#[from] ParseError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Load(#[from] LoadError),
}
