//! The engine is killed with SIGKILL at every point of a deletion at which the disk differs. What
//! is left is whole, and the next deletion completes it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use async_trait::async_trait;
use hotswap_core::{Deployment, DeploymentId, Digest, ModuleName, NodeId, StrategyName};
use hotswap_runner::{Engine, EngineConfig, RetentionLimits};
use hotswap_store::{
    BackendRecord, Catalogue, CatalogueError, DeleteError, Journal, ModuleRecord, NodeRecord,
    Query, Sqlite, StrategyRecord,
};
use hotswap_tests::{
    EMAIL, EngineResources, InterceptedJournal, Interceptor, StaticFleet, new_deployment,
    unreachable_registration,
};
use rustix::process::{Signal, getpid, kill_process};
use semver::Version;
use serde_json::json;
use tokio::process::Command;

/// Environment variable that tells the process to be killed where the engine's data is.
const FOLDER: &str = "HOTSWAP_TEST_DELETION_FOLDER";
/// Environment variable that tells it at which point to die.
const POINT: &str = "HOTSWAP_TEST_DELETION_POINT";

/// Keeps only what is needed.
const NOTHING: RetentionLimits = RetentionLimits {
    deployments: 0,
    deployment_age: Duration::ZERO,
    versions: 0,
    version_age: Duration::ZERO,
    unused_age: Duration::ZERO,
};

/// Kills this process at one of the points that it passes.
struct Killer {
    passed: AtomicUsize,
    at: usize,
}

impl Killer {
    fn pass(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) == self.at {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            // The signal comes before the next instruction that changes the disk.
            loop {
                std::thread::park();
            }
        }
    }
}

struct KilledJournal(Arc<Killer>);

#[async_trait]
impl Interceptor for KilledJournal {
    async fn delete(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
    ) -> Result<(), DeleteError> {
        self.0.pass();
        let deleted = journal.delete(deployment).await;
        self.0.pass();
        deleted
    }
}

struct KilledCatalogue {
    store: Sqlite,
    killer: Arc<Killer>,
}

#[async_trait]
impl Catalogue for KilledCatalogue {
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
        // Asked before a file is removed.
        self.killer.pass();
        self.store.modules(name).await
    }

    async fn delete_module(
        &self,
        name: &ModuleName,
        version: &Version,
    ) -> Result<bool, CatalogueError> {
        self.killer.pass();
        let deleted = self.store.delete_module(name, version).await;
        self.killer.pass();
        deleted
    }

    async fn put_strategy(
        &self,
        record: StrategyRecord,
        replaces: Option<&StrategyRecord>,
    ) -> Result<bool, CatalogueError> {
        self.store.put_strategy(record, replaces).await
    }

    async fn strategy(
        &self,
        name: &StrategyName,
    ) -> Result<Option<StrategyRecord>, CatalogueError> {
        self.store.strategy(name).await
    }

    async fn strategies(&self) -> Result<Vec<StrategyRecord>, CatalogueError> {
        self.killer.pass();
        self.store.strategies().await
    }

    async fn delete_strategy(&self, record: &StrategyRecord) -> Result<bool, CatalogueError> {
        self.killer.pass();
        let deleted = self.store.delete_strategy(record).await;
        self.killer.pass();
        deleted
    }

    async fn put_backend(&self, record: BackendRecord) -> Result<(), CatalogueError> {
        self.store.put_backend(record).await
    }

    async fn backends(&self) -> Result<Vec<BackendRecord>, CatalogueError> {
        self.killer.pass();
        self.store.backends().await
    }

    async fn delete_backend(&self, name: &StrategyName) -> Result<bool, CatalogueError> {
        self.killer.pass();
        let deleted = self.store.delete_backend(name).await;
        self.killer.pass();
        deleted
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

/// What an engine has on its disk.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    deployments: Vec<DeploymentId>,
    versions: Vec<String>,
    strategies: Vec<String>,
    files: BTreeSet<Digest>,
}

async fn resources(folder: &Path) -> Result<EngineResources> {
    let mut resources = EngineResources::new(folder, BTreeMap::new()).await?;
    resources.fleet = Arc::new(StaticFleet::new(2));
    resources.limits.retention = NOTHING;
    Ok(resources)
}

/// Puts three rollouts, five versions and a strategy that nobody uses into the folder.
async fn furnish(folder: &Path) -> Result<()> {
    let resources = resources(folder).await?;
    let node: NodeId = "node-1".parse()?;
    let registration = unreachable_registration("production");
    resources.registry.register(node, registration).await?;
    let store = Arc::new(resources.store.clone());
    let engine = resources.start_engine(store).await?;
    for (number, version) in ["0.5.0", "0.6.0", "1.0.0", "2.0.0", "3.0.0"]
        .into_iter()
        .enumerate()
    {
        let section = [0, 2, 1, b'a' + u8::try_from(number)?];
        let artifact = [hotswap_guests::HELLO_V1, &section].concat();
        let mut upload = engine.modules.upload().await?;
        upload.write(&artifact).await?;
        upload
            .finish("hello".parse()?, version.parse()?, EMAIL)
            .await?;
    }
    let steps = hotswap_guests::STEPS.to_vec();
    engine.strategies.upload(steps, EMAIL).await?;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let new = new_deployment(("hello", version), "production", ("direct", json!({})))?;
        let id = engine.deployments.create(new).await?;
        let state = hotswap_tests::wait_for_end(&engine, id).await?;
        ensure!(state.cause.is_none(), "{:?}", state.cause);
    }
    engine.shutdown().await;
    resources.store.close().await;
    Ok(())
}

