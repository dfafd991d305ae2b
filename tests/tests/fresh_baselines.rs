//! Baselines that start anew beside the canary, through real nodes.
//!
//! Modules keep nothing between requests, so a cache of theirs is elsewhere, and is cold for whoever
//! was loaded just now. Here the clients play it: while the cache of a node is cold, they ask for
//! what takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_core::{
    Answer, Call, Deployment, DeploymentId, EventBody, Finding, Judgement, NodeId, Status,
};
use hotswap_protocol::ModuleStatus;
use hotswap_tests::{Cluster, NODE_TOKEN};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const PRODUCTION: &str = "production";
const TIMEOUT: Duration = Duration::from_secs(60);
/// Clients of each node.
const CLIENTS: usize = 12;
const WARM: &str = "sleep/60";
const COLD: &str = "sleep/240";
/// So slow that a busy machine does not make what is warm look alike.
const VERY_COLD: &str = "sleep/1500";

/// A component with the same code and other bytes.
fn with_section(component: &[u8], name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    let section = [&[0, length + 1, length], name.as_bytes()].concat();
    [component, &section].concat()
}

/// Four nodes that run version 1.0.0, and 2.0.0, which does the same.
async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 4)]).await?;
    let old = hotswap_guests::MODULE_PROBE;
    let new = with_section(old, "another build");
    for (version, component) in [("1.0.0", old), ("2.0.0", &new)] {
        cluster.upload("hello", version, component).await?;
    }
    let direct = ("direct", json!({}));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, direct)
        .await?;
    Ok(cluster)
}

/// Clients that send requests to every node. The cache of a node that has loaded a version since
/// this began is cold.
struct Clients {
    tasks: JoinSet<()>,
    report: Arc<Mutex<Report>>,
}

#[derive(Debug, Clone, Default)]
struct Report {
    requests: u64,
    failed: u64,
    cold: BTreeSet<NodeId>,
}

impl Clients {
    /// Clients that ask for `cold_path` of a node whose cache is cold.
    async fn start(cluster: &Cluster, cold_path: &'static str) -> Result<Self> {
        let (mut tasks, report) = (JoinSet::new(), Arc::<Mutex<Report>>::default());
        for (id, node) in &cluster.nodes {
            let status = format!("http://{}/v1/modules/hello", node.control_addr());
            let before = loads(&status).await?;
            let (id, cold) = (id.clone(), Arc::clone(&report));
            tasks.spawn({
                let id = id.clone();
                async move {
                    while loads(&status).await.is_ok_and(|now| now == before) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let mut cold = cold.lock().unwrap_or_else(PoisonError::into_inner);
                    cold.cold.insert(id);
                }
            });
            let data = format!("http://{}/hello", node.data_addr());
            for _ in 0..CLIENTS {
                let (id, data, report) = (id.clone(), data.clone(), Arc::clone(&report));
                tasks.spawn(async move {
                    let client = reqwest::Client::new();
                    let locked = || report.lock().unwrap_or_else(PoisonError::into_inner);
                    loop {
                        let path = if locked().cold.contains(&id) {
                            cold_path
                        } else {
                            WARM
                        };
                        let answer = client.get(format!("{data}/{path}")).send().await;
                        let answered = answer.is_ok_and(|answer| answer.status().is_success());
                        let mut report = locked();
                        report.requests += 1;
                        report.failed += u64::from(!answered);
                    }
                });
            }
        }
        Ok(Self { tasks, report })
    }

