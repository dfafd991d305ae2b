//! What is no longer kept is deleted. What runs, should run or may be gone back to stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use hotswap_core::{Clock, DeploymentId, Digest, Header, Status, SystemClock, Timestamp};
use hotswap_runner::{RetentionLimits, Swept, deployments, modules};
use hotswap_store::{Catalogue, CreateError, Journal, Query, Sqlite};
use hotswap_tests::{Cluster, EMAIL, InterceptedJournal, Interceptor, SteppedClock, new_rollback};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";
/// In seconds.
const MINUTE: u64 = 60;
/// In seconds.
const HOUR: u64 = 3600;
/// By how many seconds a wrong date is wrong: by more than the age of everything that is kept.
const YEARS: i64 = 2 * 366 * 24 * 3600;

/// Keeps only what is needed.
const NOTHING: RetentionLimits = RetentionLimits {
    deployments: 0,
    deployment_age: Duration::ZERO,
    versions: 0,
    version_age: Duration::ZERO,
    unused_age: Duration::ZERO,
};

/// Nodes that ran 1.0.0 of `hello` and run 2.0.0. Also uploaded: 0.5.0 and 3.0.0.
async fn cluster() -> Result<Cluster> {
    let mut cluster = cluster_with_clock(Arc::new(SystemClock)).await?;
    cluster.resources.limits.retention = NOTHING;
    restart(&mut cluster).await?;
    Ok(cluster)
}

/// An artifact that no sample version has, with this name of a custom section.
fn artifact(name: u8) -> Vec<u8> {
    let section = [0, 2, 1, name];
    [hotswap_guests::HELLO_V1, &section].concat()
}

/// Nodes that ran 1.0.0 of `hello` and run 2.0.0, with the usual limits. Nobody needs 0.5.0.
async fn cluster_with_clock(clock: Arc<impl Clock>) -> Result<Cluster> {
    let (nodes, policies) = ([(PRODUCTION, 2)], BTreeMap::new());
    let cluster = Cluster::start_with_clock(&nodes, policies, clock).await?;
    cluster.upload("hello", "0.5.0", &artifact(b'a')).await?;
    cluster.upload_samples().await?;
    for version in ["1.0.0", "2.0.0"] {
        let direct = ("direct", json!({}));
        cluster
            .roll_out(("hello", version), PRODUCTION, direct)
            .await?;
    }
    Ok(cluster)
}

async fn restart(cluster: &mut Cluster) -> Result<()> {
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await
}

async fn versions(cluster: &Cluster) -> Result<Vec<String>> {
    let records = cluster.engine.modules.list(None).await?;
    let versions = records
        .iter()
        .map(|record| record.module.version.to_string());
    Ok(versions.collect())
}

async fn deployments_of(cluster: &Cluster) -> Result<Vec<DeploymentId>> {
    let all = Query {
        limit: 99,
        ..Query::default()
    };
    Ok(cluster.resources.store.list(&all).await?.deployments)
}

