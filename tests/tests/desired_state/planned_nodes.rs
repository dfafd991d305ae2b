//! Nodes in the plan of an open deployment that lose their disk get back what the deployment has
//! decided for them so far, while it waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hotswap_core::{
    Action, Append, CauseKind, DeploymentId, EventBody, ModuleVersion, NodeError, NodeId, Order,
};
use hotswap_fleet::Fleet;
use hotswap_store::{AppendError, Head, Journal};
use hotswap_tests::{FleetInterceptor, InterceptedJournal, Interceptor};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

/// A wait in which nodes are wiped.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// A blue-green rollout waits for a person: both nodes have staged 2.0.0.
    Approval,
    /// A canary soaks on the first node, which runs 2.0.0.
    Soak,
    /// A canary that a person has paused behind its soak, with the first node at 2.0.0.
    Pause,
}

impl Wait {
    fn strategy(self) -> (&'static str, Value) {
        // A node that restarts without its disk is a restart: no check of those here.
        let soak = |span: &str| {
            let checks = json!([{ "metric": "error-rate", "max": 0.5 }]);
            json!({ "steps": [50], "soak": span, "checks": checks })
        };
        match self {
            Self::Approval => ("blue-green", json!({ "approval": true, "soak": "0s" })),
            Self::Soak => ("canary", soak("1h")),
            Self::Pause => ("canary", soak("3s")),
        }
    }

    /// Begins a rollout of 2.0.0 and waits until it waits.
    async fn begin(self, cluster: &Cluster) -> Result<DeploymentId> {
        let strategy = self.strategy();
        let id = cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, strategy)
            .await?;
        match self {
            Self::Approval => {
                wait_for_state(&cluster.engine, id, |state| state.question.is_some()).await?;
            }
            Self::Soak => {
                wait_for_state(&cluster.engine, id, Deployment::is_soaking).await?;
            }
            Self::Pause => {
                wait_for_state(&cluster.engine, id, Deployment::is_soaking).await?;
                cluster.engine.deployments.pause(id, "ada").await?;
                wait_for_state(&cluster.engine, id, |state| !state.is_soaking()).await?;
            }
        }
        Ok(id)
    }

    /// What a node should run meanwhile.
    fn decided(self, number: u32) -> &'static str {
        match (self, number) {
            (Self::Soak | Self::Pause, 1) => "2.0.0",
            _ => "1.0.0",
        }
    }
}

/// Replaces a node by one with an empty disk, as if its pod was. It stops in order: a soak would end
/// by its silence.
async fn wipe(cluster: &mut Cluster, number: u32) -> Result<()> {
    stop_node(cluster, number).await?;
    std::fs::remove_dir_all(cluster.node_dir(&node(number)))?;
    start_node(cluster, number).await
}

/// The repairs of a deployment's journal: name, node, version before, version after.
async fn repairs_in(cluster: &Cluster, id: DeploymentId) -> Result<Vec<String>> {
    let events = cluster.resources.store.events(id, 0, usize::MAX).await?;
    let version = |version: &Option<ModuleVersion>| {
        let version = version.as_ref();
        version.map_or_else(|| "none".to_owned(), |module| module.version.to_string())
    };
    let described = events.iter().filter_map(|event| {
        let (EventBody::Repairing(repair)
        | EventBody::Repaired(repair)
        | EventBody::RepairFailed { repair, .. }) = &event.body
        else {
            return None;
        };
        let (name, node) = (event.body.name(), &repair.node);
        let (from, to) = (version(&repair.from), version(&repair.to));
        Some(format!("{name} {node} {from} {to}"))
    });
    Ok(described.collect())
}

