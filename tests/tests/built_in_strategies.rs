//! Built-in strategies in a store that engines of several releases share: which one counts, and what
//! comes of uploads and deletions at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use async_trait::async_trait;
use hotswap_core::{Digest, ModuleName, NodeId, StrategyName};
use hotswap_runner::strategies::Error;
use hotswap_runner::{Engine, EngineConfig};
use hotswap_store::{
    BackendRecord, Catalogue, CatalogueError, ModuleRecord, NodeRecord, Sqlite, StrategyRecord,
};
use hotswap_tests::{EMAIL, EngineResources};
use semver::Version;

/// What another engine does at the moment at which this one is about to change a strategy.
enum Rival {
    Installs(Box<StrategyRecord>),
    Deletes,
}

/// A store in which another engine is faster, once.
struct RacingCatalogue {
    store: Sqlite,
    rival: Mutex<Option<Rival>>,
}

impl RacingCatalogue {
    async fn race(&self, name: &StrategyName) -> Result<(), CatalogueError> {
        let rival = self.rival.lock();
        let rival = rival.unwrap_or_else(PoisonError::into_inner).take();
        let current = self.store.strategy(name).await?;
        match rival {
            Some(Rival::Installs(record)) => {
                self.store.put_strategy(*record, current.as_ref()).await?;
            }
            Some(Rival::Deletes) => {
                let current = current.ok_or("nothing to delete")?;
                self.store.delete_strategy(&current).await?;
            }
            None => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Catalogue for RacingCatalogue {
    async fn put_module(&self, record: ModuleRecord) -> Result<ModuleRecord, CatalogueError> {
        self.store.put_module(record).await
    }

    async fn module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<Option<ModuleRecord>, CatalogueError> {
        self.store.module(name, version).await
    }

    async fn modules(
        &self,
        name: Option<&ModuleName>,
    ) -> Result<Vec<ModuleRecord>, CatalogueError> {
        self.store.modules(name).await
    }

    async fn delete_module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<bool, CatalogueError> {
        self.store.delete_module(name, version).await
    }

    async fn put_strategy(
        &self,
        record: StrategyRecord,
        replaces: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError> {
        self.race(&record.name).await?;
        self.store.put_strategy(record, replaces).await
    }

    async fn strategy(
        &self,
        name: &StrategyName,
    ) -> Result<Option<StrategyRecord>, CatalogueError> {
        self.store.strategy(name).await
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        self.store.strategies().await
    }

    async fn delete_strategy(&self, record: &StrategyRecord) -> Result<bool, CatalogueError> {
        self.race(&record.name).await?;
        self.store.delete_strategy(record).await
    }

    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError> {
        self.store.put_backend(record).await
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        self.store.backends().await
    }

    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        self.store.delete_backend(name).await
    }

    async fn put_node(
        &self,
        record: NodeRecord,
        replaces: Option<&NodeRecord>,
    ) -> Result<NodeRecord, CatalogueError> {
        self.store.put_node(record, replaces).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, CatalogueError> {
        self.store.nodes().await
    }

    async fn delete_node(&self, id: &NodeId) -> Result<bool, CatalogueError> {
        self.store.delete_node(id).await
    }
}

/// An engine on a store in which a rival is faster.
struct Raced {
    engine: Engine,
    catalogue: Arc<RacingCatalogue>,
    resources: EngineResources,
    _folder: tempfile::TempDir,
}

impl Raced {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let resources = EngineResources::new(folder.path(), BTreeMap::new()).await?;
        let catalogue = Arc::new(RacingCatalogue {
            store: resources.store.clone(),
            rival: Mutex::default(),
        });
        let engine = Engine::start(EngineConfig {
            catalogue: Arc::clone(&catalogue) as Arc<dyn Catalogue>,
            built_in: Vec::new(),
            ..resources.engine_config(Arc::new(resources.store.clone()))
        })
        .await?;
        Ok(Self {
            engine,
            catalogue,
            resources,
            _folder: folder,
        })
    }

    fn race(&self, rival: Rival) {
        let slot = self.catalogue.rival.lock();
        *slot.unwrap_or_else(PoisonError::into_inner) = Some(rival);
    }

    async fn upload(&self) -> Result<StrategyRecord, Error> {
        let component = hotswap_guests::STEPS.to_vec();
        self.engine.strategies.upload(component, EMAIL).await
    }

    async fn stored(&self) -> Result<Option<StrategyRecord>> {
        let stored = self.resources.store.strategy(&"steps".parse()?).await;
        stored.map_err(|error| anyhow!(error))
    }

    async fn stop(self) {
        self.engine.shutdown().await;
        self.resources.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_or_a_deletion_never_hits_a_strategy_that_another_engine_installs() -> Result<()>
{
    let raced = Raced::start().await?;
    let uploaded = raced.upload().await?;
    let built_in = StrategyRecord {
        built_in: true,
        digest: Digest::of(b"of another release"),
        ..uploaded.clone()
    };
    let name = uploaded.name.clone();

    raced.race(Rival::Installs(Box::new(built_in.clone())));
    let deleted = raced.engine.strategies.delete(&name).await;
    ensure!(matches!(deleted, Err(Error::BuiltIn(_))), "{deleted:?}");
    ensure!(raced.stored().await? == Some(built_in.clone()));

    let removed = raced.resources.store.delete_strategy(&built_in).await;
    ensure!(removed.map_err(|error| anyhow!(error))?);
    raced.race(Rival::Installs(Box::new(built_in.clone())));
    let refused = raced.upload().await;
    ensure!(matches!(refused, Err(Error::BuiltIn(_))), "{refused:?}");
    ensure!(raced.stored().await? == Some(built_in));
    raced.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_once_the_last_one_counts_and_a_deletion_between_is_no_error()
-> Result<()> {
    let raced = Raced::start().await?;
    let mine = raced.upload().await?;
    let other = StrategyRecord {
        digest: Digest::of(b"of somebody else"),
        ..mine.clone()
    };
    // Theirs comes between, so it is what is deleted.
    raced.race(Rival::Installs(Box::new(other.clone())));
    ensure!(raced.engine.strategies.delete(&mine.name).await?);
    ensure!(raced.stored().await?.is_none());
    raced.race(Rival::Installs(Box::new(other.clone())));
    let uploaded = raced.upload().await?;
    ensure!(raced.stored().await? == Some(uploaded.clone()));
    // The one that is to be replaced is gone, and then the one that is to be deleted.
    let put = raced.resources.store.put_strategy(other, Some(&uploaded));
    ensure!(put.await.map_err(|error| anyhow!(error))?);
    raced.race(Rival::Deletes);
    let uploaded = raced.upload().await?;
    ensure!(raced.stored().await? == Some(uploaded));
    raced.race(Rival::Deletes);
    ensure!(!raced.engine.strategies.delete(&mine.name).await?);
    raced.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_starts_leaves_the_strategies_of_a_newer_release() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let resources = EngineResources::new(folder.path(), BTreeMap::new()).await?;
    let store = &resources.store;
    let start = async || resources.start_engine(Arc::new(store.clone())).await;
    let direct = async || -> Result<StrategyRecord> {
        let stored = store.strategy(&"direct".parse()?).await;
        let stored = stored.map_err(|error| anyhow!(error))?;
        stored.context("there is no strategy direct")
    };
    start().await?.shutdown().await;
    let own = direct().await?;
    let of = |version: &str, wit: Version, built_in| StrategyRecord {
        version: version.to_owned(),
        wit,
        built_in,
        digest: Digest::of(version.as_bytes()),
        ..own.clone()
    };
    let wit = own.wit.clone();
    let next_wit = Version::new(wit.major, wit.minor + 1, 0);
    for (other, stays) in [
        (of("0.0.1", wit.clone(), true), false),
        (of("99.0.0", wit.clone(), true), true),
        // This engine could not run it.
        (of("99.0.0", next_wit, true), false),
        // An upload from before the name was built in.
        (of("99.0.0", wit, false), false),
    ] {
        let put = store.put_strategy(other.clone(), Some(&own)).await;
        ensure!(put.map_err(|error| anyhow!(error))?);
        start().await?.shutdown().await;
        let found = direct().await?;
        let is_right = if stays {
            found == other
        } else {
            found.built_in && found.digest == own.digest && found.version == own.version
        };
        ensure!(is_right, "{other:?} became {found:?}");
        let put = store.put_strategy(own.clone(), Some(&found)).await;
        ensure!(put.map_err(|error| anyhow!(error))?);
    }
    store.close().await;
    Ok(())
}
