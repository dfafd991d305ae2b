//! The strategies that deployments can name.

use std::sync::Arc;

use hotswap_core::{Cause, CauseKind, Clock, Digest, StrategyName, StrategyRef};
use hotswap_plugins::{Host, LoadError, Strategy};
use hotswap_store::{Blobs, Catalogue, CatalogueError, StrategyRecord};

/// Who uploaded what came with the engine.
const ENGINE: &str = "hotswap";

/// Strategies: uploaded while the engine runs, used by name, pinned by digest. Cheap to clone.
#[derive(Clone)]
pub struct Strategies {
    catalogue: Arc<dyn Catalogue>,
    blobs: Blobs,
    host: Host,
    clock: Arc<dyn Clock>,
}

/// Why something asked of strategies was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component is no strategy that this engine can run.
    #[error("the component is refused")]
    Refused(#[source] LoadError),
    /// One that came with the engine cannot be replaced or deleted.
    #[error("strategy '{0}' came with the engine; give yours another name")]
    BuiltIn(StrategyName),
    /// The component of a strategy is not in the store any more.
    #[error("the component {0} is not in the store")]
    Missing(Digest),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] CatalogueError),
}

impl Strategies {
    pub(crate) fn new(
        catalogue: Arc<dyn Catalogue>,
        blobs: Blobs,
        host: Host,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            catalogue,
            blobs,
            host,
            clock,
        }
    }

    /// Records the strategies that came with the engine; those of an older engine under
    /// the same names give way.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub async fn install(&self, components: &[&[u8]]) -> Result<(), Error> {
        for component in components {
            self.record(component.to_vec(), ENGINE, true).await?;
        }
        Ok(())
    }

    /// Records a strategy under the name that it gives itself. Deployments that run keep
    /// the component that they began with.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason where it is no strategy; [`Error::BuiltIn`]
    /// where its name is taken by one that came with the engine.
    pub async fn upload(&self, component: Vec<u8>, by: &str) -> Result<StrategyRecord, Error> {
        self.record(component, by, false).await
    }

    async fn record(
        &self,
        component: Vec<u8>,
        by: &str,
        built_in: bool,
    ) -> Result<StrategyRecord, Error> {
        let (component, strategy) = self.compile(component).await?;
        let descriptor = strategy.descriptor();
        let standing = self.get(&descriptor.name).await?;
        if !built_in && standing.as_ref().is_some_and(|standing| standing.built_in) {
            return Err(Error::BuiltIn(descriptor.name.clone()));
        }
        if let Some(standing) = standing
            && standing.digest == strategy.digest()
            && standing.built_in == built_in
        {
            return Ok(standing);
        }
        let mut blob = self.blobs.writer().await.map_err(store)?;
        blob.write(&component).await.map_err(store)?;
        blob.finish(Some(strategy.digest())).await.map_err(store)?;
        let record = StrategyRecord {
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            summary: descriptor.summary.clone(),
            config_schema: descriptor.config_schema.clone(),
            digest: strategy.digest(),
            wit: strategy.wit_version().clone(),
            built_in,
            uploaded_at: self.clock.now(),
            uploaded_by: by.to_owned(),
        };
        self.catalogue
            .put_strategy(record.clone())
            .await
            .map_err(Error::Store)?;
        Ok(record)
    }

    /// The strategy that a name stands for now.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn get(&self, name: &StrategyName) -> Result<Option<StrategyRecord>, Error> {
        self.catalogue.strategy(name).await.map_err(Error::Store)
    }

    /// All strategies, sorted by name.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self) -> Result<Vec<StrategyRecord>, Error> {
        self.catalogue.strategies().await.map_err(Error::Store)
    }

    /// Lets a name stand for nothing; deployments that run go on. Returns whether it stood
    /// for something.
    ///
    /// # Errors
    /// [`Error::BuiltIn`] where it came with the engine.
    pub async fn delete(&self, name: &StrategyName) -> Result<bool, Error> {
        if self.get(name).await?.is_some_and(|record| record.built_in) {
            return Err(Error::BuiltIn(name.clone()));
        }
        self.catalogue
            .delete_strategy(name)
            .await
            .map_err(Error::Store)
    }

    /// The code that a deployment began with.
    pub(crate) async fn pinned(&self, pin: &StrategyRef) -> Result<Strategy, Cause> {
        self.loaded(pin.digest).await.map_err(|error| {
            let why = std::error::Error::source(&error).map(|source| format!(": {source}"));
            let why = why.unwrap_or_default();
            let message = format!("strategy '{}' cannot be loaded: {error}{why}", pin.name);
            Cause::new(CauseKind::Unavailable, message)
        })
    }

    pub(crate) async fn loaded(&self, digest: Digest) -> Result<Strategy, Error> {
        if let Some(strategy) = self.host.cached(digest) {
            return Ok(strategy);
        }
        let component = self.blobs.read(digest).await.map_err(store)?;
        let component = component.ok_or(Error::Missing(digest))?;
        let (_, strategy) = self.compile(component).await?;
        Ok(strategy)
    }

    async fn compile(&self, component: Vec<u8>) -> Result<(Vec<u8>, Strategy), Error> {
        let strategy = self.host.load(&component).await.map_err(Error::Refused)?;
        Ok((component, strategy))
    }
}

fn store(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Store(Box::new(error))
}