async fn artifacts(cluster: &Cluster) -> Result<BTreeSet<Digest>> {
    let blobs = cluster.resources.blobs.list().await?;
    Ok(blobs.into_iter().map(|blob| blob.digest).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_keeps_what_runs_and_what_may_be_gone_back_to() -> Result<()> {
    let cluster = cluster().await?;
    let [current, _] = deployments_of(&cluster).await?[..] else {
        bail!("not two deployments");
    };
    let swept = cluster.engine.retention.sweep().await?;
    let expected = Swept {
        deployments: 1,
        versions: 1,
        files: 1,
        bytes: artifact(b'a').len() as u64,
    };
    assert_eq!(swept, expected);
    assert_eq!(deployments_of(&cluster).await?, [current]);
    // 3.0.0 is the newest: a deployment gets it that names no version.
    assert_eq!(versions(&cluster).await?, ["3.0.0", "2.0.0", "1.0.0"]);
    let again = cluster.engine.retention.sweep().await?;
    assert_eq!(again, Swept::default());
    let deployments = &cluster.engine.deployments;
    let rollback = deployments.rollback(current, new_rollback(None)?).await?;
    let state = cluster.wait_for_end(rollback.id).await?;
    ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
    let active = cluster.active_versions(PRODUCTION, "hello").await?;
    assert!(
        active
            .values()
            .all(|version| version.as_deref() == Some("1.0.0")),
        "{active:?}"
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_date_deletes_nothing_by_age_for_an_hour() -> Result<()> {
    let clock = Arc::new(SteppedClock::default());
    let cluster = cluster_with_clock(Arc::clone(&clock)).await?;
    let retention = &cluster.engine.retention;
    clock.pass(HOUR + MINUTE);
    assert_eq!(retention.sweep().await?, Swept::default());
    // The date is wrong, and soon right again.
    clock.step(YEARS);
    for _ in 0..2 {
        assert_eq!(retention.sweep().await?, Swept::default());
        clock.pass(HOUR - MINUTE);
    }
    clock.step(-YEARS);
    assert_eq!(retention.sweep().await?, Swept::default());
    clock.pass(HOUR + MINUTE);
    assert_eq!(retention.sweep().await?, Swept::default());
    // Years have gone by.
    clock.step(YEARS);
    assert_eq!(retention.sweep().await?, Swept::default());
    clock.pass(HOUR + MINUTE);
    let swept = retention.sweep().await?;
    assert_eq!((swept.deployments, swept.versions), (1, 1), "{swept:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_deletes_by_number_at_once_and_by_age_after_an_hour() -> Result<()> {
    let clock = Arc::new(SteppedClock::default());
    let mut cluster = cluster_with_clock(Arc::clone(&clock)).await?;
    // While no engine runs.
    clock.step(YEARS);
    cluster.resources.limits.retention.deployments = 1;
    restart(&mut cluster).await?;
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!((swept.deployments, swept.versions), (1, 0), "{swept:?}");
    clock.pass(HOUR + MINUTE);
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!((swept.deployments, swept.versions), (0, 1), "{swept:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_needed_is_not_deleted_and_says_why() -> Result<()> {
    let cluster = cluster().await?;
    let name = "hello".parse()?;
    let modules = &cluster.engine.modules;
    for (version, reason) in [("2.0.0", "runs it"), ("1.0.0", "rolled back to it")] {
        let deleted = modules.delete(&name, &version.parse()?).await;
        let Err(error @ modules::Error::InUse { .. }) = deleted else {
            bail!("{version}: {deleted:?}");
        };
        assert!(error.to_string().contains(reason), "{error}");
    }
    let digest = Digest::of(&artifact(b'a'));
    // A second version of the same artifact keeps it.
    cluster.upload("hello", "0.6.0", &artifact(b'a')).await?;
    assert!(modules.delete(&name, &"0.5.0".parse()?).await?);
    assert!(artifacts(&cluster).await?.contains(&digest));
    assert!(modules.delete(&name, &"0.6.0".parse()?).await?);
    assert!(!artifacts(&cluster).await?.contains(&digest));
    assert!(!modules.delete(&name, &"0.6.0".parse()?).await?);
    cluster.upload("hello", "0.6.0", &artifact(b'a')).await?;
    assert!(artifacts(&cluster).await?.contains(&digest));
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_deleted_only_after_its_end_and_after_the_next_success() -> Result<()> {
    let cluster = cluster().await?;
    let [current, outdated] = deployments_of(&cluster).await?[..] else {
        bail!("not two deployments");
    };
    let asking = ("canary", json!({ "soak": "1h" }));
    let open = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, asking)
        .await?;
    let deployments = &cluster.engine.deployments;
    for (id, reason) in [(open, "not ended"), (current, "should run in production")] {
        let deleted = deployments.delete(id).await;
        let Err(error @ deployments::Error::InUse { .. }) = deleted else {
            bail!("{id}: {deleted:?}");
        };
        assert!(error.to_string().contains(reason), "{error}");
    }
    deployments.delete(outdated).await?;
    for deleted in [
        deployments.get(outdated).await.map(drop),
        deployments.delete(outdated).await,
    ] {
        assert!(
            matches!(deleted, Err(deployments::Error::Unknown(_))),
            "{deleted:?}"
        );
    }
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!(swept.deployments, 0, "{swept:?}");
    deployments.abort(open, EMAIL, None).await?;
    cluster.wait_for_end(open).await?;
    deployments.delete(open).await?;
    assert_eq!(deployments_of(&cluster).await?, [current]);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_deployment_keeps_its_strategy_and_its_versions() -> Result<()> {
    let cluster = cluster().await?;
    let engine = &cluster.engine;
    let steps = hotswap_guests::STEPS.to_vec();
    let digest = engine.strategies.upload(steps, EMAIL).await?.digest;
    let sleep: Value = json!({ "kind": "sleep", "steps": 1, "sleep": 3_600_000 });
    let id = cluster
        .deploy(("hello", "0.5.0"), PRODUCTION, ("steps", sleep))
        .await?;
    assert!(engine.strategies.delete(&"steps".parse()?).await?);
    let deleted = engine
        .modules
        .delete(&"hello".parse()?, &"0.5.0".parse()?)
        .await;
    let error = deleted.unwrap_err().to_string();
    assert!(
        error.contains(&format!("deployment {id} has not ended")),
        "{error}"
    );
    engine.retention.sweep().await?;
    let kept = artifacts(&cluster).await?;
    assert!(kept.contains(&digest) && kept.contains(&Digest::of(&artifact(b'a'))));
    engine.deployments.abort(id, EMAIL, None).await?;
    cluster.wait_for_end(id).await?;
    let swept = engine.retention.sweep().await?;
    assert_eq!((swept.deployments, swept.versions, swept.files), (1, 1, 2));
    assert!(!artifacts(&cluster).await?.contains(&digest));
    cluster.shutdown().await;
    Ok(())
}

/// As after a downgrade: another engine, which can read the journals, continues what is open.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_journal_that_cannot_be_read_may_need_is_kept() -> Result<()> {
    let mut cluster = cluster().await?;
    let steps = hotswap_guests::STEPS.to_vec();
    let digest = cluster.engine.strategies.upload(steps, EMAIL).await?.digest;
    let sleep: Value = json!({ "kind": "sleep", "steps": 1, "sleep": 3_600_000 });
    let id = cluster
        .deploy(("hello", "0.5.0"), PRODUCTION, ("steps", sleep))
        .await?;
    let deleted = cluster.engine.strategies.delete(&"steps".parse()?).await?;
    assert!(deleted);
    let all = versions(&cluster).await?;
    let [known, unknown] = ["requested", "asked"].map(|word| format!("\"type\":\"{word}\""));
    cluster.engine.shutdown().await;
    assert_eq!(cluster.replace_in_journals(&known, &unknown)?, 3);
    restart(&mut cluster).await?;
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!((swept.versions, swept.files), (0, 0), "{swept:?}");
    assert_eq!(versions(&cluster).await?, all);
    assert!(artifacts(&cluster).await?.contains(&digest));
    for version in ["0.5.0", "3.0.0"] {
        let (name, version) = ("hello".parse()?, version.parse()?);
        let deleted = cluster.engine.modules.delete(&name, &version).await;
        let error = deleted.unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }
    // The engine that can read them.
    cluster.engine.shutdown().await;
    assert_eq!(cluster.replace_in_journals(&unknown, &known)?, 2);
    restart(&mut cluster).await?;
    cluster.engine.deployments.abort(id, EMAIL, None).await?;
    cluster.wait_for_end(id).await?;
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!((swept.deployments, swept.versions, swept.files), (1, 1, 2));
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_record_cannot_be_read_is_kept_until_that_is_deleted() -> Result<()> {
    let mut cluster = cluster().await?;
    let digest = Digest::of(&artifact(b'a'));
    cluster.engine.shutdown().await;
    let tear = "UPDATE module SET digest = '?' WHERE version = '0.5.0'";
    assert_eq!(cluster.database()?.execute(tear, [])?, 1);
    restart(&mut cluster).await?;
    assert_eq!(versions(&cluster).await?, ["3.0.0", "2.0.0", "1.0.0"]);
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!((swept.versions, swept.files), (0, 0), "{swept:?}");
    assert!(artifacts(&cluster).await?.contains(&digest));
    let (name, version) = ("hello".parse()?, "0.5.0".parse()?);
    assert!(cluster.engine.modules.delete(&name, &version).await?);
    assert!(!cluster.engine.modules.delete(&name, &version).await?);
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!(swept.files, 1, "{swept:?}");
    assert!(!artifacts(&cluster).await?.contains(&digest));
    cluster.shutdown().await;
    Ok(())
}

/// Another engine that deletes the version of each deployment right before the deployment is
/// created, because nothing needs it.
struct DeletedMeanwhile {
    store: Sqlite,
    /// Whether that engine sees the deployment when it looks at the journals again.
    is_seen: bool,
}

#[async_trait]
impl Interceptor for DeletedMeanwhile {
    async fn create(
        &self,
        journal: &dyn Journal,
        header: Header,
        at: Timestamp,
    ) -> std::result::Result<(), CreateError> {
        let (name, version) = (header.module.name.clone(), header.module.version.clone());
        let record = self.store.module(&name, &version).await;
        let record = record.map_err(CreateError::Store)?;
        let deleted = self.store.delete_module(&name, &version).await;
        deleted.map_err(CreateError::Store)?;
        journal.create(header, at).await?;
        if let Some(record) = record.filter(|_| self.is_seen) {
            self.store
                .put_module(record)
                .await
                .map_err(CreateError::Store)?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_another_engine_deletes_meanwhile_is_put_back_or_not_rolled_out()
-> Result<()> {
    let mut cluster = cluster().await?;
    for is_seen in [true, false] {
        let store = cluster.resources.store.clone();
        let journal =
            InterceptedJournal::new(Arc::new(store.clone()), DeletedMeanwhile { store, is_seen });
        cluster.restart_engine(journal).await?;
        let slow = ("canary", json!({ "soak": "1h" }));
        let deployed = cluster.deploy(("hello", "3.0.0"), PRODUCTION, slow).await;
        let id = deployments_of(&cluster).await?[0];
        if is_seen {
            assert_eq!(deployed?, id);
            cluster.engine.deployments.abort(id, EMAIL, None).await?;
        } else {
            let error = deployed.unwrap_err().to_string();
            assert!(error.contains("was deleted since"), "{error}");
        }
        let state = cluster.wait_for_end(id).await?;
        assert_ne!(state.status(), Status::Succeeded);
        let cause = state.cause.context("no cause")?.message;
        let by_engine = cause.contains("hello 3.0.0 was deleted while");
        assert_eq!(by_engine, !is_seen, "{cause}");
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_crash_cut_off_and_a_refused_upload_leave_nothing() -> Result<()> {
    let mut cluster = cluster().await?;
    let before = artifacts(&cluster).await?;
    // Refused, because the version has another artifact.
    let refused = cluster.upload("hello", "3.0.0", &artifact(b'b')).await;
    assert!(refused.is_err());
    // The record of 0.5.0 is gone, and its artifact is not, as after a crash between the two.
    let (name, version) = ("hello".parse()?, "0.5.0".parse()?);
    let deleted = cluster.resources.store.delete_module(&name, &version).await;
    assert!(deleted.map_err(|error| anyhow::anyhow!(error))?);
    restart(&mut cluster).await?;
    let usage = cluster.engine.retention.usage().await?;
    assert_eq!(usage.others.count, 2);
    // It can be uploaded again meanwhile.
    cluster.upload("hello", "0.5.0", &artifact(b'a')).await?;
    assert_eq!(artifacts(&cluster).await?.len(), before.len() + 1);
    let swept = cluster.engine.retention.sweep().await?;
    assert_eq!(swept.files, 1, "{swept:?}");
    assert_eq!(artifacts(&cluster).await?, before);
    assert_eq!(cluster.engine.retention.usage().await?.others.count, 0);
    cluster.shutdown().await;
    Ok(())
}
