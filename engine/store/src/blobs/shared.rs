//! Blobs that several engines share.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::Digest;

use super::StoredBlob;

/// The error of the store below. Boxed because every store has its own error type.
pub type SharedError = Box<dyn std::error::Error + Send + Sync>;

/// Blobs in a store that several engines share, in chunks of the same size except for the last one.
///
/// # Guarantees
/// - A blob is there whole or not at all: it is once [`Upload::finish`] has returned, and then for
///   all engines.
/// - Every method may be cancelled, and repeated.
///
/// # Errors
/// Every method fails only if the store fails.
#[async_trait]
pub trait SharedBlobs: Debug + Send + Sync + 'static {
    /// The size of a chunk, in bytes.
    fn chunk_bytes(&self) -> u64;

    /// Begins to store a blob of `size` bytes.
    async fn upload(&self, digest: Digest, size: u64) -> Result<Box<dyn Upload>, SharedError>;

    /// The size of a blob, in bytes. `None` if there is none.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, SharedError>;

    /// A chunk of a blob. `None` if there is none.
    async fn chunk(&self, digest: Digest, number: u64) -> Result<Option<Vec<u8>>, SharedError>;

    /// Lists all blobs, in no order.
    async fn list(&self) -> Result<Vec<StoredBlob>, SharedError>;

    /// Removes a blob, unless an upload of it has finished in the last `unchanged_for`, by the
    /// store's clock: another engine may be about to record it. Returns whether it did.
    async fn remove(&self, digest: Digest, unchanged_for: Duration) -> Result<bool, SharedError>;
}

/// A blob on its way into the [`SharedBlobs`]. Nothing is stored if it is dropped before
/// [`finish`](Self::finish) returns, or if a method fails.
#[async_trait]
pub trait Upload: Send {
    /// Stores the next chunk.
    async fn put(&mut self, chunk: Vec<u8>) -> Result<(), SharedError>;

    /// Makes a blob of all chunks.
    async fn finish(self: Box<Self>) -> Result<(), SharedError>;
}