/// Waits until the journal says that a repair has ended.
async fn wait_for_repair(cluster: &Cluster, id: DeploymentId, number: u32) -> Result<()> {
    let ended = format!("repaired {}", node(number));
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let repairs = repairs_in(cluster, id).await?;
        if repairs.iter().any(|repair| repair.starts_with(&ended)) {
            return Ok(());
        }
        let state = cluster.engine.deployments.get(id).await?;
        ensure!(
            tokio::time::Instant::now() < deadline && !state.status().is_final(),
            "{repairs:?}, {:?} {:?} {:?}",
            state.status(),
            state.cause,
            state.nodes
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often a node has let a version serve that a repair of the deployment has brought, by its
/// disk.
fn promoted_by_repairs(cluster: &Cluster, id: DeploymentId, number: u32) -> Result<usize> {
    let done = operations(cluster, number)?;
    let begin = format!("{id}.repair-");
    let promoted = |done: &String| done.starts_with(&begin) && done.ends_with(".promote");
    Ok(done.iter().filter(|done| promoted(done)).count())
}

fn operations(cluster: &Cluster, number: u32) -> Result<Vec<String>> {
    let record = cluster.node_dir(&node(number)).join("modules/hello.json");
    let record: Value = serde_json::from_slice(&std::fs::read(record)?)?;
    let done = record["operations"].as_array().context("no operations")?;
    let ids = done.iter().filter_map(|done| done["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_of_a_plan_gets_back_what_was_decided_so_far() -> Result<()> {
    for wait in [Wait::Approval, Wait::Soak, Wait::Pause] {
        let repaired = get_back(wait).await;
        repaired.with_context(|| format!("{wait:?}"))?;
    }
    Ok(())
}

async fn get_back(wait: Wait) -> Result<()> {
    let mut cluster = cluster().await?;
    let id = wait.begin(&cluster).await?;
    let versions = [1, 2].map(|number| (number, Some(wait.decided(number))));
    for number in [1, 2] {
        wipe(&mut cluster, number).await?;
        wait_for_repair(&cluster, id, number).await?;
        wait_for_versions(&cluster, &versions).await?;
        let (node, decided) = (node(number), wait.decided(number));
        let all = repairs_in(&cluster, id).await?;
        let expected = [
            format!("repairing {node} none {decided}"),
            format!("repaired {node} none {decided}"),
        ];
        ensure!(all.ends_with(&expected), "{all:?}");
        ensure!(repairs_of(&cluster, number).await?.is_empty(), "one writer");
        ensure!(promoted_by_repairs(&cluster, id, number)? == 1);
    }
    let state = cluster.engine.deployments.get(id).await?;
    ensure!(!state.status().is_final(), "{:?}", state.status());
    let told = format!("{} ran no version and was brought back to", node(2));
    ensure!(state.log.iter().any(|line| line.message.starts_with(&told)));
    let two = Some("2.0.0");
    match wait {
        // Both nodes have what was staged again, or they could not be promoted.
        Wait::Approval => {
            let approved = Decision {
                approved: true,
                by: "ada".to_owned(),
                comment: None,
            };
            cluster.engine.deployments.decide(id, approved).await?;
        }
        Wait::Soak => {
            cluster
                .engine
                .deployments
                .promote(id, "ada", None, true)
                .await?;
        }
        Wait::Pause => {
            cluster.engine.deployments.resume(id, "ada").await?;
        }
    }
    let ended = cluster.wait_for_end(id).await?;
    ensure!(ended.status() == Status::Succeeded, "{:?}", ended.cause);
    wait_for_versions(&cluster, &[(1, two), (2, two)]).await?;
    cluster.shutdown().await;
    Ok(())
}

/// An engine whose deployment is aborted while it brings a node back reverts that node, too, and
/// waits for no order of the repair.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_does_not_wait_for_a_repair_and_reverts_its_node() -> Result<()> {
    let mut cluster = cluster().await?;
    let fleet = Arc::clone(&cluster.resources.fleet);
    let fleet = InterceptedFleet::new(fleet, HeldRepairs::default());
    cluster.resources.fleet = Arc::clone(&fleet) as Arc<dyn Fleet>;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let id = Wait::Soak.begin(&cluster).await?;
    wipe(&mut cluster, 2).await?;
    timeout(TIMEOUT, fleet.0.notified()).await?;
    cluster.engine.deployments.abort(id, "ada", None).await?;
    let ended = cluster.wait_for_end(id).await?;
    assert_eq!(ended.status(), Status::RolledBack, "{:?}", ended.failures);
    assert_eq!(ended.cause.map(|cause| cause.kind), Some(CauseKind::Abort));
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one)]).await?;
    // The canary has not touched the second node.
    assert!(operations(&cluster, 2)?.contains(&format!("{id}.revert")));
    assert_eq!(repairs_in(&cluster, id).await?.len(), 1, "only the intent");
    cluster.shutdown().await;
    Ok(())
}

/// Where the engine is killed: at which append of a repair's events, and whether that is lost.
#[derive(Debug, Clone, Copy)]
struct Kill {
    append: usize,
    is_lost: bool,
}

/// Kills the engine at an append of a repair.
struct Killed {
    kill: Kill,
    appends: AtomicUsize,
    killed: Notify,
}

