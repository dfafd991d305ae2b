use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::StreamExt as _;
use hotswap_common::file;
use hotswap_core::Digest;
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::engine_client::EngineClient;

/// Time-out of one fetch. Without it, an engine that sends a few bytes now and then would
/// hold an order for ever.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

/// Artifacts on disk, one file each, named by digest. Fetches missing ones from the engine.
#[derive(Debug)]
pub(crate) struct ArtifactStore {
    folder: PathBuf,
    /// `None` if the node has no engine.
    engine: Option<EngineClient>,
    /// Largest artifact that is fetched, in bytes.
    max_bytes: u64,
    /// Number of pins of each pinned artifact.
    pins: Mutex<HashMap<Digest, usize>>,
}

/// Keeps an artifact on disk while it is being loaded and no slot names it yet. Dropping
/// it releases the artifact.
#[derive(Debug)]
pub(crate) struct ArtifactPin {
    store: Arc<ArtifactStore>,
    digest: Digest,
}

/// Why an artifact is not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The node has no engine to fetch it from.
    #[error(
        "the artifact {0} is not on this node's disk, and the node has no engine to fetch it from"
    )]
    NoEngine(Digest),
    /// The engine did not answer, or the connection broke.
    #[error(
        "cannot fetch the artifact {digest} from the engine: check that this node can reach it"
    )]
    Fetch {
        digest: Digest,
        #[source]
        source: reqwest::Error,
    },
    /// The engine answered with an error status.
    #[error("the engine answered {status} to the request for the artifact {digest}: {}", advice(*status))]
    Status { digest: Digest, status: StatusCode },
    /// The received bytes have another digest.
    #[error(
        "the engine sent {actual} as the artifact {expected}: it was changed in transit or in the engine's store; push it again"
    )]
    DigestMismatch { expected: Digest, actual: Digest },
    /// The artifact is larger than the node accepts.
    #[error("the artifact {digest} is larger than the {max_bytes} bytes that this node accepts")]
    TooLarge { digest: Digest, max_bytes: u64 },
    /// The artifact cannot be written.
    #[error("cannot write the artifact to {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "push the version first",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "start this node with the engine's node token"
        }
        _ => "see the engine's log",
    }
}

impl Error {
    /// Whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Fetch { .. } | Self::Write { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoEngine(_) | Self::DigestMismatch { .. } | Self::TooLarge { .. } => false,
        }
    }
}

impl ArtifactStore {
    /// Opens the store in `folder`, which is created if absent.
    pub(crate) fn open(
        folder: PathBuf,
        engine: Option<EngineClient>,
        max_bytes: u64,
    ) -> io::Result<Arc<Self>> {
        file::create_private_folder(&folder)?;
        file::remove_temporary_files(&folder)?;
        Ok(Arc::new(Self {
            folder,
            engine,
            max_bytes,
            pins: Mutex::default(),
        }))
    }

    /// Prevents the removal of an artifact, which may still be absent.
    pub(crate) fn pin(self: &Arc<Self>, digest: Digest) -> ArtifactPin {
        *self.pins().entry(digest).or_default() += 1;
        ArtifactPin {
            store: self.clone(),
            digest,
        }
    }

