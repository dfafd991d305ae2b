//! Bytes by their digest: the artifacts of modules and the components of strategies.

mod error;
mod folder;
mod shared;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::Digest;
use tokio::fs::File;

use self::folder::{Folder, run_blocking};

pub use error::Error;
pub use shared::{SharedBlobs, SharedError, Upload};
pub use writer::Writer;

/// A folder of files, each named by the SHA-256 of its content. A handle: clones share the
/// folder and are cheap.
///
/// # Guarantees
/// A blob is there whole or not at all, whatever happens: it is written under a temporary
/// name, made durable, and then renamed.
///
/// Where engines share a store, the folder is a cache of each: a blob is stored when it is in the
/// [`SharedBlobs`], and is fetched from there at its first use.
///
/// # Assumptions
/// Only one process uses the folder at a time. Open the [`crate::Sqlite`] store beside it
/// first: its lock ensures that.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: Folder,
    limit: u64,
    shared: Option<Arc<dyn SharedBlobs>>,
}

/// Files of the cache that no shared blob has any more are kept for that long: a blob is in the
/// cache before it is shared.
const UNSHARED_AGE: Duration = Duration::from_secs(3600);

/// An engine records a shared blob within this time after the upload. Younger blobs are not removed
/// as unused.
const RECORDING_TIME: Duration = Duration::from_secs(60);

/// A blob, open for reading.
#[derive(Debug)]
pub struct Blob {
    /// Positioned at the start. The content is not verified: the reader knows the digest.
    pub file: File,
    /// In bytes.
    pub size: u64,
}

/// A blob in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its name.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// How long ago it was written. Zero if the clock was set back since.
    pub age: Duration,
}

impl Blobs {
    /// Opens a folder of blobs, which is created if it is missing. Removes what unfinished
    /// uploads have left in it. No blob can become larger than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder cannot be created, read or cleaned up.
    pub async fn open_folder(path: impl Into<PathBuf>, limit: u64) -> Result<Self, Error> {
        let folder = Folder::open(path.into()).await?;
        Ok(Self {
            folder,
            limit,
            shared: None,
        })
    }

    /// Stores all blobs in `shared` from now on, with the folder as a cache.
    #[must_use]
    pub fn shared_in(self, shared: Arc<dyn SharedBlobs>) -> Self {
        Self {
            shared: Some(shared),
            ..self
        }
    }

    /// Starts writing a new blob.
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be created.
    pub async fn writer(&self) -> Result<Writer, Error> {
        Writer::create(self.folder.clone(), self.limit, self.shared.clone()).await
    }

    /// Opens a blob for reading in parts. `None` if there is no such blob.
    ///
    /// # Errors
    /// - [`Error::Read`] if the file exists and cannot be opened.
    /// - Where blobs are shared, also the others.
    pub async fn open(&self, digest: Digest) -> Result<Option<Blob>, Error> {
        match self.open_local(digest).await? {
            None if self.fetch(digest).await? => self.open_local(digest).await,
            found => Ok(found),
        }
    }

