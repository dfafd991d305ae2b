//! A fault that passes ends no deployment: a disk that cannot be read, a component that is
//! gone, and one that this engine does not accept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{CauseKind, Deployment, DeploymentId, Digest, Status};
use hotswap_plugins::Host;
use hotswap_runner::Retry;
use hotswap_store::Journal;
use hotswap_tests::{Cluster, EMAIL, LeaselessJournal};
use serde_json::json;

const PRODUCTION: &str = "production";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster with a deployment that no engine has begun to drive, and the file of its
/// strategy's component. The next engine must load it: the host has forgotten it.
struct Fixture {
    cluster: Cluster,
    id: DeploymentId,
    component: PathBuf,
    digest: Digest,
}

impl Fixture {
    async fn new() -> Result<Self> {
        let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
        cluster.upload_samples().await?;
        let strategies = &cluster.engine.strategies;
        let strategy = strategies
            .upload(hotswap_guests::HALVES.to_vec(), EMAIL)
            .await?;
        let leaseless = LeaselessJournal::wrap(Arc::new(cluster.resources.store.clone()));
        cluster.restart_engine(leaseless).await?;
        let halves = (strategy.name.as_str(), json!({ "watch": "1ms" }));
        let id = cluster
            .deploy(("hello", "1.0.0"), PRODUCTION, halves)
            .await?;
        cluster.engine.shutdown().await;
        cluster.resources.host = Host::new(hotswap_plugins::Limits::default())?;
        let component = cluster.blob_path(strategy.digest);
        ensure!(component.is_file(), "{}", component.display());
        Ok(Self {
            cluster,
            id,
            component,
            digest: strategy.digest,
        })
    }

    async fn start_engine(&mut self) -> Result<()> {
        let journal: Arc<dyn Journal> = Arc::new(self.cluster.resources.store.clone());
        self.cluster.restart_engine(journal).await
    }

    /// Makes the component unreadable: reading a folder fails with EISDIR.
    fn break_disk(&self) -> Result<()> {
        std::fs::rename(&self.component, self.component.with_extension("kept"))?;
        Ok(std::fs::create_dir(&self.component)?)
    }

    fn mend_disk(&self) -> Result<()> {
        std::fs::remove_dir(&self.component)?;
        let kept = self.component.with_extension("kept");
        Ok(std::fs::rename(kept, &self.component)?)
    }

    /// Waits until the engine says that it retries, at least for the second time.
    async fn retry(&self) -> Result<Retry> {
        let deployments = &self.cluster.engine.deployments;
        let retry = async {
            loop {
                let state = deployments.get(self.id).await?;
                let retry = deployments.retry(&state);
                if let Some(retry) = retry.filter(|retry| retry.attempts > 1) {
                    return anyhow::Ok(retry);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, retry).await?
    }

    /// Waits until the deployment is paused.
    async fn paused(&self) -> Result<Deployment> {
        let deployments = &self.cluster.engine.deployments;
        loop {
            let state = deployments.get(self.id).await?;
            ensure!(!state.status().is_final(), "{:?}", state.cause);
            if state.status() == Status::Paused {
                return Ok(state);
            }
            let events = deployments.events(self.id, state.next_seq, 1, TIMEOUT);
            ensure!(!events.await?.events.is_empty(), "{:?}", state.lifecycle);
        }
    }

    async fn wait_for_end(self) -> Result<Deployment> {
        let state = self.cluster.wait_for_end(self.id).await?;
        let retry = self.cluster.engine.deployments.retry(&state);
        ensure!(retry.is_none(), "{retry:?}");
        self.cluster.shutdown().await;
        Ok(state)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_fault_while_an_engine_starts_ends_no_deployment() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.break_disk()?;
    fixture.start_engine().await?;
    let retry = fixture.retry().await?;
    ensure!(retry.reason.contains("Is a directory"), "{}", retry.reason);
    let state = fixture.cluster.engine.deployments.get(fixture.id).await?;
    assert_eq!(state.status(), Status::Running);
    fixture.mend_disk()?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_strategy_cannot_be_read_can_be_aborted() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.break_disk()?;
    fixture.start_engine().await?;
    fixture.retry().await?;
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.abort(fixture.id, EMAIL, None).await?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.cause.map(|cause| cause.kind), Some(CauseKind::Abort));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_strategy_is_gone_is_paused_until_it_is_back() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    std::fs::remove_file(&fixture.component)?;
    fixture.start_engine().await?;
    let state = fixture.paused().await?;
    let reason = state.pause_reason.unwrap();
    let digest = fixture.digest.to_string();
    for expected in ["halves", &digest, "upload it again"] {
        ensure!(reason.contains(expected), "{reason}");
    }
    // Resumed without the component, it pauses again.
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.resume(fixture.id, EMAIL).await?;
    fixture.paused().await?;
    let strategies = &fixture.cluster.engine.strategies;
    strategies
        .upload(hotswap_guests::HALVES.to_vec(), EMAIL)
        .await?;
    let state = deployments.resume(fixture.id, EMAIL).await?;
    assert_eq!(state.pause_reason, None);
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_strategy_the_engine_does_not_accept_is_paused() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let resources = &fixture.cluster.resources;
    // As after a downgrade: the component needs what this engine does not have.
    let foreign = hotswap_guests::HELLO_V1;
    let mut blob = resources.blobs.writer().await?;
    blob.write(foreign).await?;
    blob.finish(None).await?;
    let (pinned, replacement) = (fixture.digest.to_string(), Digest::of(foreign).to_string());
    let changed = fixture.cluster.replace_in_journals(&pinned, &replacement)?;
    assert_eq!(changed, 1);
    fixture.start_engine().await?;
    let reason = fixture.paused().await?.pause_reason.unwrap();
    ensure!(reason.contains("cannot use"), "{reason}");
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.abort(fixture.id, EMAIL, None).await?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Failed);
    Ok(())
}
