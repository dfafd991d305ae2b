//! Bytes by their digest: the artifacts of modules and the components of strategies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hotswap_core::Digest;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// Where pieces of what is being written lie, inside the folder.
const INCOMING: &str = "incoming";

/// A folder of files, each named by the SHA-256 of what it holds. A handle: cheap to
/// clone, the same folder.
///
/// A file is there whole or not at all, whatever happens: it is written under another
/// name, made durable, and then renamed. One process has a folder at a time; see to that
/// by opening the [`crate::Sqlite`] beside it first.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: Arc<Path>,
    limit: u64,
    next: Arc<AtomicU64>,
}

/// Something in [`Blobs`], open to be read.
#[derive(Debug)]
pub struct Blob {
    /// At its start. What it gives is not checked: whoever reads it knows the digest.
    pub file: File,
    /// In bytes.
    pub size: u64,
}

/// Something that is being written to [`Blobs`]. Where it is dropped before
/// [`Self::finish`] is through, nothing of it stays.
#[derive(Debug)]
pub struct Writer {
    blobs: Blobs,
    file: File,
    path: Temporary,
    hasher: Sha256,
    written: u64,
    /// Whether a write was begun and its end not seen.
    torn: bool,
}

/// A file that is removed with this value; not there any more is well, too.
#[derive(Debug)]
struct Temporary(PathBuf);

/// What went wrong with a blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder could not be made ready.
    #[error("could not prepare {}: see that this user may write there and the disk has room", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("could not write to {}: see that the disk has room and is sound, then try again", folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is there, and could not be read.
    #[error("could not read {digest}")]
    Read {
        /// Of the blob.
        digest: Digest,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What the file holds is not what its name says: the disk has changed it.
    #[error("{} is damaged: upload it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than is allowed.
    #[error("it is larger than the {limit} bytes that are allowed")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// It is something else than was said.
    #[error(
        "it has the digest {found} and should have {expected}: it was changed on the way, or the digest belongs to something else"
    )]
    Mismatch {
        /// What was said.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// A write was cancelled or failed, and this goes on all the same.
    #[error("an earlier piece was not written: begin again")]
    Torn,
}

impl Blobs {
    /// The blobs in a folder, which is made where there is none. What uploads that were
    /// cut short have left in it is removed. None can become larger than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Folder`].
    pub async fn at(folder: impl Into<PathBuf>, limit: u64) -> Result<Self, Error> {
        let folder = folder.into();
        let path = folder.clone();
        let prepare = move || -> io::Result<()> {
            let incoming = path.join(INCOMING);
            std::fs::create_dir_all(&incoming)?;
            for entry in std::fs::read_dir(&incoming)? {
                std::fs::remove_file(entry?.path())?;
            }
            std::fs::File::open(&path)?.sync_all()
        };
        match unblocked(prepare).await {
            Ok(()) => Ok(Self {
                folder: folder.into(),
                limit,
                next: Arc::default(),
            }),
            Err(source) => Err(Error::Folder {
                path: folder,
                source,
            }),
        }
    }

    /// Begins something new.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub async fn writer(&self) -> Result<Writer, Error> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let path = self.folder.join(INCOMING).join(name);
        // In one piece on another thread: where this is cancelled, the file is made after
        // that, and removed when the result finds nobody to take it.
        let make = move || {
            let file = std::fs::File::create_new(&path)?;
            Ok((file, Temporary(path)))
        };
        let (file, path) = unblocked(make)
            .await
            .map_err(|source| self.unwritten(source))?;
        Ok(Writer {
            blobs: self.clone(),
            file: File::from_std(file),
            path,
            hasher: Sha256::new(),
            written: 0,
            torn: false,
        })
    }

    /// Opens a blob to be read piece by piece; none where it is not there.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn open(&self, digest: Digest) -> Result<Option<Blob>, Error> {
        let path = self.path(digest);
        let open = move || {
            let file = std::fs::File::open(path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let opened = unblocked(open).await.map(|(file, size)| Blob {
            file: File::from_std(file),
            size,
        });
        found(digest, opened)
    }

    /// All of a blob, checked against its digest; none where it is not there.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Read`].
    pub async fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(digest);
        let file = path.clone();
        let read = move || {
            let bytes = std::fs::read(file)?;
            Ok((Digest::of(&bytes), bytes))
        };
        match found(digest, unblocked(read).await)? {
            Some((of, _)) if of != digest => Err(Error::Damaged { path }),
            other => Ok(other.map(|(_, bytes)| bytes)),
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    fn unwritten(&self, source: io::Error) -> Error {
        let folder = self.folder.to_path_buf();
        Error::Write { folder, source }
    }
}

impl Writer {
    /// Writes the next piece. Where it fails or is cancelled, this can only be dropped.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Write`].
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.torn {
            return Err(Error::Torn);
        }
        self.torn = true;
        let written = self.written.saturating_add(piece.len() as u64);
        let limit = self.blobs.limit;
        if written > limit {
            return Err(Error::TooLarge { limit });
        }
        self.hasher.update(piece);
        let result = self.file.write_all(piece).await;
        result.map_err(|source| self.blobs.unwritten(source))?;
        self.written = written;
        self.torn = false;
        Ok(())
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// All that was written so far, to be looked at before it is kept.
    ///
    /// # Errors
    /// [`Error::Write`], and [`Error::Torn`].
    pub async fn content(&mut self) -> Result<Vec<u8>, Error> {
        if self.torn {
            return Err(Error::Torn);
        }
        let flushed = self.file.flush().await;
        flushed.map_err(|source| self.blobs.unwritten(source))?;
        let read = tokio::fs::read(&self.path.0).await;
        read.map_err(|source| self.blobs.unwritten(source))
    }

    /// Makes it durable under its digest, and returns that. Where the same is there
    /// already, it takes its place. A cancelled call has done it or not; nothing else
    /// stays.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where it is not what was expected, and [`Error::Write`]. Then
    /// nothing was stored.
    pub async fn finish(mut self, expected: Option<Digest>) -> Result<Digest, Error> {
        if self.torn {
            return Err(Error::Torn);
        }
        let found = Digest::from_bytes(self.hasher.finalize_reset().into());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Error::Mismatch { expected, found });
        }
        let mut store = async || -> io::Result<()> {
            self.file.flush().await?;
            self.file.sync_all().await?;
            tokio::fs::rename(&self.path.0, self.blobs.path(found)).await?;
            // The name is durable when the folder is.
            File::open(&*self.blobs.folder).await?.sync_all().await
        };
        let stored = store().await;
        stored.map_err(|source| self.blobs.unwritten(source))?;
        Ok(found)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(
                path = %self.0.display(),
                error = &error as &dyn std::error::Error,
                "could not remove what an upload left, the next start will"
            );
        }
    }
}

/// Nothing where there is no such file.
fn found<T>(digest: Digest, result: io::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { digest, source }),
    }
}

/// On a thread that may block.
async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    // Fails where the runtime is being shut down.
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}
