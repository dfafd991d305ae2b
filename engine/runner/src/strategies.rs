//! The strategies that deployments can name.

use std::sync::Arc;

use hotswap_core::{Clock, Digest, StrategyName, StrategyRef};
use hotswap_plugins::{Host, LoadError, Strategy};
use hotswap_store::{Blobs, Catalogue, CatalogueError, StrategyRecord, blobs};
use semver::Version;

use crate::references::References;

/// The uploader of the built-in strategies.
const ENGINE: &str = "hotswap";

/// How often a change is tried while others change the same strategy. Each attempt that fails is a
/// change of theirs that succeeded.
const ATTEMPTS: usize = 100;

/// Uploads, lists and loads strategies. Requests name them; deployments pin them by digest.
/// Cheap to clone.
#[derive(Clone)]
pub struct Strategies {
    catalogue: Arc<dyn Catalogue>,
    blobs: Blobs,
    host: Host,
    clock: Arc<dyn Clock>,
    references: References,
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
    /// Others changed the strategy, again and again.
    #[error("strategy '{0}' is being changed by others; try again")]
    Contended(StrategyName),
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

impl Strategies {
    pub(crate) fn new(
        catalogue: Arc<dyn Catalogue>,
        blobs: Blobs,
        host: Host,
        clock: Arc<dyn Clock>,
        references: References,
    ) -> Self {
        Self {
            catalogue,
            blobs,
            host,
            clock,
            references,
        }
    }

    /// Records the built-in strategies. They replace uploads of their names, and the built-in ones of
    /// another release. Newer ones stay, if this engine knows the contract that they need. On a full
    /// disk, those of the other release stay.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub async fn install(&self, components: &[&[u8]]) -> Result<(), Error> {
        for component in components {
            match self.record(component.to_vec(), ENGINE, true).await {
                Ok(_) => {}
                // The engine must start, so that deployments under way end.
                Err(Error::Full) => {
                    tracing::error!("the disk is full: a built-in strategy is not installed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Records a strategy under the name in its descriptor. Replaces the one of that name;
    /// running deployments keep the component that they began with.
    ///
    /// # Errors
    /// [`Error::InvalidComponent`]; [`Error::BuiltIn`] if a built-in strategy has the name.
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
        let record = self.record_of(&strategy, by, built_in);
        let mut existing = self.get(&record.name).await?;
        if stays(existing.as_ref(), &record)? {
            return Ok(existing.unwrap_or(record));
        }
        if !built_in && self.references.is_full().await {
            return Err(Error::Full);
        }
        let mut blob = self.blobs.writer().await?;
        blob.write(&component).await?;
        // From here until the record names it, nothing else protects the blob.
        let _references = self.references.add().await;
        blob.finish(Some(record.digest)).await?;
        for _ in 0..ATTEMPTS {
            let replaces = existing.as_ref();
            let put = self.catalogue.put_strategy(record.clone(), replaces).await;
            if put.map_err(Error::Store)? {
                // Another engine may have removed it as unused before it was recorded.
                self.blobs.share_again(record.digest).await?;
                return Ok(record);
            }
            // Another upload, or another engine, was faster.
            existing = self.get(&record.name).await?;
            if stays(existing.as_ref(), &record)? {
                return Ok(existing.unwrap_or(record));
            }
        }
        Err(Error::Contended(record.name))
    }

    fn record_of(&self, strategy: &Strategy, by: &str, built_in: bool) -> StrategyRecord {
        let descriptor = strategy.descriptor();
        StrategyRecord {
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            summary: descriptor.summary.clone(),
            config_schema: descriptor.config_schema.clone(),
            digest: strategy.digest(),
            wit: strategy.wit_version().clone(),
            built_in,
            uploaded_at: self.clock.now(),
            uploaded_by: by.to_owned(),
        }
    }

    /// The strategy that has a name now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn get(&self, name: &StrategyName) -> Result<Option<StrategyRecord>, Error> {
        self.catalogue.strategy(name).await.map_err(Error::Store)
    }

    /// All strategies, sorted by name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self) -> Result<Vec<StrategyRecord>, Error> {
        self.catalogue.strategies().await.map_err(Error::Store)
    }

    /// Deletes the record of a strategy; running deployments keep its component. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// [`Error::BuiltIn`] if it is built in.
    pub async fn delete(&self, name: &StrategyName) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let Some(record) = self.get(name).await? else {
                return Ok(false);
            };
            if record.built_in {
                return Err(Error::BuiltIn(name.clone()));
            }
            let deleted = self.catalogue.delete_strategy(&record).await;
            if deleted.map_err(Error::Store)? {
                return Ok(true);
            }
        }
        Err(Error::Contended(name.clone()))
    }

    /// Loads the component that a deployment pinned.
    ///
    /// # Errors
    /// [`PinError`] says whether to try again.
    pub(crate) async fn load_pinned(&self, pin: &StrategyRef) -> Result<Strategy, PinError> {
        let loaded = self.load(pin.digest).await;
        loaded.map_err(|error| PinError::new(&pin.name, error))
    }

    /// Loads a component from the store, unless the host has it loaded.
    pub(crate) async fn load(&self, digest: Digest) -> Result<Strategy, Error> {
        if let Some(strategy) = self.host.cached(digest) {
            return Ok(strategy);
        }
        let component = self.blobs.read(digest).await?;
        let component = component.ok_or(Error::MissingComponent(digest))?;
        self.compile(&component).await
    }

    async fn compile(&self, component: &[u8]) -> Result<Strategy, Error> {
        let strategy = self.host.load(component).await;
        strategy.map_err(Error::InvalidComponent)
    }
}

