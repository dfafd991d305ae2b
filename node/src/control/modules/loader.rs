use std::sync::Arc;
use std::time::Duration;

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{Digest, ModuleName};
use hotswap_protocol::Version;
use tokio_util::task::TaskTracker;

use super::error::{Error, VersionError};
use crate::Runtime;
use crate::config::Limits;
use crate::data::{LoadedVersion, MemoryBudget, Source, VersionCounters};
use crate::disk::{ArtifactPin, ArtifactStore};
use crate::load_error::LoadError;

/// Loads versions of modules: fetches, compiles and warms them up.
#[derive(Debug)]
pub(super) struct VersionLoader {
    pub(super) runtime: Runtime,
    pub(super) artifacts: Arc<ArtifactStore>,
    pub(super) limits: Limits,
    /// Of all versions together.
    pub(super) memory: Arc<MemoryBudget>,
    pub(super) tasks: TaskTracker,
}

/// A version that was loaded for a slot which does not hold it yet. Keep this until the slot
/// is published, so that the artifact is not removed.
#[derive(Debug)]
pub(super) struct NewVersion {
    pub(super) loaded: Arc<LoadedVersion>,
    _pin: ArtifactPin,
}

impl VersionLoader {
    /// Loads a version that counts its requests in `counters`. Fetches its artifact if that is
    /// not on disk, and tries for `stall` while no byte of it arrives. `source` says whether the
    /// code of another node of this process will do.
    ///
    /// Cancel safe: what has arrived or is compiled is there for the next time.
    ///
    /// # Errors
    /// [`Error::Version`], with the version's name.
    pub(super) async fn load(
        &self,
        module: &ModuleName,
        version: &Version,
        counters: Arc<VersionCounters>,
        stall: Duration,
        source: Source,
    ) -> Result<NewVersion, Error> {
        self.try_load(module, version, counters, stall, source)
            .await
            .map_err(|source| Error::Version {
                module: module.to_string(),
                version: version.version.clone(),
                source,
            })
    }

    async fn try_load(
        &self,
        module: &ModuleName,
        version: &Version,
        counters: Arc<VersionCounters>,
        stall: Duration,
        source: Source,
    ) -> Result<NewVersion, VersionError> {
        let digest: Digest = version.digest.parse()?;
        let pin = self.artifacts.pin(digest);
        let load_component = || {
            let artifacts = self.artifacts.clone();
            self.runtime
                .load(digest, source, move || artifacts.read(digest))
        };
        let mut span = Span::child("module.fetch", Kind::Internal);
        let present = span.run(self.artifacts.ensure_present(digest, stall)).await;
        span.fail_on_error(&present);
        drop(span);
        present?;
        let mut span = Span::child("module.compile", Kind::Internal);
        let component = match load_component().await {
            // Reading removes an artifact that is damaged on disk: fetch it again.
            Err(LoadError::Read(_)) => {
                self.artifacts.ensure_present(digest, stall).await?;
                load_component().await?
            }
            result => {
                span.fail_on_error(&result);
                result?
            }
        };
        drop(span);
        let loaded = LoadedVersion::new(
            module.as_str(),
            version.clone(),
            component,
            counters,
            self.limits.clone(),
            Arc::clone(&self.memory),
            self.tasks.clone(),
        );
        let mut span = Span::child("module.warm_up", Kind::Internal);
        let warm = loaded.warm_up().await;
        span.fail_on_error(&warm);
        drop(span);
        warm?;
        loaded.counters().count_load();
        Ok(NewVersion { loaded, _pin: pin })
    }
}
