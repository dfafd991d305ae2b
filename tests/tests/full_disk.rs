//! On a full disk, deployments under way end, and nothing new begins.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{DeploymentId, Status, Timestamp};
use hotswap_runner::{deployments, modules, strategies};
use hotswap_store::{Blobs, Catalogue, Journal, NodeRecord, Options, Sqlite};
use hotswap_tests::{Cluster, EMAIL, StaticFleet};
use serde_json::json;

const PRODUCTION: &str = "production";
const RESERVE: u64 = 8 << 20;
/// Room for the write-ahead log, the reserve, and a little more.
const DISK: u64 = 40 << 20;
/// Time limit of every wait.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A file system of its own, in memory.
struct SmallDisk {
    folder: PathBuf,
    ballast: PathBuf,
}

impl SmallDisk {
    /// Mounts it below `parent`. Needs root, or `sudo` without a password.
    fn mount(parent: &Path) -> Result<Self> {
        let folder = parent.join("small-disk");
        std::fs::create_dir(&folder)?;
        let options = format!("size={DISK},mode=777");
        let mount = ["mount", "-t", "tmpfs", "-o", &options, "tmpfs"];
        run_as_root(&mount, &folder)?;
        let ballast = folder.join("ballast");
        Ok(Self { folder, ballast })
    }

    /// Fills it to its last byte.
    fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.ballast)?;
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        Ok(std::fs::remove_file(&self.ballast)?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: files of the test may still be open.
        drop(run_as_root(&["umount", "-l"], &self.folder));
    }
}

fn run_as_root(command: &[&str], folder: &Path) -> Result<()> {
    let run = |command: &[&str]| {
        let (program, arguments) = command.split_first().context("no command")?;
        let status = Command::new(program).args(arguments).arg(folder).status();
        anyhow::Ok(status.is_ok_and(|status| status.success()))
    };
    let sudo = [&["sudo", "-n"], command].concat();
    ensure!(
        run(command)? || run(&sudo)?,
        "cannot run {command:?}: this test needs root, or sudo without a password"
    );
    Ok(())
}

/// Writes to the catalogue until the disk is full.
async fn write_until_full(store: &Sqlite) -> Result<()> {
    for number in 0_u32.. {
        let label = ("label".to_owned(), "x".repeat(100_000));
        let record = NodeRecord {
            id: format!("noise-{number}").parse()?,
            environment: "noise".parse()?,
            zone: None,
            labels: [label].into(),
            control_url: String::new(),
            data_url: String::new(),
            instance: None,
            registered_at: Timestamp::default(),
        };
        let put = store.put_node(record, None).await;
        put.map_err(|error| anyhow::anyhow!(error))?;
        if store.is_full().await {
            return Ok(());
        }
    }
    Ok(())
}

async fn new_deployment(cluster: &Cluster) -> Result<DeploymentId> {
    let direct = ("direct", json!({}));
    cluster.deploy(("hello", "2.0.0"), "qa", direct).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_lets_deployments_revert_and_refuses_new_ones() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let disk = SmallDisk::mount(parent.path())?;
    let mut cluster = Cluster::start(&[]).await?;
    let options = Options {
        reserve_bytes: RESERVE,
    };
    let store = Sqlite::open_with(disk.folder.join("engine.db"), options).await?;
    cluster.resources.store = store.clone();
    cluster.resources.blobs = Blobs::open_folder(disk.folder.join("blobs"), 64 << 20).await?;
    cluster.resources.fleet = Arc::new(StaticFleet::new(3));
    for (environment, node) in [(PRODUCTION, "node-1"), ("qa", "node-2")] {
        let registration = hotswap_tests::unreachable_registration(environment);
        let registry = &cluster.resources.registry;
        registry.register(node.parse()?, registration).await?;
    }
    cluster.restart_engine(Arc::new(store.clone())).await?;
    cluster.upload_samples().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "5m" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    let mut appended = store.subscribe();
    let waits = async |cluster: &Cluster| {
        let state = cluster.engine.deployments.get(id).await?;
        anyhow::Ok(state.waiting_until().is_some())
    };
    while !waits(&cluster).await? {
        tokio::time::timeout(TIMEOUT, appended.recv()).await??;
    }
    assert_eq!(store.usage().await?.reserve_bytes, RESERVE);

    disk.fill()?;
    write_until_full(&store).await?;
    assert_eq!(store.usage().await?.reserve_bytes, 0);
    let refused = new_deployment(&cluster).await.unwrap_err();
    let refused = refused.downcast::<deployments::Error>()?;
    assert!(matches!(refused, deployments::Error::Full), "{refused:?}");
    let upload = cluster.engine.modules.upload().await.map(drop);
    assert!(matches!(upload, Err(modules::Error::Full)), "{upload:?}");
    let steps = hotswap_guests::STEPS.to_vec();
    let upload = cluster.engine.strategies.upload(steps, EMAIL).await;
    assert!(matches!(upload, Err(strategies::Error::Full)), "{upload:?}");

    // An engine that starts on the full disk drives what is open.
    cluster.restart_engine(Arc::new(store.clone())).await?;
    cluster.engine.deployments.abort(id, EMAIL, None).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.failures);

    disk.empty()?;
    let id = new_deployment(&cluster).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::Succeeded);
    assert_eq!(store.usage().await?.reserve_bytes, RESERVE);
    assert!(!cluster.engine.retention.usage().await?.is_full);
    cluster.shutdown().await;
    store.close().await;
    Ok(())
}