/// Deletes a deployment, a version and a strategy as people do, then all that is no longer kept.
/// What is gone already is no error.
async fn delete(folder: &Path, at: usize) -> Result<()> {
    let resources = resources(folder).await?;
    let killer = Arc::new(Killer {
        passed: AtomicUsize::new(0),
        at,
    });
    let store: Arc<dyn Journal> = Arc::new(resources.store.clone());
    let journal = InterceptedJournal::new(store, KilledJournal(Arc::clone(&killer)));
    let engine = Engine::start(EngineConfig {
        catalogue: Arc::new(KilledCatalogue {
            store: resources.store.clone(),
            killer: Arc::clone(&killer),
        }),
        built_in: Vec::new(),
        ..resources.engine_config(journal)
    })
    .await?;
    let oldest = list(&resources.store).await?.into_iter().nth(2);
    if let Some(oldest) = oldest {
        engine.deployments.delete(oldest).await?;
    }
    let (name, version) = ("hello".parse()?, "0.5.0".parse()?);
    engine.modules.delete(&name, &version).await?;
    killer.pass();
    engine.strategies.delete(&"steps".parse()?).await?;
    engine.retention.sweep().await?;
    killer.pass();
    engine.shutdown().await;
    resources.store.close().await;
    Ok(())
}

async fn list(store: &Sqlite) -> Result<Vec<DeploymentId>> {
    let all = Query {
        limit: 99,
        ..Query::default()
    };
    Ok(store.list(&all).await?.deployments)
}

/// Reads what is on the disk, and checks that each record is whole and has its file.
async fn check(folder: &Path) -> Result<Contents> {
    let resources = resources(folder).await?;
    let store = &resources.store;
    let blobs = resources.blobs.list().await?;
    let files: BTreeSet<_> = blobs.into_iter().map(|blob| blob.digest).collect();
    let modules = store.modules(None).await.map_err(|error| anyhow!(error))?;
    let strategies = store.strategies().await.map_err(|error| anyhow!(error))?;
    let named = modules.iter().map(|record| record.module.digest);
    for digest in named.chain(strategies.iter().map(|record| record.digest)) {
        ensure!(files.contains(&digest), "{digest} is named and gone");
    }
    let deployments = list(store).await?;
    for id in &deployments {
        let state = Deployment::fold(&store.events(*id, 0, usize::MAX).await?)?;
        let head = store.head(*id).await?;
        assert_eq!(state.next_seq, head.next_seq, "{id}");
        assert!(state.status().is_final(), "{id}");
    }
    let events = store.events_after(0, usize::MAX).await?;
    let known = events.iter().map(|entry| entry.deployment);
    let known: BTreeSet<_> = known.collect();
    assert_eq!(known, deployments.iter().copied().collect());
    store.close().await;
    Ok(Contents {
        deployments,
        versions: modules
            .iter()
            .map(|record| record.module.version.to_string())
            .collect(),
        strategies: strategies
            .iter()
            .map(|record| record.name.to_string())
            .collect(),
        files,
    })
}

/// What the killed process runs, and a test of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_removes_what_nobody_needs() -> Result<()> {
    if let Some(folder) = env::var_os(FOLDER) {
        return delete(Path::new(&folder), env::var(POINT)?.parse()?).await;
    }
    let folder = tempfile::tempdir()?;
    furnish(folder.path()).await?;
    let before = check(folder.path()).await?;
    assert_eq!((before.deployments.len(), before.versions.len()), (3, 5));
    delete(folder.path(), usize::MAX).await?;
    let after = check(folder.path()).await?;
    assert_eq!(after.deployments, before.deployments[..1]);
    // The second is what 3.0.0 would be rolled back to.
    assert_eq!(after.versions, ["3.0.0", "2.0.0"]);
    assert!(!after.strategies.contains(&"steps".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_killed_at_any_point_leaves_whole_records_and_is_completed() -> Result<()>
{
    let original = tempfile::tempdir()?;
    furnish(original.path()).await?;
    let undisturbed = copy(original.path())?;
    delete(undisturbed.path(), usize::MAX).await?;
    let expected = check(undisturbed.path()).await?;
    let mut seen = Vec::new();
    for point in 0.. {
        let folder = copy(original.path())?;
        if !is_killed(folder.path(), point).await? {
            println!("{point} points, {} different contents", seen.len());
            break;
        }
        let contents = check(folder.path()).await?;
        if !seen.contains(&contents) {
            seen.push(contents);
        }
        delete(folder.path(), usize::MAX).await?;
        assert_eq!(check(folder.path()).await?, expected, "killed at {point}");
    }
    // At least before and after each deployment, each version and its file, and the strategy.
    assert!(seen.len() >= 8, "{seen:?}");
    Ok(())
}

/// Deletes in another process, which dies at `point`. Returns whether it came so far.
async fn is_killed(folder: &Path, point: usize) -> Result<bool> {
    let output = Command::new(env::current_exe()?)
        .args(["--exact", "a_deletion_removes_what_nobody_needs"])
        .env(FOLDER, folder)
        .env(POINT, point.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(false);
    }
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(signal == Some(Signal::KILL.as_raw()), "it failed: {text}");
    Ok(true)
}

fn copy(folder: &Path) -> Result<tempfile::TempDir> {
    let target = tempfile::tempdir()?;
    copy_into(folder, target.path())?;
    Ok(target)
}

fn copy_into(folder: &Path, target: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy_into(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| format!("{}", to.display()))?;
        }
    }
    Ok(())
}