    /// Reads an artifact and verifies its digest. Removes a damaged file, so that it is
    /// fetched again. Blocks.
    pub(crate) fn read(&self, digest: Digest) -> io::Result<Vec<u8>> {
        let path = self.path(digest);
        let bytes = std::fs::read(&path)?;
        if Digest::of(&bytes) != digest {
            tracing::warn!(%digest, "an artifact on disk is damaged");
            std::fs::remove_file(&path)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it was damaged on disk",
            ));
        }
        Ok(bytes)
    }

    /// Fetches an artifact if it is not on disk. Retries a failed fetch up to four times.
    /// Cancel safe: a partly fetched artifact is removed.
    ///
    /// # Errors
    /// If the artifact is not available; [`Error::is_transient`] says whether to retry later.
    pub(crate) async fn ensure_present(&self, digest: Digest) -> Result<(), Error> {
        if tokio::fs::try_exists(self.path(digest))
            .await
            .unwrap_or(false)
        {
            return Ok(());
        }
        let Some(engine) = &self.engine else {
            return Err(Error::NoEngine(digest));
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(4)
            .with_jitter();
        (|| self.fetch(engine, digest))
            .retry(backoff)
            .when(Error::is_transient)
            .notify(|error, delay| {
                tracing::info!(%error, ?delay, "cannot fetch an artifact, retrying");
            })
            .await
    }

    async fn fetch(&self, engine: &EngineClient, digest: Digest) -> Result<(), Error> {
        let fetch_error = |source| Error::Fetch { digest, source };
        let too_large = || Error::TooLarge {
            digest,
            max_bytes: self.max_bytes,
        };
        let response = engine
            .request(Method::GET, &format!("/api/v1/artifacts/{digest}"))
            .timeout(FETCH_TIMEOUT)
            .send()
            .await
            .map_err(fetch_error)?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status {
                digest,
                status: response.status(),
            });
        }
        if response
            .content_length()
            .is_some_and(|length| length > self.max_bytes)
        {
            return Err(too_large());
        }

        let path = self.path(digest);
        let write_error = |source| Error::Write {
            path: path.clone(),
            source,
        };
        let temporary = file::temporary(&self.folder).map_err(write_error)?;
        let mut writer =
            tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(write_error)?);
        let (mut hasher, mut length) = (Sha256::new(), 0_u64);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(fetch_error)?;
            length += chunk.len() as u64;
            if length > self.max_bytes {
                return Err(too_large());
            }
            hasher.update(&chunk);
            writer.write_all(&chunk).await.map_err(write_error)?;
        }
        writer.flush().await.map_err(write_error)?;
        let actual = Digest::from_bytes(hasher.finalize().into());
        if actual != digest {
            return Err(Error::DigestMismatch {
                expected: digest,
                actual,
            });
        }
        let target = path.clone();
        tokio::task::spawn_blocking(move || file::persist(temporary, &target))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
            .map_err(write_error)
    }

    /// Removes all artifacts that are neither pinned nor in the set that `retained` returns.
    /// Blocks.
    pub(crate) fn remove_unused(
        &self,
        retained: impl FnOnce() -> HashSet<Digest>,
    ) -> io::Result<()> {
        // An artifact's slots are published before its pin is dropped. Holding the lock
        // while reading the slots means that no artifact is missed in between.
        let pins = self.pins();
        let mut names: HashSet<String> = retained().iter().map(Digest::hex).collect();
        names.extend(pins.keys().map(Digest::hex));
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Temporary files belong to fetches under way.
            if !name.starts_with('.') && !names.contains(name) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, usize>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ArtifactPin {
    fn drop(&mut self) {
        let mut pins = self.store.pins();
        if let Some(count) = pins.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_that_are_neither_retained_nor_pinned_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path().join("artifacts"), None, 1).unwrap();
        let [retained, pinned, unused] = [b"retain", b"pinned", b"unused"].map(|bytes| {
            let digest = Digest::of(bytes);
            std::fs::write(store.path(digest), bytes).unwrap();
            digest
        });
        let pin = store.pin(pinned);
        store.remove_unused(|| HashSet::from([retained])).unwrap();
        assert!(store.read(retained).is_ok() && store.read(pinned).is_ok());
        assert!(store.read(unused).is_err());
        drop(pin);
        store.remove_unused(|| HashSet::from([retained])).unwrap();
        assert!(store.read(pinned).is_err());
    }

    #[test]
    fn a_damaged_artifact_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path().join("artifacts"), None, 1).unwrap();
        let digest = Digest::of(b"whole");
        std::fs::write(store.path(digest), b"hole").unwrap();
        let error = store.read(digest).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!store.path(digest).exists());
    }
}
