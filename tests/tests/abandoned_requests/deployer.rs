//! What someone asks for who uploads a version and deploys it. Each request is cut off at many
//! points of its bytes, and after them. Whatever a client leaves behind, the next one can repeat
//! the request, and all ends well.

use std::sync::Arc;

use anyhow::{Result, ensure};
use hotswap_core::{Status, Step};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, EMAIL};
use serde_json::json;

use crate::client::{Client, WASM};
use crate::open_deployments::{wait_for_only_one, wait_until_all_ended};
use crate::{PRODUCTION, ensure_all_run, waiting_rollout};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_leave_at_each_point_of_each_request() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster
        .upload("hello", "1.0.0", hotswap_guests::HELLO_V1)
        .await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let client = Client::admin(&cluster);
    let version = "/api/v1/modules/hello/versions/2.0.0";
    let upload = client.request("PUT", version, WASM, hotswap_guests::HELLO_V2);
    // 200: one of those who left has uploaded it.
    client.ask(&upload, &[200, 201]).await?;
    let strategies = "/api/v1/strategies";
    let strategy = client.request("POST", strategies, WASM, hotswap_guests::HALVES);
    client.ask(&strategy, &[200, 201]).await?;

    let mut rollout = waiting_rollout("2.0.0");
    rollout["requireApproval"] = json!(true);
    let creation = client.json("POST", "/api/v1/deployments", &rollout);
    // 409, here and below: one of those who left has done it.
    client.ask(&creation, &[202, 409]).await?;
    let id = wait_for_only_one(&cluster, |one| one.step == Step::Gated).await?;
    let of_it = |action: &str| format!("/api/v1/deployments/{id}/{action}");

    let approval = json!({ "approved": true, "requesterEmail": EMAIL });
    let approval = client.json("POST", &of_it("approval"), &approval);
    client.ask(&approval, &[200, 409]).await?;
    wait_for_only_one(&cluster, |one| one.waiting).await?;
    for (action, is_paused) in [("pause", true), ("resume", false)] {
        let asked = client.json("POST", &of_it(action), &json!({}));
        client.ask(&asked, &[200, 409]).await?;
        let head = cluster.engine.deployments.head(id).await?;
        ensure!(head.lifecycle.paused == is_paused, "{:?}", head.lifecycle);
    }
    let abort = client.json("POST", &of_it("abort"), &json!({ "reason": "enough" }));
    client.ask(&abort, &[200, 409]).await?;
    let state = cluster.wait_for_end(id).await?;
    ensure!(state.status() == Status::RolledBack, "{:?}", state.cause);
    wait_until_all_ended(&cluster).await?;
    ensure_all_run(&cluster, "1.0.0").await?;

    let rollback = client.json("POST", &of_it("rollback"), &json!({}));
    client.ask(&rollback, &[202, 409]).await?;
    wait_until_all_ended(&cluster).await?;
    ensure_all_run(&cluster, "1.0.0").await?;

    // Another engine finds nothing that the first one had forgotten.
    let journal: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(journal).await?;
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    cluster.shutdown().await;
    Ok(())
}