/// Whether the record of a name stays as it is, although `new` is to be recorded: because it is the
/// same component, or because `new` is built in and so is a newer one. Engines of two releases
/// share a store during an upgrade, and an older one that starts again must not bring the old
/// strategies back. Only if the newer one needs a newer contract, which this engine does not know,
/// does its own take the place: each of the engines can run it.
///
/// # Errors
/// [`Error::BuiltIn`] if the record is built in and `new` is not.
fn stays(existing: Option<&StrategyRecord>, new: &StrategyRecord) -> Result<bool, Error> {
    let Some(existing) = existing else {
        return Ok(false);
    };
    match (existing.built_in, new.built_in) {
        (true, false) => Err(Error::BuiltIn(new.name.clone())),
        (false, true) => Ok(false),
        (false, false) => Ok(existing.digest == new.digest),
        (true, true) => {
            let version = |record: &StrategyRecord| record.version.parse::<Version>().ok();
            let is_newer = version(existing) > version(new) && existing.wit <= new.wit;
            Ok(existing.digest == new.digest || is_newer)
        }
    }
}

/// Why the component that a deployment pinned was not loaded.
#[derive(Debug)]
pub(crate) enum PinError {
    /// It is gone, or this engine does not accept it. Only a person can change that. Says why,
    /// and what to do.
    Refused(String),
    /// Try again: the disk failed, or the machine had no room to compile it.
    Passing(Error),
    /// Try again: it is loaded, but the machine has no room to run it, for this reason.
    NoRoom(String),
}

impl PinError {
    fn new(name: &StrategyName, error: Error) -> Self {
        let next_step = match &error {
            // Which files or how much memory the compiler lacked, it does not say.
            Error::Store(_)
            | Error::Full
            | Error::InvalidComponent(LoadError::Compile(_) | LoadError::NoRoom(_)) => {
                return Self::Passing(error);
            }
            Error::MissingComponent(_) => "upload it again, then resume the deployment",
            Error::InvalidComponent(_) | Error::BuiltIn(_) | Error::Contended(_) => {
                "run an engine that accepts it, then resume the deployment"
            }
        };
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        let source = source.unwrap_or_default();
        Self::Refused(format!(
            "strategy '{name}' cannot be loaded: {error}{source}; {next_step}, or abort it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str, wit: u64, built_in: bool) -> StrategyRecord {
        StrategyRecord {
            name: "canary".parse().unwrap(),
            version: version.to_owned(),
            summary: String::new(),
            config_schema: serde_json::json!({}),
            digest: Digest::of(version.as_bytes()),
            wit: Version::new(0, wit, 0),
            built_in,
            uploaded_at: hotswap_core::Timestamp::from_millis(1),
            uploaded_by: String::new(),
        }
    }

    #[test]
    fn the_newest_built_in_strategy_stays_if_this_engine_can_run_it() {
        let own = record("1.4.0", 2, true);
        let stays = |existing: StrategyRecord| stays(Some(&existing), &own).unwrap();
        assert!(stays(own.clone()));
        assert!(stays(record("1.5.0", 2, true)));
        assert!(stays(record("1.10.0", 1, true)));
        assert!(!stays(record("1.3.0", 1, true)));
        assert!(!stays(record("1.4.0-rc.1", 2, true)));
        assert!(
            !stays(record("1.5.0", 3, true)),
            "it needs a newer contract"
        );
        // A name that people had, and the same bytes as an upload.
        assert!(!stays(record("9.0.0", 1, false)));
        assert!(!stays(record("1.4.0", 2, false)));
    }

    #[test]
    fn an_upload_replaces_uploads_and_nothing_else() {
        let new = record("1.0.0", 1, false);
        assert!(!stays(None, &new).unwrap());
        assert!(!stays(Some(&record("2.0.0", 1, false)), &new).unwrap());
        assert!(stays(Some(&new), &new).unwrap());
        let refused = stays(Some(&record("1.0.0", 1, true)), &new);
        assert!(matches!(refused, Err(Error::BuiltIn(_))), "{refused:?}");
    }

    fn refusal(error: Error) -> Option<String> {
        match PinError::new(&"canary".parse().unwrap(), error) {
            PinError::Refused(reason) => Some(reason),
            PinError::Passing(_) | PinError::NoRoom(_) => None,
        }
    }

    #[test]
    fn only_what_a_person_must_change_is_a_refusal() {
        let digest = Digest::of(b"canary");
        let reason = refusal(Error::MissingComponent(digest)).unwrap();
        assert_eq!(
            reason,
            format!(
                "strategy 'canary' cannot be loaded: the component {digest} is not in the store; \
                 upload it again, then resume the deployment, or abort it"
            )
        );
        let forbidden = LoadError::ForbiddenImport {
            import: "wasi:io/poll".to_owned(),
            role: "a strategy",
            allowed: "its contract",
        };
        let reason = refusal(Error::InvalidComponent(forbidden)).unwrap();
        assert!(reason.contains("wasi:io/poll"), "{reason}");
        let trapped = LoadError::Describe("unreachable".to_owned());
        let reason = refusal(Error::InvalidComponent(trapped)).unwrap();
        assert!(reason.contains("describe failed: unreachable"), "{reason}");
        for passing in [
            Error::Store(Box::new(std::io::Error::from_raw_os_error(5))),
            Error::Full,
            Error::InvalidComponent(LoadError::Compile("no memory".to_owned())),
            Error::InvalidComponent(LoadError::NoRoom("no room".to_owned())),
        ] {
            assert_eq!(refusal(passing), None);
        }
    }
}
