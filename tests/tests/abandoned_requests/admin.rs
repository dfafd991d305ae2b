//! What only an admin may ask for: strategies and discovery backends, and the end of a
//! deployment that nobody can drive.

use std::sync::Arc;

use anyhow::{Result, ensure};
use hotswap_core::{EventBody, Status};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, EMAIL};
use serde_json::{Value, json};

use crate::client::{Client, WASM};
use crate::open_deployments::{wait_for_only_one, wait_until_all_ended};
use crate::{PRODUCTION, ensure_all_run, waiting_rollout};

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_leave_at_each_point_of_a_deletion_of_a_strategy() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let client = Client::admin(&cluster);
    let strategies = &cluster.engine.strategies;
    let name = "halves".parse()?;
    // It works on with its strategy, whoever deletes that.
    strategies
        .upload(hotswap_guests::HALVES.to_vec(), EMAIL)
        .await?;
    let halves = ("halves", json!({ "watch": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, halves)
        .await?;
    wait_for_only_one(&cluster, |one| one.waiting).await?;
    let path = "/api/v1/strategies/halves";
    let deletion = client.json("DELETE", path, &Value::Null);
    // 404, here and below: one of those who left has done it.
    client.ask(&deletion, &[204, 404]).await?;
    ensure!(strategies.get(&name).await?.is_none(), "it is still there");
    let deployments = &cluster.engine.deployments;
    deployments.promote(id, EMAIL, None, true).await?;
    let state = cluster.wait_for_end(id).await?;
    ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
    ensure_all_run(&cluster, "2.0.0").await?;

    let all = "/api/v1/strategies";
    let upload = client.request("POST", all, WASM, hotswap_guests::HALVES);
    client.send(&upload).await?.expect(&[200, 201])?;
    ensure!(strategies.get(&name).await?.is_some(), "it is not there");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_leave_at_each_point_of_each_request_about_backends() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let client = Client::admin(&cluster);
    let backends = &cluster.engine.discovery_backends;
    let all = "/api/v1/backends";
    let upload = client.request("POST", all, WASM, hotswap_guests::DISCOVERY_PROBE);
    let path = "/api/v1/backends/discovery-probe";
    let deletion = client.json("DELETE", path, &Value::Null);
    // Twice: what was deleted can be uploaded again.
    for _ in 0..2 {
        client.ask(&upload, &[201]).await?;
        let [record] = &backends.list().await?[..] else {
            anyhow::bail!("not one backend: {:?}", backends.list().await?);
        };
        let component = cluster.resources.blobs.read(record.digest).await?;
        let component = component.as_deref();
        ensure!(
            component == Some(hotswap_guests::DISCOVERY_PROBE),
            "its component is not whole"
        );
        client.ask(&deletion, &[204, 404]).await?;
        let left = backends.list().await?;
        ensure!(left.is_empty(), "{left:?}");
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_leave_at_each_point_of_a_termination() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let client = Client::admin(&cluster);
    let creation = client.json("POST", "/api/v1/deployments", &waiting_rollout("2.0.0"));
    client.send(&creation).await?.expect(&[202])?;
    let id = wait_for_only_one(&cluster, |one| one.waiting).await?;
    cluster.engine.shutdown().await;
    let database = cluster.database()?;
    let damage = "UPDATE event SET body = CAST('{' AS BLOB) WHERE seq = 3 AND deployment =
        (SELECT number FROM deployment WHERE id = ?1)";
    ensure!(database.execute(damage, [id.as_bytes()])? == 1);
    drop(database);
    let journal: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(journal).await?;
    cluster.restart_api().await?;

    let client = Client::admin(&cluster);
    let path = format!("/api/v1/deployments/{id}/terminate");
    let reason = json!({ "requesterEmail": EMAIL, "reason": "the disk was torn" });
    let termination = client.json("POST", &path, &reason);
    // 409: one of those who left has done it.
    client.ask(&termination, &[200, 409]).await?;
    wait_until_all_ended(&cluster).await?;
    let state = cluster.engine.deployments.get(id).await?;
    ensure!(
        state.status() == Status::RolledBack,
        "{:?}",
        state.lifecycle
    );
    ensure_all_run(&cluster, "1.0.0").await?;
    let events = cluster.resources.store.readable_events(id, 0).await?;
    let ends = events
        .iter()
        .filter(|event| matches!(event.body, EventBody::Ended { .. }));
    ensure!(ends.count() == 1, "{events:?}");
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    cluster.shutdown().await;
    Ok(())
}
