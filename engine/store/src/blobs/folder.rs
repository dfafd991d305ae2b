//! Where the files of blobs are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotswap_common::file;
use hotswap_core::Digest;

use super::StoredBlob;
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

    pub(super) fn list(&self) -> io::Result<Vec<StoredBlob>> {
        let mut blobs = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(parse_name) else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) => blobs.push(StoredBlob {
                    digest,
                    size: metadata.len(),
                    age: metadata.modified()?.elapsed().unwrap_or_default(),
                }),
                // Removed in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(blobs)
    }

    pub(super) fn remove(&self, digest: Digest) -> io::Result<bool> {
        match std::fs::remove_file(self.blob(digest)) {
            Ok(()) => file::sync_folder(&self.0).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn error(&self, source: io::Error) -> Error {
        let path = self.0.to_path_buf();
        Error::Folder { path, source }
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.0.join(INCOMING)
    }

    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        self.0.join(digest.hex())
    }

    pub(super) fn write_error(&self, source: io::Error) -> Error {
        let folder = self.0.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { folder },
            _ => Error::Write { folder, source },
        }
    }
}

/// The digest that a file of a blob is named by.
fn parse_name(name: &str) -> Option<Digest> {
    format!("sha256:{name}").parse().ok()
}

/// Runs `operation` on a thread that may block.
pub(super) async fn run_blocking<T: Send + 'static>(
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let result = tokio::task::spawn_blocking(operation).await;
    // Fails if the operation panicked or the runtime is shutting down.
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}
