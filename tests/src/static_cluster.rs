use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use hotswap_core::EventBody;
use hotswap_runner::Engine;
use hotswap_store::Journal;
use tempfile::TempDir;

use crate::{EMAIL, EngineResources, RacingJournal, StaticFleet, unreachable_registration};

/// A cluster whose two nodes in production do everything at once, with version 1.0.0 of the module
/// `hello`. A test starts the engine.
pub struct StaticCluster {
    /// What the engine runs on.
    pub resources: EngineResources,
    _folder: TempDir,
}

impl StaticCluster {
    /// Opens a store, and uploads the module.
    pub async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut resources = EngineResources::new(folder.path(), BTreeMap::new()).await?;
        resources.fleet = Arc::new(StaticFleet::new(2));
        let registration = unreachable_registration("production");
        let node = "node-1".parse()?;
        resources.registry.register(node, registration).await?;
        let cluster = Self {
            resources,
            _folder: folder,
        };
        let engine = cluster.start_engine().await?;
        let mut upload = engine.modules.upload().await?;
        upload.write(hotswap_guests::HELLO_V1).await?;
        let version = "1.0.0".parse()?;
        upload.finish("hello".parse()?, version, EMAIL).await?;
        engine.shutdown().await;
        Ok(cluster)
    }

    /// The journals.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.resources.store.clone())
    }

    /// Starts an engine.
    pub async fn start_engine(&self) -> Result<Engine> {
        self.resources.start_engine(self.journal()).await
    }

    /// Starts an engine whose append of the first event that `is_target` accepts is preceded by
    /// `body`.
    pub async fn start_racing(
        &self,
        is_target: fn(&EventBody) -> bool,
        body: EventBody,
    ) -> Result<(Engine, Arc<RacingJournal>)> {
        let journal = RacingJournal::before(self.journal(), is_target, body);
        let engine = self.resources.start_engine(journal.clone()).await?;
        Ok((engine, journal))
    }
}
