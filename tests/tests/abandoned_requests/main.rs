//! Nothing that is open in the store is abandoned: clients that leave in the middle of a
//! request, and deployments that nobody told the engine of.

mod admin;
mod client;
mod deployer;
mod node;
mod open_deployments;
mod operator;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use hotswap_core::{Clock, DeploymentId, Status, SystemClock};
use hotswap_store::{Appended, Journal, Lease, LeaseError, Query};
use hotswap_tests::{Cluster, EMAIL, InterceptedJournal, Interceptor};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, timeout};

use client::Client;
use open_deployments::wait_until_all_ended;

const PRODUCTION: &str = "production";
/// Clients that leave, each with a module of its own.
const CLIENTS: u32 = 1000;
/// Deployments that are written past the engine.
const WRITTEN: usize = 9;
/// How long a wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// As after an append whose answer was lost: the journal exists, and no request did more.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_exists_only_in_the_store_is_driven() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    let strategy = ("direct", json!({}));
    let finished = cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, strategy)
        .await?;
    let mut header = finished.header;
    header.id = DeploymentId::generate();
    let id = header.id;
    let journal: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    journal.create(header, SystemClock.now()).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::Succeeded);
    cluster.shutdown().await;
    Ok(())
}

/// Tells the engine of no append, and the test of each lease.
struct Untold {
    silent: broadcast::Sender<Appended>,
    leases: mpsc::UnboundedSender<(DeploymentId, Instant)>,
}

#[async_trait]
impl Interceptor for Untold {
    fn subscribe(&self, _: &dyn Journal) -> broadcast::Receiver<Appended> {
        self.silent.subscribe()
    }

    async fn acquire_lease(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
    ) -> Result<Lease, LeaseError> {
        let lease = journal.acquire_lease(deployment).await?;
        // The test may have ended.
        let _ = self.leases.send((deployment, Instant::now()));
        Ok(lease)
    }
}

/// As where another program has written them, or a notification was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_which_the_engine_is_not_told_is_driven_within_a_second() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    let strategy = ("direct", json!({}));
    let finished = cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, strategy)
        .await?;
    let (leases, mut leased) = mpsc::unbounded_channel();
    let untold = Untold {
        silent: broadcast::Sender::new(1),
        leases,
    };
    let store = cluster.resources.store.clone();
    let journal = InterceptedJournal::new(Arc::new(store.clone()), untold);
    cluster.restart_engine(journal).await?;
    let mut delays = Vec::new();
    for _ in 0..WRITTEN {
        let mut header = finished.header.clone();
        header.id = DeploymentId::generate();
        let id = header.id;
        let mut appended = store.subscribe();
        let written = Instant::now();
        store.create(header, SystemClock.now()).await?;
        let lease = async {
            loop {
                let (deployment, at) = leased.recv().await.context("the engine has ended")?;
                if deployment == id {
                    return anyhow::Ok(at);
                }
            }
        };
        delays.push(timeout(PATIENCE, lease).await?? - written);
        let end = async {
            while !appended.recv().await?.head.lifecycle.is_ended() {}
            anyhow::Ok(())
        };
        timeout(PATIENCE, end).await??;
        assert_eq!(store.head(id).await?.lifecycle.status(), Status::Succeeded);
    }
    delays.sort_unstable();
    // Single ones may take longer on a busy machine.
    ensure!(delays[WRITTEN / 2] <= Duration::from_secs(1), "{delays:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_of_clients_that_left_are_driven_or_were_never_created() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    let client = Client::admin(&cluster);
    let mut departures = Vec::new();
    let mut takes = Duration::ZERO;
    for number in 0..=CLIENTS {
        let module = format!("module-{number}");
        cluster
            .upload(&module, "1.0.0", hotswap_guests::HELLO_V1)
            .await?;
        let body = json!({
            "moduleName": module, "version": "1.0.0", "targetEnvironment": PRODUCTION,
            "requesterEmail": EMAIL, "strategy": "direct",
        });
        let request = client.json("POST", "/api/v1/deployments", &body);
        if number == 0 {
            let began = SystemClock.instant();
            client.send(&request).await?.expect(&[202])?;
            takes = SystemClock.instant() - began;
            continue;
        }
        // The moments at which a client leaves, spread over the time that a request takes and
        // as long again: a race that one side always wins tests nothing.
        let delay = takes * (number % 20) / 10;
        departures.push(client.leave(&request, delay).await?);
    }
    for departure in departures {
        departure.wait().await?;
    }
    wait_until_all_ended(&cluster).await?;
    let query = Query {
        limit: 1000,
        ..Query::default()
    };
    let (created, _) = cluster.engine.deployments.list(&query).await?;
    ensure!(created.len() > 1, "no request of {CLIENTS} got through");
    for state in created {
        assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    }
    cluster.shutdown().await;
    Ok(())
}

/// A rollout of `hello` that waits for an hour after the first of two nodes.
fn waiting_rollout(version: &str) -> Value {
    json!({
        "moduleName": "hello", "version": version, "targetEnvironment": PRODUCTION,
        "requesterEmail": EMAIL, "strategy": "rolling",
        "config": { "batch": 1, "settle": "1h" },
    })
}

/// Checks that every node of production runs this version of `hello`.
async fn ensure_all_run(cluster: &Cluster, version: &str) -> Result<()> {
    let active = cluster.active_versions(PRODUCTION, "hello").await?;
    let mut versions = active.values().map(Option::as_deref);
    ensure!(versions.all(|active| active == Some(version)), "{active:?}");
    Ok(())
}