    async fn open_local(&self, digest: Digest) -> Result<Option<Blob>, Error> {
        let path = self.folder.blob(digest);
        let open = move || {
            let file = std::fs::File::open(path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let opened = run_blocking(open).await.map(|(file, size)| Blob {
            file: File::from_std(file),
            size,
        });
        none_if_missing(digest, opened)
    }

    /// Lists all blobs, in no order. Leaves out files that are no blobs.
    ///
    /// # Errors
    /// - [`Error::Folder`] if the folder cannot be read.
    /// - [`Error::Shared`] if the shared blobs cannot be listed.
    pub async fn list(&self) -> Result<Vec<StoredBlob>, Error> {
        let folder = self.folder.clone();
        let listed = run_blocking(move || folder.list()).await;
        let local = listed.map_err(|source| self.folder.error(source))?;
        let Some(shared) = &self.shared else {
            return Ok(local);
        };
        let shared = shared.list().await.map_err(Error::Shared)?;
        for blob in local {
            let is_shared = shared.iter().any(|other| other.digest == blob.digest);
            if !is_shared && blob.age > UNSHARED_AGE {
                self.remove_local(blob.digest).await?;
            }
        }
        Ok(shared)
    }

    /// Removes a blob. Returns whether there was one. The caller makes sure that nobody needs it
    /// any more. A reader that has opened it reads on.
    ///
    /// Cancel safe: a cancelled call may have removed it. Repeat it to be sure.
    ///
    /// # Errors
    /// - [`Error::Folder`] if it cannot be removed.
    /// - [`Error::Shared`] if it cannot be removed from the shared blobs.
    pub async fn remove(&self, digest: Digest) -> Result<bool, Error> {
        self.remove_unused(digest, Duration::ZERO).await
    }

    /// Removes a blob that no record named when that was checked, `found_unused` ago. Where engines
    /// share their blobs, it stays if one of them has uploaded it since, or so shortly before the
    /// check that its record may have come later. Returns whether it was removed.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub async fn remove_unused(
        &self,
        digest: Digest,
        found_unused: Duration,
    ) -> Result<bool, Error> {
        let Some(shared) = &self.shared else {
            return self.remove_local(digest).await;
        };
        let unchanged_for = match found_unused.is_zero() {
            true => found_unused,
            false => found_unused.saturating_add(RECORDING_TIME),
        };
        let removed = shared.remove(digest, unchanged_for).await;
        let removed = removed.map_err(Error::Shared)?;
        // While the shared blob stays, the local copy is useful.
        let stays = !removed && shared.size(digest).await.map_err(Error::Shared)?.is_some();
        Ok(!stays && self.remove_local(digest).await? || removed)
    }

    /// Uploads a blob once more if another engine has removed it meanwhile. Call it when a record
    /// names the blob: from then on no engine removes it. Returns whether the blob was gone.
    ///
    /// # Errors
    /// [`Error::Shared`] if the store of the shared blobs failed, [`Error::Read`] and
    /// [`Error::Corrupt`] if the copy in the folder cannot be read.
    pub async fn share_again(&self, digest: Digest) -> Result<bool, Error> {
        let Some(shared) = &self.shared else {
            return Ok(false);
        };
        let size = shared.size(digest).await.map_err(Error::Shared)?;
        if size.is_some() {
            return Ok(false);
        }
        let Some(content) = self.read_local(digest).await? else {
            return Ok(false);
        };
        put(shared.as_ref(), digest, &content).await?;
        Ok(true)
    }

    async fn remove_local(&self, digest: Digest) -> Result<bool, Error> {
        let folder = self.folder.clone();
        let removed = run_blocking(move || folder.remove(digest)).await;
        removed.map_err(|source| self.folder.error(source))
    }

    /// Reads a whole blob and verifies its digest. `None` if there is no such blob.
    ///
    /// # Errors
    /// - [`Error::Corrupt`] if the content does not match the digest.
    /// - [`Error::Read`] if the file exists and cannot be read.
    /// - Where blobs are shared, also the others.
    pub async fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        match self.read_local(digest).await {
            Ok(None) if self.fetch(digest).await? => self.read_local(digest).await,
            // The disk has corrupted the copy.
            Err(Error::Corrupt { .. }) if self.fetch(digest).await? => {
                self.read_local(digest).await
            }
            read => read,
        }
    }

    async fn read_local(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = self.folder.blob(digest);
        let file = path.clone();
        let read = move || {
            let bytes = std::fs::read(file)?;
            Ok((Digest::of(&bytes), bytes))
        };
        match none_if_missing(digest, run_blocking(read).await)? {
            Some((found, _)) if found != digest => Err(Error::Corrupt { path }),
            content => Ok(content.map(|(_, bytes)| bytes)),
        }
    }
}

impl Blobs {
    /// Copies a shared blob into the folder. Returns whether there is one.
    async fn fetch(&self, digest: Digest) -> Result<bool, Error> {
        let Some(shared) = &self.shared else {
            return Ok(false);
        };
        let size = shared.size(digest).await.map_err(Error::Shared)?;
        let Some(size) = size else {
            return Ok(false);
        };
        // Not shared again.
        let mut writer = Writer::create(self.folder.clone(), u64::MAX, None).await?;
        for number in 0..size.div_ceil(shared.chunk_bytes()) {
            let chunk = shared.chunk(digest, number).await.map_err(Error::Shared)?;
            // It was removed meanwhile.
            let Some(chunk) = chunk else {
                return Ok(false);
            };
            writer.write(&chunk).await?;
        }
        writer.finish(Some(digest)).await?;
        Ok(true)
    }
}

/// Stores a blob from memory.
pub(crate) async fn put(
    shared: &dyn SharedBlobs,
    digest: Digest,
    bytes: &[u8],
) -> Result<(), Error> {
    let put = async {
        let mut upload = shared.upload(digest, bytes.len() as u64).await?;
        let chunk_bytes = usize::try_from(shared.chunk_bytes())?;
        for chunk in bytes.chunks(chunk_bytes) {
            upload.put(chunk.to_vec()).await?;
        }
        upload.finish().await
    };
    put.await.map_err(Error::Shared)
}

fn none_if_missing<T>(digest: Digest, result: io::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { digest, source }),
    }
}
