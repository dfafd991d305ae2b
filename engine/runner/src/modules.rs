//! The module versions that deployments can roll out.

use std::sync::Arc;

use hotswap_core::{Clock, Digest, ModuleName, ModuleVersion};
use hotswap_plugins::inspect;
use hotswap_store::{Blob, Blobs, Catalogue, CatalogueError, ModuleRecord, blobs};
use semver::Version;
use tokio::time::Instant;

use crate::references::{Needed, References};

/// Uploads and lists modules. Each version is an artifact that never changes. Cheap to clone.
#[derive(Clone)]
pub struct Modules {
    catalogue: Arc<dyn Catalogue>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    references: References,
}

/// An upload that is under way. Dropping it leaves nothing behind.
pub struct Upload {
    modules: Modules,
    blob: blobs::Writer,
}

/// Why a request concerning modules failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another artifact was uploaded as this version.
    #[error("{0} exists already with another digest, {digest}; upload yours as another version", digest = .0.digest)]
    VersionExists(ModuleVersion),
    /// Nodes cannot run the artifact.
    #[error("the artifact is not valid")]
    InvalidArtifact(#[source] inspect::Error),
    /// The artifact is too large.
    #[error("the artifact is larger than {limit} bytes")]
    TooLarge {
        /// The size limit.
        limit: u64,
    },
    /// It must not be deleted.
    #[error("{name} {version} cannot be deleted: {reason}")]
    InUse {
        /// The module.
        name: ModuleName,
        /// The version.
        version: Version,
        /// Why it is needed.
        reason: String,
    },
    /// The disk is full. What is left is for the deployments that are under way.
    #[error("the engine's disk is full")]
    Full,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] CatalogueError),
}

impl Modules {
    pub(crate) fn new(
        catalogue: Arc<dyn Catalogue>,
        blobs: Blobs,
        clock: Arc<dyn Clock>,
        references: References,
    ) -> Self {
        Self {
            catalogue,
            blobs,
            clock,
            references,
        }
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// [`Error::Full`]; others if the store fails.
    pub async fn upload(&self) -> Result<Upload, Error> {
        if self.references.is_full().await {
            return Err(Error::Full);
        }
        let blob = self.blobs.writer().await?;
        Ok(Upload {
            modules: self.clone(),
            blob,
        })
    }

    /// All versions of one module, or of all modules. Sorted by name, then newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self, name: Option<&ModuleName>) -> Result<Vec<ModuleRecord>, Error> {
        self.catalogue.modules(name).await.map_err(Error::Store)
    }

    /// One version of a module.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn get(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, Error> {
        self.catalogue
            .module(name, version)
            .await
            .map_err(Error::Store)
    }

    /// Deletes a version of a module, and its artifact where no other version has the same.
    /// Returns whether there was one.
    ///
    /// A call that is cancelled or crashes may leave the artifact, which is then removed with
    /// everything that nobody needs.
    ///
    /// # Errors
    /// [`Error::InUse`] if a node runs it, it should run in an environment, a deployment of it
    /// has not ended, or a rollback would go back to it.
    pub async fn delete(&self, name: &ModuleName, version: &Version) -> Result<bool, Error> {
        let mut needed = Needed::default();
        self.references.add_nodes(name, &mut needed).await;
        let _deleting = self.references.delete().await;
        let record = self.get(name, version).await?;
        let unreadable = self.catalogue.unreadable_records().await;
        let unreadable = unreadable.map_err(Error::Store)?;
        if record.is_none() && unreadable.is_empty() {
            return Ok(false);
        }
        let added = self.references.add_deployments(&mut needed).await;
        added.map_err(|error| Error::Store(Box::new(error)))?;
        if let Some(reason) = needed.reason(name, version) {
            return Err(Error::InUse {
                name: name.clone(),
                version: version.clone(),
                reason: reason.to_owned(),
            });
        }
        let Some(record) = record else {
            // It cannot be read. The next sweep removes its artifact.
            let deleted = self.catalogue.delete_module(name, version).await;
            return deleted.map_err(Error::Store);
        };
        // The record goes first: a record without its artifact would be a broken promise.
        let deletion = self
            .references
            .delete_records(self.catalogue.as_ref(), vec![record.clone()]);
        let deletion = deletion.await;
        let deletion = deletion.map_err(|error| Error::Store(Box::new(error)))?;
        if let Some((_, reason)) = deletion.restored.into_iter().next() {
            return Err(Error::InUse {
                name: name.clone(),
                version: version.clone(),
                reason,
            });
        }
        let digest = record.module.digest;
        let began = Instant::now();
        let others = self.list(None).await?;
        let is_shared = others.iter().any(|other| other.module.digest == digest);
        // What cannot be read may have the same artifact.
        if unreadable.is_empty() && !is_shared && !needed.needs(digest) {
            self.blobs.remove_unused(digest, began.elapsed()).await?;
        }
        Ok(true)
    }

    /// Opens an artifact by its digest.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn open(&self, digest: Digest) -> Result<Option<Blob>, Error> {
        Ok(self.blobs.open(digest).await?)
    }
}

impl Upload {
    /// Writes the next piece of the artifact to disk.
    ///
    /// # Errors
    /// [`Error::TooLarge`] as soon as the artifact exceeds the limit.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        Ok(self.blob.write(piece).await?)
    }

    /// Checks and records the artifact. Where the same artifact is recorded as this version
    /// already, returns that record.
    ///
    /// # Errors
    /// [`Error::InvalidArtifact`], [`Error::VersionExists`].
    pub async fn finish(
        self,
        name: ModuleName,
        version: Version,
        by: &str,
    ) -> Result<ModuleRecord, Error> {
        let Self { modules, mut blob } = self;
        let size = blob.written();
        // Check before the blob is finished, so that an invalid artifact is not stored.
        let artifact = blob.content().await?;
        let checked = tokio::task::spawn_blocking(move || inspect::check_module(&artifact)).await;
        checked
            .map_err(|error| Error::Store(Box::new(error)))?
            .map_err(Error::InvalidArtifact)?;
        // From here until the record names it, nothing else protects the blob.
        let _references = modules.references.add().await;
        let digest = blob.finish(None).await?;
        let module = ModuleVersion {
            name,
            version,
            digest,
        };
        let record = ModuleRecord {
            module,
            size,
            uploaded_at: modules.clock.now(),
            uploaded_by: by.to_owned(),
        };
        let recorded = modules
            .catalogue
            .put_module(record)
            .await
            .map_err(Error::Store)?;
        if recorded.module.digest == digest {
            // Another engine may have removed it as unused before it was recorded.
            modules.blobs.share_again(digest).await?;
            Ok(recorded)
        } else {
            Err(Error::VersionExists(recorded.module))
        }
    }
}

impl From<blobs::Error> for Error {
    fn from(error: blobs::Error) -> Self {
        match error {
            blobs::Error::TooLarge { limit } => Self::TooLarge { limit },
            blobs::Error::Full { .. } => Self::Full,
            other => Self::Store(Box::new(other)),
        }
    }
}
