use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hotswap_common::file;
use hotswap_core::Digest;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// The bytes of an artifact that have arrived so far. They stay on disk if the fetch is
/// cancelled or the node ends, and the next fetch goes on after them.
#[derive(Debug)]
pub(super) struct PartialArtifact {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
}

impl PartialArtifact {
    /// Opens the file, which is created if absent, and reads what it holds.
    pub(super) async fn open(path: PathBuf) -> io::Result<Self> {
        let open = move || -> io::Result<Self> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            let (mut hasher, mut length) = (Sha256::new(), 0);
            let mut buffer = vec![0; 64 << 10];
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
            Ok(Self {
                path,
                file: File::from_std(file),
                hasher,
                length,
            })
        };
        run_blocking(open).await
    }

    /// How many bytes have arrived.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The digest of the bytes that have arrived.
    pub(super) fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Removes all bytes.
    pub(super) async fn clear(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.set_len(0).await?;
        self.file.rewind().await?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Renames the file to `target`. It is durable when this returns.
    pub(super) async fn persist(mut self, target: &Path) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_data().await?;
        let (path, target) = (self.path, target.to_owned());
        run_blocking(move || {
            std::fs::rename(&path, &target)?;
            file::sync_folder(target.parent().unwrap_or(Path::new(".")))
        })
        .await
    }
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_that_have_arrived_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("a.partial"), folder.path().join("a"));
        let mut partial = PartialArtifact::open(path.clone()).await.unwrap();
        partial.append(b"one ").await.unwrap();
        partial.file.flush().await.unwrap();
        drop(partial);
        let mut partial = PartialArtifact::open(path.clone()).await.unwrap();
        assert_eq!(partial.length(), 4);
        partial.append(b"two").await.unwrap();
        assert_eq!(partial.digest(), Digest::of(b"one two"));
        partial.clear().await.unwrap();
        partial.append(b"anew").await.unwrap();
        assert_eq!(partial.digest(), Digest::of(b"anew"));
        partial.persist(&target).await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"anew");
        assert!(!path.exists());
    }
}
