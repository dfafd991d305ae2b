//! Writing a blob.

use std::io;
use std::sync::Arc;

use hotswap_common::file;
use hotswap_core::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::SharedBlobs;
use super::error::Error;
use super::folder::{Folder, run_blocking};

/// A blob that is being written. Dropping it before [`Self::finish`] returns removes what was
/// written.
#[derive(Debug)]
pub struct Writer {
    folder: Folder,
    limit: u64,
    shared: Option<Arc<dyn SharedBlobs>>,
    file: File,
    /// Removes the file when it is dropped.
    path: TempPath,
    hasher: Sha256,
    written: u64,
    /// Set while a write runs: if it is cancelled or fails, the file has a gap.
    incomplete: bool,
}

impl Writer {
    pub(super) async fn create(
        folder: Folder,
        limit: u64,
        shared: Option<Arc<dyn SharedBlobs>>,
    ) -> Result<Self, Error> {
        let incoming = folder.incoming();
        // One blocking call: if this future is cancelled, the file is created all the same,
        // and removed when the unused result is dropped.
        let created = run_blocking(move || file::temporary(&incoming)).await;
        let (file, path) = created
            .map_err(|source| folder.write_error(source))?
            .into_parts();
        Ok(Self {
            folder,
            limit,
            shared,
            file: File::from_std(file),
            path,
            hasher: Sha256::new(),
            written: 0,
            incomplete: false,
        })
    }

    /// Writes the next part. After a failed or cancelled call the writer can only be dropped.
    ///
    /// # Errors
    /// - [`Error::TooLarge`] if the blob would exceed the limit.
    /// - [`Error::Write`] if the disk failed.
    /// - [`Error::Incomplete`] if an earlier call failed or was cancelled.
    pub async fn write(&mut self, part: &[u8]) -> Result<(), Error> {
        self.check_complete()?;
        self.incomplete = true;
        let written = self.written.saturating_add(part.len() as u64);
        let limit = self.limit;
        if written > limit {
            return Err(Error::TooLarge { limit });
        }
        self.hasher.update(part);
        let result = self.file.write_all(part).await;
        result.map_err(|source| self.folder.write_error(source))?;
        self.written = written;
        self.incomplete = false;
        Ok(())
    }

    /// Number of bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Everything written so far, for validation before [`Self::finish`].
    ///
    /// # Errors
    /// - [`Error::Write`] if the disk failed.
    /// - [`Error::Incomplete`] if an earlier write failed or was cancelled.
    pub async fn content(&mut self) -> Result<Vec<u8>, Error> {
        self.check_complete()?;
        let flushed = self.file.flush().await;
        flushed.map_err(|source| self.folder.write_error(source))?;
        let read = tokio::fs::read(&self.path).await;
        read.map_err(|source| self.folder.write_error(source))
    }

    /// Stores the blob durably under its digest and returns the digest. Replaces an existing
    /// blob of the same digest, which repairs a corrupt one.
    ///
    /// Cancel safe: a cancelled call has stored the whole blob or nothing.
    ///
    /// # Errors
    /// - [`Error::Mismatch`] if the digest is not `expected`.
    /// - [`Error::Incomplete`] if an earlier write failed or was cancelled.
    /// - [`Error::Write`] if the disk failed. If only the folder's sync failed, the blob is
    ///   there, but a power loss may remove it.
    /// - [`Error::Shared`] if the store of the shared blobs failed.
    ///
    /// After any other error nothing is stored.
    pub async fn finish(self, expected: Option<Digest>) -> Result<Digest, Error> {
        self.check_complete()?;
        let Self {
            folder,
            mut file,
            path,
            hasher,
            shared,
            written,
            ..
        } = self;
        let found = Digest::from_bytes(hasher.finalize().into());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Error::Mismatch { expected, found });
        }
        if let Some(shared) = shared {
            let flushed = file.flush().await;
            flushed.map_err(|source| folder.write_error(source))?;
            // A handle of its own: this one cannot read.
            let opened = File::open(&path).await;
            let content = opened.map_err(|source| folder.write_error(source))?;
            share(shared.as_ref(), &folder, found, content, written).await?;
        }
        let destination = folder.blob(found);
        let store = async || -> io::Result<()> {
            file.flush().await?;
            let file = NamedTempFile::from_parts(file.into_std().await, path);
            run_blocking(move || file::persist(file, &destination)).await
        };
        match store().await {
            Ok(()) => Ok(found),
            Err(source) => Err(folder.write_error(source)),
        }
    }

    fn check_complete(&self) -> Result<(), Error> {
        if self.incomplete {
            return Err(Error::Incomplete);
        }
        Ok(())
    }
}

/// Copies the content of a file into the shared blobs.
async fn share(
    shared: &dyn SharedBlobs,
    folder: &Folder,
    digest: Digest,
    mut content: File,
    size: u64,
) -> Result<(), Error> {
    let upload = shared.upload(digest, size).await;
    let mut upload = upload.map_err(Error::Shared)?;
    content
        .rewind()
        .await
        .map_err(|source| folder.write_error(source))?;
    for _ in 0..size.div_ceil(shared.chunk_bytes()) {
        let mut chunk = Vec::new();
        let mut part = (&mut content).take(shared.chunk_bytes());
        let read = part.read_to_end(&mut chunk).await;
        read.map_err(|source| folder.write_error(source))?;
        upload.put(chunk).await.map_err(Error::Shared)?;
    }
    upload.finish().await.map_err(Error::Shared)
}
