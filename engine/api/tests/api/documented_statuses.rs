//! Every operation answers every status that the OpenAPI document lists for it.

mod closed_store;
mod conflicts;
mod full_disk;
mod malformed;
mod successes;
mod unknown;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::fixture::Fixture;
use crate::fleet::BROKEN;
use crate::problems::{ProtectedOperation, protected_operations};

const UNKNOWN_DEPLOYMENT: &str = "0199e1f3-5b5c-7d5e-9d52-6f1f3a3e8a10";
/// What people ask of a deployment, except for a decision.
const VERBS: [&str; 7] = [
    "abort",
    "terminate",
    "pause",
    "resume",
    "rollback",
    "promote",
    "retry",
];
const NODE_VERBS: [&str; 3] = ["cordon", "drain", "uncordon"];
const ENVIRONMENT: &str = "/api/v1/environments/qa";
const ALL_EVENTS: &str = "/api/v1/events/socket";
const HEARTBEAT: &str = "/api/v1/nodes/node-1/heartbeat";
const HISTORY: &str = "/api/v1/clusters/qa/modules/hello/history";
const PLAN: &str = "/api/v1/deployments/plan";
const RETIRE: &str = "/api/v1/clusters/qa/modules/hello";
const UNDO: &str = "/api/v1/clusters/qa/modules/hello/undo";
const V1: &str = "/api/v1/modules/hello/versions/1.0.0";

#[tokio::test]
async fn every_documented_status_is_answered() {
    let engine = Fixture::start().await;
    let node = engine.node();
    let (finished, open) = successes::answer(&engine, &node).await;
    conflicts::answer(&engine, &node, &finished, open).await;
    let full = full_disk::answer().await;
    unknown::answer(&engine, &node).await;
    malformed::answer(&engine, &node, &finished).await;

    // Wrong tokens.
    let anonymous = engine.with_token(None);
    for ProtectedOperation { method, path, role } in protected_operations() {
        anonymous.send(method.clone(), &path, |it| it).await;
        let other = if role.is_none() {
            &engine.client
        } else {
            &node
        };
        other.send(method, &path, |it| it).await;
    }

    // Deletions.
    engine.delete("/api/v1/strategies/halves").await;
    engine.delete("/api/v1/backends/discovery-probe").await;
    engine.delete("/api/v1/nodes/node-2").await;

    engine.node_in("qa", "node-4").await;
    engine.node_in("qa", BROKEN).await;
    let report = format!("/api/v1/nodes/{BROKEN}/debug");
    engine.get(&report).await.problem(503, "unavailable");
    let cordon = "/api/v1/nodes/node-1/cordon";
    engine.post(cordon, json!({})).await.ok();
    engine.store.close().await;
    closed_store::answer(&engine.client, &node, &path_to(&finished)).await;

    let seen = engine.seen().union(&full).cloned().collect();
    let missing: Vec<_> = documented().difference(&seen).cloned().collect();
    assert!(missing.is_empty(), "never answered: {missing:?}");
    engine.stop().await;
}

/// The path of a deployment.
fn path_to(id: &str) -> String {
    format!("/api/v1/deployments/{id}")
}

/// The path of something of a deployment.
fn path_of(id: &str, what: &str) -> String {
    format!("/api/v1/deployments/{id}/{what}")
}

/// The status of the response to a WebSocket upgrade.
async fn upgrade_status(client: &Client, path: &str) -> u16 {
    let response = client.send(Method::GET, path, |it| {
        it.header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    });
    response.await.status
}

fn documented() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(&hotswap_api::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths
        .values()
        .flat_map(|it| it.as_object().unwrap().values());
    let all = operations.flat_map(|operation| {
        let name = operation["operationId"].as_str().unwrap();
        let statuses = operation["responses"].as_object().unwrap().keys();
        statuses.map(move |status| (name.to_owned(), status.clone()))
    });
    all.filter(|(name, status)| !is_tested_elsewhere(name, status))
        .collect()
}

/// Statuses that this test cannot produce: 500 has a unit test in the middleware; 408 needs
/// other limits, see `connections`; and the 503 of `fetchArtifact` needs a disk that fails.
fn is_tested_elsewhere(name: &str, status: &str) -> bool {
    matches!((name, status), (_, "500" | "408") | ("fetchArtifact", "503"))
        // It has no parameters, and its body is read as it is.
        || matches!((name, status), ("uploadStrategy" | "uploadDiscoveryBackend", "400"))
        // It fails like a create, and needs a deployment from before the disk was full.
        // And a node that is to be uncordoned must have been cordoned before, as a policy that
        // is given up must have been set.
        || matches!(
            (name, status),
            (
                "rollbackDeployment" | "retryDeployment" | "undoModule" | "retireModule" | "uncordonNode"
                    | "resetEnvironment",
                "507"
            )
        )
        // The stream never ends, so the client of this test could not read it.
        || (name, status) == ("followAll", "200")
}
