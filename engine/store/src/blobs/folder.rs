//! Where the files of blobs are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotswap_common::file;
use hotswap_core::Digest;

use super::error::Error;

/// Subfolder for blobs that are being written.
const INCOMING: &str = "incoming";

/// The layout of a folder of blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Folder(Arc<Path>);

impl Folder {
    /// Creates the folder if it is missing, and removes unfinished uploads.
    pub(super) async fn open(path: PathBuf) -> Result<Self, Error> {
        let folder = Self(path.into());
        let prepared = folder.clone();
        match run_blocking(move || prepared.prepare()).await {
            Ok(()) => Ok(folder),
            Err(source) => Err(Error::Folder {
                path: folder.0.to_path_buf(),
                source,
            }),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        let incoming = self.incoming();
        std::fs::create_dir_all(&incoming)?;
        for entry in std::fs::read_dir(&incoming)? {
            std::fs::remove_file(entry?.path())?;
        }
        file::sync_folder(&self.0)
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.0.join(INCOMING)
    }

    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        self.0.join(digest.hex())
    }

    pub(super) fn write_error(&self, source: io::Error) -> Error {
        let folder = self.0.to_path_buf();
        Error::Write { folder, source }
    }
}

/// Runs `operation` on a thread that may block.
pub(super) async fn run_blocking<T: Send + 'static>(
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let result = tokio::task::spawn_blocking(operation).await;
    // Fails if the operation panicked or the runtime is shutting down.
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}