    fn report(&self) -> Report {
        let report = self.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn stop(mut self) -> Report {
        self.tasks.shutdown().await;
        self.report()
    }
}

/// How often a node has loaded each version of the module.
async fn loads(status: &str) -> Result<BTreeMap<String, u64>> {
    let client = reqwest::Client::new();
    let status = client.get(status).bearer_auth(NODE_TOKEN).send().await?;
    let status: ModuleStatus = status.json().await?;
    let versions = status.versions.into_iter();
    Ok(versions
        .map(|status| (status.version.version, status.loads))
        .collect())
}

/// Only latencies are judged: the machine of the tests is busy.
fn config(baseline_nodes: u32) -> Value {
    json!({
        "steps": [25],
        // It takes as long as the machine of the tests needs.
        "soak": "60s",
        "passEarly": true,
        "baselineNodes": baseline_nodes,
        "checks": [{ "metric": "latency-p95", "maxIncrease": 1.0, "minIncrease": 10.0 }],
        "whenInconclusive": "rollBack",
    })
}

async fn deploy(cluster: &Cluster, config: Value) -> Result<DeploymentId> {
    let canary = ("canary", config);
    cluster.deploy(("hello", "2.0.0"), PRODUCTION, canary).await
}

/// Waits for the end of the deployment. Returns what its first soak found.
async fn end(cluster: &Cluster, id: DeploymentId) -> Result<(Deployment, Finding)> {
    let state = cluster.wait_for_end(id).await?;
    let events = cluster.events(id).await?;
    let finding = |body| match body {
        EventBody::Answered {
            answer: Answer::Verdict(verdict),
            ..
        } => verdict.findings.into_iter().next(),
        _ => None,
    };
    let mut findings = events.into_iter().filter_map(|event| finding(event.body));
    let finding = findings.next();
    Ok((state, finding.context("no soak ended")?))
}

/// Waits until a soak has begun, and returns the nodes of its baseline.
async fn baseline(cluster: &Cluster, id: DeploymentId) -> Result<Vec<NodeId>> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        for event in cluster.events(id).await? {
            if let EventBody::Called {
                request: Call::Soak { baseline, .. },
                ..
            } = event.body
            {
                return Ok(baseline);
            }
        }
        ensure!(Instant::now() < deadline, "no soak began in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn loads_of_old(cluster: &Cluster, node: &NodeId) -> Result<u64> {
    let node = cluster.nodes.get(node).context("no such node")?;
    let status = format!("http://{}/v1/modules/hello", node.control_addr());
    let loads = loads(&status).await?;
    loads.get("1.0.0").copied().context("it has not run 1.0.0")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_cache_counts_against_a_good_version_that_is_compared_with_warm_nodes() -> Result<()>
{
    let cluster = cluster().await?;
    let clients = Clients::start(&cluster, VERY_COLD).await?;
    let id = deploy(&cluster, config(0)).await?;
    let (state, latency) = end(&cluster, id).await?;
    let report = clients.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    assert_eq!(latency.judgement, Judgement::Fail, "{latency:?}");
    assert_eq!(report.failed, 0, "{report:?}");
    cluster.shutdown().await;
    Ok(())
}

/// The engine ends in the middle of the soak, and the next one goes on with the same baseline.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_the_previous_version_anew_are_a_fair_baseline() -> Result<()> {
    let mut cluster = cluster().await?;
    let clients = Clients::start(&cluster, COLD).await?;
    let id = deploy(&cluster, config(1)).await?;
    let baseline = baseline(&cluster, id).await?;
    let last: NodeId = format!("{PRODUCTION}-4").parse()?;
    assert_eq!(baseline, std::slice::from_ref(&last));
    let deadline = Instant::now() + TIMEOUT;
    while loads_of_old(&cluster, &last).await? < 2 {
        ensure!(Instant::now() < deadline, "it was not restarted in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let journal = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(journal).await?;
    let (state, latency) = end(&cluster, id).await?;
    let loads = loads_of_old(&cluster, &last).await?;
    let report = clients.stop().await;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(latency.judgement, Judgement::Pass, "{latency:?}");
    let compared = "compared with 1 node that loaded the previous version anew when the soak \
                    began: production-4";
    assert!(latency.reason.contains(compared), "{}", latency.reason);
    assert_eq!(
        loads, 2,
        "once for the deployment, however often it is asked"
    );
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(latency.baseline_samples <= report.requests, "{latency:?}");
    cluster.shutdown().await;
    Ok(())
}

/// A rollback leaves a restarted node as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_in_the_soak_leaves_all_nodes_at_the_previous_version() -> Result<()> {
    let cluster = cluster().await?;
    let clients = Clients::start(&cluster, COLD).await?;
    let id = deploy(&cluster, config(2)).await?;
    let baseline = baseline(&cluster, id).await?;
    assert_eq!(baseline.len(), 2);
    let engine = &cluster.engine;
    engine.deployments.abort(id, "ada", None).await?;
    let state = cluster.wait_for_end(id).await?;
    let report = clients.stop().await;
    assert_ne!(state.status(), Status::Succeeded);
    assert_eq!(report.failed, 0, "{report:?}");
    for (node, version) in cluster.active_versions(PRODUCTION, "hello").await? {
        assert_eq!(version.as_deref(), Some("1.0.0"), "{node}");
    }
    cluster.shutdown().await;
    Ok(())
}