#[async_trait]
impl Interceptor for Killed {
    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        let is_of_repair = append.bodies.iter().any(|body| {
            matches!(
                body,
                EventBody::Repairing(_) | EventBody::Repaired(_) | EventBody::RepairFailed { .. }
            )
        });
        if is_of_repair && self.appends.fetch_add(1, Ordering::SeqCst) == self.kill.append {
            if !self.kill.is_lost {
                journal.append(append).await?;
            }
            self.killed.notify_one();
            return std::future::pending().await;
        }
        journal.append(append).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_goes_on_where_its_engine_was_killed_and_does_nothing_twice() -> Result<()> {
    for (wait, number) in [(Wait::Approval, 2), (Wait::Soak, 1), (Wait::Soak, 2)] {
        for append in [0, 1] {
            for is_lost in [true, false] {
                let kill = Kill { append, is_lost };
                let repaired = repair_killed_at(wait, number, kill).await;
                repaired.with_context(|| format!("{wait:?}, node {number}, {kill:?}"))?;
            }
        }
    }
    Ok(())
}

async fn repair_killed_at(wait: Wait, number: u32, kill: Kill) -> Result<()> {
    let mut cluster = cluster().await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    let killed = Killed {
        kill,
        appends: AtomicUsize::new(0),
        killed: Notify::new(),
    };
    let journal = InterceptedJournal::new(Arc::clone(&store), killed);
    cluster
        .restart_engine(Arc::clone(&journal) as Arc<dyn Journal>)
        .await?;
    let id = wait.begin(&cluster).await?;
    wipe(&mut cluster, number).await?;
    timeout(TIMEOUT, journal.killed.notified()).await?;
    cluster.restart_engine(store).await?;
    let versions = [1, 2].map(|number| (number, Some(wait.decided(number))));
    wait_for_versions(&cluster, &versions).await?;
    if kill.append == 0 {
        wait_for_repair(&cluster, id, number).await?;
    }
    ensure!(promoted_by_repairs(&cluster, id, number)? == 1, "twice");
    let state = cluster.engine.deployments.get(id).await?;
    ensure!(!state.status().is_final(), "{:?}", state.status());
    cluster.engine.deployments.abort(id, "ada", None).await?;
    let ended = cluster.wait_for_end(id).await?;
    ensure!(ended.status() == Status::RolledBack, "{:?}", ended.failures);
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one)]).await?;
    ensure!(promoted_by_repairs(&cluster, id, number)? == 1, "twice");
    cluster.shutdown().await;
    Ok(())
}

/// Orders of repairs never come back.
#[derive(Default)]
struct HeldRepairs(Notify);

#[async_trait]
impl FleetInterceptor for HeldRepairs {
    async fn order(
        &self,
        fleet: &dyn Fleet,
        node: &NodeId,
        order: &Order,
    ) -> Result<(), NodeError> {
        if order.operation.contains(".repair-") {
            self.0.notify_one();
            return std::future::pending().await;
        }
        fleet.order(node, order).await
    }
}

/// The answer to the promotion of a node comes only once the test has read it.
#[derive(Default)]
struct HeldPromotion {
    carried_out: Notify,
    released: Notify,
}

#[async_trait]
impl FleetInterceptor for HeldPromotion {
    async fn order(&self, fleet: &dyn Fleet, id: &NodeId, order: &Order) -> Result<(), NodeError> {
        let answer = fleet.order(id, order).await;
        let is_repair = order.operation.contains(".repair-");
        if *id == node(2) && matches!(order.action, Action::Promote(_)) && !is_repair {
            self.carried_out.notify_one();
            self.released.notified().await;
        }
        answer
    }
}

/// The strategy makes no further call, so nothing but the question at the end notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_wiped_right_after_its_promotion_gets_it_back_before_the_verdict()
-> Result<()> {
    let mut cluster = cluster().await?;
    let fleet = Arc::clone(&cluster.resources.fleet);
    let fleet = InterceptedFleet::new(fleet, HeldPromotion::default());
    cluster.resources.fleet = Arc::clone(&fleet) as Arc<dyn Fleet>;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let direct = (DIRECT, json!({}));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, direct)
        .await?;
    timeout(TIMEOUT, fleet.carried_out.notified()).await?;
    wipe(&mut cluster, 2).await?;
    fleet.released.notify_one();
    let ended = cluster.wait_for_end(id).await?;
    assert_eq!(ended.status(), Status::Succeeded, "{:?}", ended.cause);
    let two = Some("2.0.0");
    wait_for_versions(&cluster, &[(1, two), (2, two)]).await?;
    let expected = [
        "repairing production-2 none 2.0.0",
        "repaired production-2 none 2.0.0",
    ];
    assert_eq!(repairs_in(&cluster, id).await?, expected);
    cluster.shutdown().await;
    Ok(())
}
