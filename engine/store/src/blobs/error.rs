use std::io;
use std::path::PathBuf;

use hotswap_core::Digest;

/// Why an operation on a blob failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder could not be created or cleaned up.
    #[error("could not prepare {}; check that this user may write there and that the disk has room", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The blob could not be written.
    #[error("could not write to {}; check that the disk has room and is healthy, then retry", folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk that holds {} is full", folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
    },
    /// The blob exists and could not be read.
    #[error("could not read blob {digest}")]
    Read {
        /// The blob's digest.
        digest: Digest,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file's content does not match its name: the disk has corrupted it.
    #[error("{} is corrupt; upload it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// The upload is larger than allowed.
    #[error("the upload is larger than the allowed {limit} bytes")]
    TooLarge {
        /// The maximum size, in bytes.
        limit: u64,
    },
    /// The upload's digest is not the expected one.
    #[error(
        "the upload has digest {found}, not {expected}; it was changed on the way, or the digest belongs to another file"
    )]
    Mismatch {
        /// The digest that the caller expected.
        expected: Digest,
        /// The digest of what arrived.
        found: Digest,
    },
    /// The store of the shared blobs failed.
    #[error("the store of the artifacts failed")]
    Shared(#[source] super::SharedError),
    /// An earlier write was cancelled or failed, so that the blob would have a gap.
    #[error("an earlier part of the upload was not written; start over")]
    Incomplete,
}
