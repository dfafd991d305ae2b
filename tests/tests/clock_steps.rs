//! The wall-clock of the engine's machine is set forward and back during rollouts, and the
//! engine is stalled. No rollout fails by it, and no wait becomes longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_core::{
    CauseKind, Decision, Deployment, DeploymentId, EventBody, Fence, Policy, Status,
};
use hotswap_store::Journal as _;
use hotswap_tests::{Cluster, EMAIL, Installation, SteppedClock, wait_for_state};
use serde_json::json;
use tokio::time::{Instant, timeout};

const PRODUCTION: &str = "production";
const HOUR: i64 = 3600;
/// How much longer than it should a wait may take on a busy machine. Far less than the steps.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the nodes are watched after a batch.
const SETTLE: Duration = Duration::from_secs(3);

struct Fixture {
    cluster: Cluster,
    clock: Arc<SteppedClock>,
}

impl Fixture {
    /// A cluster of two nodes that run version 1.0.0.
    async fn start(policy: Policy) -> Result<Self> {
        let clock = Arc::new(SteppedClock::default());
        let policies = BTreeMap::from([(PRODUCTION.parse()?, policy)]);
        let cluster =
            Cluster::start_with_clock(&[(PRODUCTION, 2)], policies, Arc::clone(&clock) as Arc<_>)
                .await?;
        cluster.upload_samples().await?;
        let direct = ("direct", json!({}));
        cluster
            .roll_out(("hello", "1.0.0"), PRODUCTION, direct)
            .await?;
        Ok(Self { cluster, clock })
    }

    /// Starts a rollout in two batches, and returns when it waits after the first.
    async fn start_settle(&self, version: &str) -> Result<DeploymentId> {
        let rolling = ("rolling", json!({ "batch": 1, "settle": "3s" }));
        let id = self
            .cluster
            .deploy(("hello", version), PRODUCTION, rolling)
            .await?;
        wait_for_state(&self.cluster.engine, id, |state| {
            state.waiting_until().is_some()
        })
        .await?;
        Ok(id)
    }

    /// Asks a person before the new version goes live.
    async fn start_approval(&self, version: &str) -> Result<DeploymentId> {
        let blue_green = ("blue-green", json!({ "approval": true, "soak": "1ms" }));
        let id = self
            .cluster
            .deploy(("hello", version), PRODUCTION, blue_green)
            .await?;
        wait_for_state(&self.cluster.engine, id, |state| {
            state.status() == Status::AwaitingApproval
        })
        .await?;
        Ok(id)
    }

    async fn end(&self, id: DeploymentId) -> Result<Deployment> {
        timeout(SETTLE + PATIENCE, self.cluster.wait_for_end(id)).await?
    }
}

