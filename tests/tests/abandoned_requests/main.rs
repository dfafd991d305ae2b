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

use anyhow::{Result, ensure};
use hotswap_core::{Clock, DeploymentId, Status, SystemClock};
use hotswap_store::{Journal, Query};
use hotswap_tests::{Cluster, EMAIL};
use serde_json::{Value, json};

use client::Client;
use open_deployments::wait_until_all_ended;

const PRODUCTION: &str = "production";
/// Clients that leave, each with a module of its own.
const CLIENTS: u32 = 1000;
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
