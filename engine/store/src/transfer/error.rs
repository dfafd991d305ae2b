//! Why the state could not be moved.

use std::io;

use hotswap_core::Digest;

use crate::{CatalogueError, UnreadableRecord};

/// Why the state could not be exported or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive could not be written.
    #[error("could not write the archive; check that the disk has room, then export again")]
    Write(#[source] io::Error),
    /// The archive could not be read.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
    /// The file is not an archive.
    #[error("this is no archive of a store; name a file that `hotswap store export` has written")]
    Foreign,
    /// A newer release has written it.
    #[error(
        "the archive has format {found}, and this release knows format {known}; import it with \
         the release that wrote it"
    )]
    Format {
        /// Its format.
        found: u64,
        /// The one that this release knows.
        known: u64,
    },
    /// A part of it is missing.
    #[error("the archive ends too early: a part of it is missing; copy it again, or export again")]
    Truncated,
    /// A record cannot be read.
    #[error("record {number} of the archive cannot be read; copy it again, or export again")]
    Record {
        /// Its place, counted from 1.
        number: u64,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// It was changed.
    #[error(
        "the archive was changed: its digest is {found}, and it should be {expected}; copy it \
         again, or export again"
    )]
    Changed {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A record of the store cannot be read, and would be missing.
    #[error("{0}; delete the record, or have it written anew, then export again")]
    UnreadableRecord(UnreadableRecord),
    /// An engine used the store while it was read.
    #[error(
        "an engine used the store during the export; stop all engines, then export again: the \
         archive is of no use"
    )]
    Disturbed,
    /// The store holds something.
    #[error(
        "the store is not empty; import into a new data folder, or on a server into an empty \
         database or under another keyPrefix"
    )]
    NotEmpty,
    /// Engines use the store.
    #[error(
        "the store is in use by {}; stop all engines first. One that was killed counts as living \
         for the time of its lease", .0.join(", ")
    )]
    InUse(Vec<String>),
    /// Another import into the same store has begun.
    #[error(
        "another import into this store has begun, or an engine has used it; import again, into an \
         empty store"
    )]
    Replaced,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] CatalogueError),
    /// An artifact could not be read or stored.
    #[error("an artifact could not be moved")]
    Blob(#[from] crate::blobs::Error),
    /// An artifact is missing.
    #[error("artifact {0} was deleted during the export; stop all engines, then export again")]
    MissingBlob(Digest),
}

impl Error {
    /// The error of a store, which may be one of these.
    pub(super) fn of(error: CatalogueError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::Store(error),
        }
    }
}

impl From<crate::redis::Error> for Error {
    fn from(error: crate::redis::Error) -> Self {
        Self::Store(Box::new(error))
    }
}
