use std::collections::{HashMap, HashSet};
use std::fs::DirEntry;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotswap_common::file;
use hotswap_core::Digest;

use super::artifact_error::Error;
use super::artifact_fetch::{ArtifactFetch, FetchProgress, FetchState};
use crate::current_engine::CurrentEngine;

/// The ending of the name of an artifact that has not arrived whole.
const PARTIAL: &str = "partial";

/// Artifacts on disk, one file each, named by digest. Fetches missing ones from the engine.
#[derive(Debug)]
pub(crate) struct ArtifactStore {
    folder: PathBuf,
    engine: CurrentEngine,
    /// Largest artifact that is fetched, in bytes.
    max_bytes: u64,
    /// Number of pins of each pinned artifact.
    pins: Mutex<HashMap<Digest, usize>>,
    /// The fetches under way.
    fetches: Mutex<HashMap<Digest, Arc<FetchState>>>,
}

/// Keeps an artifact on disk while it is being loaded and no slot names it yet. Dropping
/// it releases the artifact.
#[derive(Debug)]
pub(crate) struct ArtifactPin {
    store: Arc<ArtifactStore>,
    digest: Digest,
}

impl ArtifactStore {
    /// Opens the store in `folder`, which is created if absent.
    pub(crate) fn open(
        folder: PathBuf,
        engine: CurrentEngine,
        max_bytes: u64,
    ) -> io::Result<Arc<Self>> {
        file::create_private_folder(&folder)?;
        file::remove_temporary_files(&folder)?;
        Ok(Arc::new(Self {
            folder,
            engine,
            max_bytes,
            pins: Mutex::default(),
            fetches: Mutex::default(),
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

    /// Fetches an artifact if it is not on disk. Goes on as long as bytes arrive, and tries
    /// for `stall` while none does. Whoever waits for the same artifact shares the fetch.
    ///
    /// Cancel safe: the next fetch goes on after the bytes that have arrived.
    ///
    /// # Errors
    /// If the artifact is not available; [`Error::is_transient`] says whether to retry later.
    pub(crate) async fn ensure_present(
        &self,
        digest: Digest,
        stall: Duration,
    ) -> Result<(), Error> {
        if self.is_present(digest).await {
            return Ok(());
        }
        let Some(engine) = self.engine.get() else {
            return Err(Error::NoEngine(digest));
        };
        let state = self.fetch_state(digest);
        let _guard = state.lock.lock().await;
        // Another one may have fetched it meanwhile.
        if self.is_present(digest).await {
            return Ok(());
        }
        let fetch = ArtifactFetch {
            engine: &engine,
            digest,
            max_bytes: self.max_bytes,
            stall,
            state: &state,
        };
        let path = self.path(digest);
        fetch.run(&path.with_extension(PARTIAL), &path).await
    }

    /// How far the fetch of an artifact is. `None` if nobody fetches it.
    pub(crate) fn fetch_progress(&self, digest: Digest) -> Option<FetchProgress> {
        self.fetches().get(&digest)?.progress()
    }

    /// Size of an artifact that is on disk, in bytes.
    pub(crate) async fn size(&self, digest: Digest) -> Option<u64> {
        let metadata = tokio::fs::metadata(self.path(digest)).await;
        metadata.ok().map(|metadata| metadata.len())
    }

    async fn is_present(&self, digest: Digest) -> bool {
        let exists = tokio::fs::try_exists(self.path(digest)).await;
        exists.unwrap_or(false)
    }

    fn fetch_state(&self, digest: Digest) -> Arc<FetchState> {
        let mut fetches = self.fetches();
        // The map holds one reference; any other belongs to a fetch or to a task that waits for it.
        fetches.retain(|_, state| Arc::strong_count(state) > 1);
        fetches.entry(digest).or_default().clone()
    }

    fn fetches(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<FetchState>>> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes all artifacts that are neither pinned nor in the set that `retained` returns.
    /// Of what has arrived of such artifacts, keeps the newest: a fetch that was cancelled is
    /// often repeated. Blocks.
    pub(crate) fn remove_unused(
        &self,
        retained: impl FnOnce() -> HashSet<Digest>,
    ) -> io::Result<()> {
        // An artifact's slots are published before its pin is dropped. Holding the lock
        // while reading the slots means that no artifact is missed in between.
        let pins = self.pins();
        let mut names: HashSet<String> = retained().iter().map(Digest::hex).collect();
        names.extend(pins.keys().map(Digest::hex));
        let mut partial = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let Some(name) = name else { continue };
            // Temporary files belong to fetches under way.
            if name.starts_with('.') || names.contains(name) {
                continue;
            }
            if path.extension().is_some_and(|ending| ending == PARTIAL) {
                partial.push(entry);
            } else {
                std::fs::remove_file(path)?;
            }
        }
        partial.sort_by_key(|entry| entry.metadata().and_then(|it| it.modified()).ok());
        partial.pop();
        let mut removed = partial.iter().map(DirEntry::path);
        removed.try_for_each(std::fs::remove_file)
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

    fn no_engine() -> CurrentEngine {
        let token = hotswap_common::Secret::new("token").into();
        CurrentEngine::new(None, token, Default::default()).unwrap()
    }

    #[test]
    fn artifacts_that_are_neither_retained_nor_pinned_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path().join("artifacts"), no_engine(), 1).unwrap();
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
    fn the_newest_part_of_an_artifact_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path().join("artifacts"), no_engine(), 1).unwrap();
        let [older, newer] = [b"older", b"newer"].map(|bytes| {
            let path = store.path(Digest::of(bytes)).with_extension(PARTIAL);
            std::fs::write(&path, bytes).unwrap();
            path
        });
        let date = std::time::UNIX_EPOCH + Duration::from_secs(1);
        let file = std::fs::File::options().write(true).open(&older).unwrap();
        file.set_modified(date).unwrap();
        store.remove_unused(HashSet::new).unwrap();
        assert!(newer.exists() && !older.exists());
    }

    #[test]
    fn a_damaged_artifact_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path().join("artifacts"), no_engine(), 1).unwrap();
        let digest = Digest::of(b"whole");
        std::fs::write(store.path(digest), b"hole").unwrap();
        let error = store.read(digest).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!store.path(digest).exists());
    }
}