fn policy() -> Result<Policy> {
    Ok(Policy::default_for(&PRODUCTION.parse()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_forward_makes_no_node_critical_and_fails_no_deployment() -> Result<()> {
    let fixture = Fixture::start(policy()?).await?;
    for version in ["2.0.0", "1.0.0"] {
        fixture.clock.step(60);
        let direct = ("direct", json!({}));
        let cluster = &fixture.cluster;
        cluster
            .roll_out(("hello", version), PRODUCTION, direct)
            .await?;
    }
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_moves_no_settle_that_has_begun() -> Result<()> {
    let fixture = Fixture::start(policy()?).await?;
    for (version, step) in [("2.0.0", 60), ("3.0.0", -HOUR), ("2.0.0", 24 * HOUR)] {
        let id = fixture.start_settle(version).await?;
        let began = Instant::now();
        fixture.clock.step(step);
        let state = fixture.end(id).await?;
        assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
        let took = began.elapsed();
        // The settle began a moment before the test saw it.
        assert!(
            took > SETTLE / 2,
            "{step} s: the settle ended after {took:?}"
        );
    }
    fixture.cluster.shutdown().await;
    Ok(())
}

/// In a new epoch of its store the engine drops all drivers, and begins new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_and_a_new_epoch_move_no_settle_that_has_begun() -> Result<()> {
    let fixture = Fixture::start(policy()?).await?;
    for (version, step, fence) in [("2.0.0", 60, 1_000_000), ("3.0.0", -HOUR, 2_000_000)] {
        let id = fixture.start_settle(version).await?;
        let began = Instant::now();
        fixture.clock.step(step);
        let epoch = fixture.cluster.resources.store.epoch();
        fixture.cluster.engine.observe_fence(Fence(fence)).await?;
        assert_ne!(fixture.cluster.resources.store.epoch(), epoch);
        let state = fixture.end(id).await?;
        assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
        let took = began.elapsed();
        assert!(
            took > SETTLE / 2,
            "{step} s: the settle ended after {took:?}"
        );
    }
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_step_back_and_a_restart_a_settle_takes_at_most_its_whole_length() -> Result<()> {
    let mut fixture = Fixture::start(policy()?).await?;
    let id = fixture.start_settle("2.0.0").await?;
    let store = Arc::new(fixture.cluster.resources.store.clone());
    fixture.clock.step(-HOUR);
    fixture.cluster.restart_engine(store).await?;
    let state = fixture.end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_forward_beyond_the_deadline_does_not_end_a_deployment() -> Result<()> {
    let fixture = Fixture::start(policy()?).await?;
    let id = fixture.start_approval("2.0.0").await?;
    fixture.clock.step(48 * HOUR);
    let decision = Decision {
        approved: true,
        by: EMAIL.to_owned(),
        comment: None,
    };
    let deployments = &fixture.cluster.engine.deployments;
    deployments.decide(id, decision).await?;
    let state = fixture.end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_back_does_not_postpone_the_deadline() -> Result<()> {
    let fixture = Fixture::start(Policy {
        deadline: Duration::from_secs(3),
        ..policy()?
    })
    .await?;
    let id = fixture.start_approval("2.0.0").await?;
    fixture.clock.step(-HOUR);
    let state = fixture.end(id).await?;
    assert_eq!(state.status(), Status::RolledBack);
    let cause = state.cause.expect("a cause");
    assert_eq!(cause.kind, CauseKind::Deadline, "{cause}");
    fixture.cluster.shutdown().await;
    Ok(())
}

/// The engine comes back after longer than the policy's patience with nodes that do not answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_was_down_for_long_still_has_its_patience_to_revert() -> Result<()> {
    let mut fixture = Fixture::start(policy()?).await?;
    let id = fixture.start_settle("2.0.0").await?;
    let gone: hotswap_core::NodeId = "production-1".parse()?;
    // Dropped without a shutdown: the node ends at once, as if it was killed.
    drop(fixture.cluster.nodes.remove(&gone));
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.abort(id, EMAIL, None).await?;
    wait_for_state(&fixture.cluster.engine, id, |state| {
        state.status() == Status::RollingBack
    })
    .await?;
    fixture.clock.step(HOUR);
    let store = Arc::new(fixture.cluster.resources.store.clone());
    fixture.cluster.restart_engine(store).await?;
    // One try has failed once this returns.
    let events = fixture.cluster.engine.deployments.events(
        id,
        fixture.cluster.events(id).await?.len() as u64,
        1,
        Duration::from_secs(5),
    );
    let ended = events.await?;
    assert!(
        ended.events.is_empty(),
        "reverting gave up at once: {ended:?}"
    );
    fixture
        .cluster
        .start_node(gone, PRODUCTION.parse()?)
        .await?;
    let state = fixture.end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.failures);
    let events = fixture.cluster.events(id).await?;
    let EventBody::Ended { failures, .. } = &events[events.len() - 1].body else {
        anyhow::bail!("the deployment has not ended");
    };
    assert_eq!(*failures, []);
    fixture.cluster.shutdown().await;
    Ok(())
}

/// The machine is suspended for longer than it takes to count a node as gone. The engine runs
/// before its nodes do.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_was_suspended_counts_no_node_as_gone() -> Result<()> {
    let installation = Installation::start(PRODUCTION, 2, &[]).await?;
    installation.stop()?;
    // Longer than six heartbeats of two seconds. Nothing can signal the end of a suspension.
    tokio::time::sleep(Duration::from_secs(14)).await;
    installation.continue_engine()?;
    ensure_no_node_is_critical(&installation).await?;
    installation.continue_nodes()?;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        ensure_no_node_is_critical(&installation).await?;
    }
    Ok(())
}

async fn ensure_no_node_is_critical(installation: &Installation) -> Result<()> {
    let nodes = installation.get("/api/v1/nodes").await?;
    let nodes = nodes["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 2);
    for node in nodes {
        assert_ne!(node["health"], "critical", "{node}");
    }
    Ok(())
}
