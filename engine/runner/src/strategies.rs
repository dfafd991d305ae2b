//! The strategies that deployments can name.

use std::sync::Arc;

use hotswap_core::{Cause, CauseKind, Clock, Digest, StrategyName, StrategyRef};
use hotswap_plugins::{Host, LoadError, Strategy};
use hotswap_store::{Blobs, Catalogue, CatalogueError, StrategyRecord};

/// The uploader of the built-in strategies.
const ENGINE: &str = "hotswap";

/// Uploads, lists and loads strategies. Requests name them; deployments pin them by digest.
/// Cheap to clone.
#[derive(Clone)]
pub struct Strategies {
    catalogue: Arc<dyn Catalogue>,
    blobs: Blobs,
    host: Host,
    clock: Arc<dyn Clock>,
}

/// Why a request concerning strategies failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component is not a strategy that this engine can run.
    #[error("the component is not a valid strategy")]
    InvalidComponent(#[source] LoadError),
    /// Built-in strategies cannot be replaced or deleted.
    #[error("strategy '{0}' is built in; give yours another name")]
    BuiltIn(StrategyName),
    /// The component of a recorded strategy is gone.
    #[error("the component {0} is not in the store")]
    MissingComponent(Digest),
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

    /// Records the built-in strategies. They replace those of another engine version.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub async fn install(&self, components: &[&[u8]]) -> Result<(), Error> {
        for component in components {
            self.record(component.to_vec(), ENGINE, true).await?;
        }
        Ok(())
    }

    /// Records a strategy under the name in its descriptor. Replaces the one of that name;
    /// running deployments keep the component that they began with.
    ///
    /// # Errors
    /// [`Error::InvalidComponent`]; [`Error::BuiltIn`] where a built-in strategy has the name.
    pub async fn upload(&self, component: Vec<u8>, by: &str) -> Result<StrategyRecord, Error> {
        self.record(component, by, false).await
    }

    async fn record(
        &self,
        component: Vec<u8>,
        by: &str,
        built_in: bool,
    ) -> Result<StrategyRecord, Error> {
        let strategy = self.compile(&component).await?;
        let descriptor = strategy.descriptor();
        let existing = self.get(&descriptor.name).await?;
        if !built_in && existing.as_ref().is_some_and(|existing| existing.built_in) {
            return Err(Error::BuiltIn(descriptor.name.clone()));
        }
        if let Some(existing) = existing
            && existing.digest == strategy.digest()
            && existing.built_in == built_in
        {
            return Ok(existing);
        }
        let mut blob = self.blobs.writer().await.map_err(store_error)?;
        blob.write(&component).await.map_err(store_error)?;
        blob.finish(Some(strategy.digest()))
            .await
            .map_err(store_error)?;
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

    /// The strategy that has a name now.
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

    /// Deletes the record of a strategy; running deployments keep its component. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// [`Error::BuiltIn`] where it is built in.
    pub async fn delete(&self, name: &StrategyName) -> Result<bool, Error> {
        if self.get(name).await?.is_some_and(|record| record.built_in) {
            return Err(Error::BuiltIn(name.clone()));
        }
        self.catalogue
            .delete_strategy(name)
            .await
            .map_err(Error::Store)
    }

    /// Loads the component that a deployment pinned.
    ///
    /// # Errors
    /// [`PinError::Unavailable`] where it can never be loaded, [`PinError::Store`] where the
    /// store failed for now.
    pub(crate) async fn load_pinned(&self, pin: &StrategyRef) -> Result<Strategy, PinError> {
        self.load(pin.digest).await.map_err(|error| match error {
            Error::Store(source) => PinError::Store(source),
            error => PinError::Unavailable(unavailable(&pin.name, &error)),
        })
    }

    /// Loads a component from the store, unless the host has it loaded.
    pub(crate) async fn load(&self, digest: Digest) -> Result<Strategy, Error> {
        if let Some(strategy) = self.host.cached(digest) {
            return Ok(strategy);
        }
        let component = self.blobs.read(digest).await.map_err(store_error)?;
        let component = component.ok_or(Error::MissingComponent(digest))?;
        self.compile(&component).await
    }

    async fn compile(&self, component: &[u8]) -> Result<Strategy, Error> {
        let strategy = self.host.load(component).await;
        strategy.map_err(Error::InvalidComponent)
    }
}

/// Why the component that a deployment pinned was not loaded.
#[derive(Debug)]
pub(crate) enum PinError {
    /// It is not in the store, or the engine does not accept it: the deployment must end.
    Unavailable(Cause),
    /// The store failed: try again. A passing fault must not end a deployment.
    Store(Box<dyn std::error::Error + Send + Sync>),
}

fn unavailable(name: &StrategyName, error: &Error) -> Cause {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    let source = source.unwrap_or_default();
    let message = format!("strategy '{name}' cannot be loaded: {error}{source}");
    Cause::new(CauseKind::Unavailable, message)
}

fn store_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Store(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_that_does_not_load_makes_the_deployment_unavailable() {
        let name = "canary".parse().unwrap();
        let digest = Digest::of(b"canary");
        let cause = unavailable(&name, &Error::MissingComponent(digest));
        let expected = format!(
            "strategy 'canary' cannot be loaded: the component {digest} is not in the store"
        );
        assert_eq!(cause, Cause::new(CauseKind::Unavailable, expected));
    }
}
