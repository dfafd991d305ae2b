//! The discovery backends that people have uploaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use hotswap_core::{Clock, Digest, StrategyName};
use hotswap_plugins::LoadError;
use hotswap_plugins::discovery::{BackendComponent, SecretDescriptor, SecretPlace};
use hotswap_store::{BackendRecord, BackendSecret, Blobs, Catalogue, CatalogueError, blobs};

use crate::discovery::LazyDiscoveryHost;
use crate::references::References;

/// Uploads and lists discovery backends. Sources of the configuration name them, or pin their
/// digests. Cheap to clone.
#[derive(Clone)]
pub struct DiscoveryBackends {
    catalogue: Arc<dyn Catalogue>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    references: References,
    config: Arc<DiscoveryBackendsConfig>,
}

/// What an engine knows of discovery backends when it starts.
#[derive(Debug, Clone, Default)]
pub struct DiscoveryBackendsConfig {
    /// Loads components.
    pub host: LazyDiscoveryHost,
    /// The names of the engine's own backends, which nobody can upload.
    pub built_in: Vec<String>,
    /// The components that sources of the configuration run, by the names of the sources. They are
    /// never deleted from the store.
    pub in_use: BTreeMap<String, BackendInUse>,
}

/// The component that a source runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInUse {
    /// How the configuration names it: by a name, a digest or a path.
    pub backend: String,
    /// Its digest.
    pub digest: Digest,
}

/// Why a request concerning discovery backends failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component is not a backend that this engine can run.
    #[error("the component is not a valid discovery backend")]
    InvalidComponent(#[source] LoadError),
    /// The engine's own backends cannot be replaced.
    #[error("the backend '{0}' is built in; give yours another name")]
    BuiltIn(StrategyName),
    /// A source runs it.
    #[error("the discovery source '{source_name}' of the configuration uses the backend '{name}'")]
    InUse {
        /// The backend.
        name: StrategyName,
        /// The source.
        source_name: String,
    },
    /// The machine has too little memory or address space to load it.
    #[error("not enough memory or address space to load discovery backends")]
    NoRoom(#[source] hotswap_plugins::Error),
    /// The disk is full. What is left is for the deployments that are under way.
    #[error("the engine's disk is full")]
    Full,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] CatalogueError),
}

impl From<blobs::Error> for Error {
    fn from(error: blobs::Error) -> Self {
        match error {
            blobs::Error::Full { .. } => Self::Full,
            other => Self::Store(Box::new(other)),
        }
    }
}

impl DiscoveryBackends {
    pub(crate) fn new(
        catalogue: Arc<dyn Catalogue>,
        blobs: Blobs,
        clock: Arc<dyn Clock>,
        references: References,
        config: DiscoveryBackendsConfig,
    ) -> Self {
        Self {
            catalogue,
            blobs,
            clock,
            references,
            config: Arc::new(config),
        }
    }

    /// Records a backend under the name in its descriptor. Replaces the one of that name; a source
    /// that runs keeps the component that it began with until the engine starts again.
    ///
    /// # Errors
    /// [`Error::InvalidComponent`]; [`Error::BuiltIn`] if the engine has a backend of the name.
    pub async fn upload(&self, component: Vec<u8>, by: &str) -> Result<BackendRecord, Error> {
        let host = self.config.host.get().await.map_err(Error::NoRoom)?;
        let loaded = host.load(&component).await;
        let loaded = loaded.map_err(Error::InvalidComponent)?;
        let record = self.record_of(&loaded, by)?;
        if self.config.built_in.contains(&record.name.to_string()) {
            return Err(Error::BuiltIn(record.name));
        }
        if let Some(existing) = self.get(&record.name).await?
            && existing.digest == record.digest
        {
            return Ok(existing);
        }
        if self.references.is_full().await {
            return Err(Error::Full);
        }
        let mut blob = self.blobs.writer().await?;
        blob.write(&component).await?;
        // From here until the record names it, nothing else protects the blob.
        let _references = self.references.add().await;
        blob.finish(Some(record.digest)).await?;
        let recorded = self.catalogue.put_backend(record.clone()).await;
        recorded.map_err(Error::Store)?;
        // Another engine may have removed it as unused before it was recorded.
        self.blobs.share_again(record.digest).await?;
        let BackendRecord { name, digest, .. } = &record;
        tracing::info!(backend = %name, %digest, by, "a discovery backend was uploaded");
        Ok(record)
    }

    fn record_of(&self, loaded: &BackendComponent, by: &str) -> Result<BackendRecord, Error> {
        let descriptor = loaded.descriptor();
        let name = descriptor.name.parse();
        let name = name.map_err(|error| Error::InvalidComponent(LoadError::InvalidName(error)))?;
        Ok(BackendRecord {
            name,
            version: descriptor.version.clone(),
            summary: descriptor.summary.clone(),
            config_schema: descriptor.config_schema.clone(),
            can_register: descriptor.can_register,
            secrets: descriptor.secrets.iter().map(describe).collect(),
            digest: loaded.digest(),
            wit: loaded.wit_version().clone(),
            uploaded_at: self.clock.now(),
            uploaded_by: by.to_owned(),
        })
    }

    /// The backend that has a name now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn get(&self, name: &StrategyName) -> Result<Option<BackendRecord>, Error> {
        let mut all = self.list().await?.into_iter();
        Ok(all.find(|record| record.name == *name))
    }

    /// All backends that were uploaded, sorted by name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self) -> Result<Vec<BackendRecord>, Error> {
        self.catalogue.backends().await.map_err(Error::Store)
    }

    /// Deletes the record of a backend. Returns whether there was one. `by` is for the log.
    ///
    /// # Errors
    /// [`Error::InUse`] if a source of the configuration runs it.
    pub async fn delete(&self, name: &StrategyName, by: &str) -> Result<bool, Error> {
        let Some(record) = self.get(name).await? else {
            return Ok(false);
        };
        let mut in_use = self.config.in_use.iter();
        // By the name, too: without it the engine would not start again.
        let uses =
            |used: &BackendInUse| used.backend == name.as_str() || used.digest == record.digest;
        if let Some((source, _)) = in_use.find(|(_, used)| uses(used)) {
            return Err(Error::InUse {
                name: name.clone(),
                source_name: source.clone(),
            });
        }
        let deleted = self.catalogue.delete_backend(name).await;
        let deleted = deleted.map_err(Error::Store)?;
        if deleted {
            let digest = record.digest;
            tracing::info!(backend = %name, %digest, by, "a discovery backend was deleted");
        }
        Ok(deleted)
    }
}

/// The component of a backend that was uploaded: the one that has this name now, or the one with
/// this digest, whatever became of its record. `None` if there is none.
///
/// # Errors
/// If the store fails.
pub async fn uploaded_component(
    catalogue: &dyn Catalogue,
    blobs: &Blobs,
    backend: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let digest = match backend.parse::<Digest>() {
        Ok(digest) => Some(digest),
        Err(_) => {
            let all = catalogue.backends().await.map_err(Error::Store)?;
            let record = all.into_iter().find(|it| it.name.as_str() == backend);
            record.map(|record| record.digest)
        }
    };
    match digest {
        Some(digest) => Ok(blobs.read(digest).await?),
        None => Ok(None),
    }
}

fn describe(secret: &SecretDescriptor) -> BackendSecret {
    BackendSecret {
        name: secret.name.clone(),
        summary: secret.summary.clone(),
        place: match &secret.place {
            SecretPlace::Header(header) => format!("header {}", header.name),
            SecretPlace::Body(path) => format!("bodies to {path}"),
        },
    }
}
