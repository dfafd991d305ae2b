use std::sync::Arc;

use hotswap_core::{Digest, ModuleName};
use hotswap_protocol::Version;
use tokio_util::task::TaskTracker;

use super::error::Error;
use crate::Runtime;
use crate::config::Limits;
use crate::data::{LoadedVersion, Route};
use crate::disk::{ArtifactPin, ArtifactStore};
use crate::load_error::LoadError;

/// Loads the versions in a module's slots: fetches, compiles and warms them up.
#[derive(Debug)]
pub(super) struct VersionLoader {
    pub(super) runtime: Runtime,
    pub(super) artifacts: Arc<ArtifactStore>,
    pub(super) limits: Limits,
    pub(super) tasks: TaskTracker,
}

impl VersionLoader {
    /// Loads the versions that the record of `next` names into `next`. Reuses those that
    /// `current` has loaded. Hold the pins until `next` is published, so that no artifact of
    /// it is removed.
    pub(super) async fn load_slots(
        &self,
        module: &ModuleName,
        current: &Route,
        next: &mut Route,
    ) -> Result<Vec<ArtifactPin>, Error> {
        let slots = next.record.slots.clone();
        let mut pins = Vec::new();
        let mut loaded = Vec::new();
        for slot in [slots.active, slots.staged, slots.previous] {
            let Some(version) = slot else {
                loaded.push(None);
                continue;
            };
            let loaded_version = match current.find_loaded(&version) {
                Some(loaded_version) => loaded_version.clone(),
                None => {
                    let digest: Digest = version.digest.parse()?;
                    pins.push(self.artifacts.pin(digest));
                    self.load_version(module, version, digest, next).await?
                }
            };
            loaded.push(Some(loaded_version));
        }
        next.previous = loaded.pop().flatten();
        next.staged = loaded.pop().flatten();
        next.active = loaded.pop().flatten();
        Ok(pins)
    }

    async fn load_version(
        &self,
        module: &ModuleName,
        version: Version,
        digest: Digest,
        route: &mut Route,
    ) -> Result<Arc<LoadedVersion>, Error> {
        let counters = route.counters_for(&version);
        let load_component = || {
            let artifacts = self.artifacts.clone();
            self.runtime.load(digest, move || artifacts.read(digest))
        };
        self.artifacts.ensure_present(digest).await?;
        let component = match load_component().await {
            // Reading removes an artifact that is damaged on disk: fetch it again.
            Err(LoadError::Read(_)) => {
                self.artifacts.ensure_present(digest).await?;
                load_component().await?
            }
            result => result?,
        };
        let loaded = LoadedVersion::new(
            module.as_str(),
            version,
            component,
            counters,
            self.limits.clone(),
            self.tasks.clone(),
        );
        loaded.warm_up().await?;
        Ok(loaded)
    }
}
