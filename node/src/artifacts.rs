use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::StreamExt as _;
use hotswap_core::Digest;
use reqwest::{Client, StatusCode};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;

use crate::config::Token;
use crate::folder;

/// A fetch that takes longer than this has failed, whatever still trickles in.
const FETCH_TIME: Duration = Duration::from_secs(120);

/// Artifacts on disk, one file each, named by digest; and the engine to get others from.
#[derive(Debug)]
pub(crate) struct Artifacts {
    folder: PathBuf,
    source: Option<Source>,
    /// The largest that is fetched, in bytes.
    limit: u64,
    /// Artifacts that are being loaded, and by how many: not to be removed, though no
    /// slot refers to them yet.
    pins: Mutex<HashMap<Digest, usize>>,
}

/// Where artifacts come from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) client: Client,
    /// `http://host:port`, without a slash at its end.
    pub(crate) engine: String,
    pub(crate) token: Token,
}

/// Keeps an artifact from being removed until this is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    artifacts: Arc<Artifacts>,
    digest: Digest,
}

/// Why an artifact is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no engine to fetch it from.
    #[error(
        "the artifact {0} is not on this node's disk, and the node has no engine to fetch it from"
    )]
    NoSource(Digest),
    /// The engine did not answer, or broke off.
    #[error("cannot fetch the artifact {digest} from the engine: is it reachable from this node?")]
    Fetch {
        /// Which.
        digest: Digest,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The engine would not give it.
    #[error("the engine answered {status} to the request for the artifact {digest}: {}", advice(*status))]
    Refused {
        /// Which.
        digest: Digest,
        /// The answer's status.
        status: StatusCode,
    },
    /// What came has another digest.
    #[error(
        "the artifact that the engine sent as {wanted} is {found}: it was changed on its way or at rest; push it again"
    )]
    Digest {
        /// Which was wanted.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// It is larger than the node accepts.
    #[error("the artifact {digest} is larger than the {limit} bytes that this node accepts")]
    Large {
        /// Which.
        digest: Digest,
        /// How much is accepted.
        limit: u64,
    },
    /// It cannot be kept.
    #[error("cannot write the artifact to {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
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
        _ => "the engine's log says why",
    }
}

impl Error {
    /// Whether it may go better the next time.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Fetch { .. } | Self::Write { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoSource(_) | Self::Digest { .. } | Self::Large { .. } => false,
        }
    }
}

impl Artifacts {
    /// In `folder`, which is made if absent.
    pub(crate) fn new(
        folder: PathBuf,
        source: Option<Source>,
        limit: u64,
    ) -> io::Result<Arc<Self>> {
        folder::create(&folder)?;
        folder::sweep(&folder)?;
        Ok(Arc::new(Self {
            folder,
            source,
            limit,
            pins: Mutex::default(),
        }))
    }

    /// Keeps an artifact, present or not, from being removed.
    pub(crate) fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        *self.pins().entry(digest).or_default() += 1;
        Pin {
            artifacts: self.clone(),
            digest,
        }
    }

    /// The bytes of an artifact, checked. One that was damaged on disk is removed, so
    /// that it is fetched again. Blocks.
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

    /// Has an artifact on disk: fetches it if it is not, trying again for some seconds.
    ///
    /// # Errors
    /// Where it is not to be had; [`Error::is_passing`] tells whether to try again later.
    /// Safe to cancel: nothing half fetched stays.
    pub(crate) async fn ensure(&self, digest: Digest) -> Result<(), Error> {
        if tokio::fs::try_exists(self.path(digest))
            .await
            .unwrap_or(false)
        {
            return Ok(());
        }
        let Some(source) = &self.source else {
            return Err(Error::NoSource(digest));
        };
        let patience = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(4)
            .with_jitter();
        (|| self.fetch(source, digest))
            .retry(patience)
            .when(Error::is_passing)
            .notify(|error, delay| {
                tracing::info!(%error, ?delay, "fetching an artifact again");
            })
            .await
    }

    async fn fetch(&self, source: &Source, digest: Digest) -> Result<(), Error> {
        let failed = |source| Error::Fetch { digest, source };
        let large = || Error::Large {
            digest,
            limit: self.limit,
        };
        let url = format!("{}/api/v1/artifacts/{digest}", source.engine);
        let answer = source
            .client
            .get(url)
            .bearer_auth(source.token.reveal())
            .timeout(FETCH_TIME)
            .send()
            .await
            .map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(Error::Refused {
                digest,
                status: answer.status(),
            });
        }
        if answer
            .content_length()
            .is_some_and(|length| length > self.limit)
        {
            return Err(large());
        }

        let path = self.path(digest);
        let unwritten = |source| Error::Write {
            path: path.clone(),
            source,
        };
        let temporary = NamedTempFile::new_in(&self.folder).map_err(unwritten)?;
        let mut file =
            tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(unwritten)?);
        let (mut hasher, mut length) = (Sha256::new(), 0_u64);
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed)?;
            length += piece.len() as u64;
            if length > self.limit {
                return Err(large());
            }
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(unwritten)?;
        }
        file.flush().await.map_err(unwritten)?;
        let found = Digest::from_bytes(hasher.finalize().into());
        if found != digest {
            return Err(Error::Digest {
                wanted: digest,
                found,
            });
        }
        let target = path.clone();
        tokio::task::spawn_blocking(move || folder::keep(temporary, &target))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
            .map_err(unwritten)
    }

    /// Removes every artifact that is neither pinned nor among those that `kept` names.
    /// Blocks.
    pub(crate) fn collect(&self, kept: impl FnOnce() -> HashSet<Digest>) -> io::Result<()> {
        // While the pins are locked, nobody can go from pinned to kept unseen: slots are
        // published before their pins are given up.
        let pins = self.pins();
        let mut names: HashSet<String> = kept().iter().map(Digest::hex).collect();
        names.extend(pins.keys().map(Digest::hex));
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
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

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.artifacts.pins();
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
    fn collects_what_is_neither_kept_nor_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(folder.path().join("artifacts"), None, 1).unwrap();
        let [kept, pinned, unused] = [b"kept", b"pind", b"none"].map(|bytes| {
            let digest = Digest::of(bytes);
            std::fs::write(artifacts.path(digest), bytes).unwrap();
            digest
        });
        let pin = artifacts.pin(pinned);
        artifacts.collect(|| HashSet::from([kept])).unwrap();
        assert!(artifacts.read(kept).is_ok() && artifacts.read(pinned).is_ok());
        assert!(artifacts.read(unused).is_err());
        drop(pin);
        artifacts.collect(|| HashSet::from([kept])).unwrap();
        assert!(artifacts.read(pinned).is_err());
    }

    #[test]
    fn a_damaged_artifact_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(folder.path().join("artifacts"), None, 1).unwrap();
        let digest = Digest::of(b"whole");
        std::fs::write(artifacts.path(digest), b"hole").unwrap();
        let error = artifacts.read(digest).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!artifacts.path(digest).exists());
    }
}
