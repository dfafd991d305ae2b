//! What else changes something, in an order in which an operator may ask for it.

use anyhow::{Result, ensure};
use hotswap_core::{Amount, Status};
use hotswap_runner::deployments::Error;
use hotswap_store::Query;
use hotswap_tests::{Cluster, EMAIL};
use serde_json::{Value, json};

use crate::client::Client;
use crate::open_deployments::{wait_for_only_one, wait_until_all_ended};
use crate::{PRODUCTION, ensure_all_run, waiting_rollout};

/// Two nodes that ran 1.0.0 of `hello` and run 2.0.0. Also uploaded: 3.0.0.
async fn start() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    for version in ["1.0.0", "2.0.0"] {
        let strategy = ("direct", json!({}));
        cluster
            .roll_out(("hello", version), PRODUCTION, strategy)
            .await?;
    }
    Ok(cluster)
}

fn by() -> Value {
    json!({ "requesterEmail": EMAIL })
}

fn reason() -> Value {
    json!({ "requesterEmail": EMAIL, "reason": "a test" })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_leave_at_each_point_of_each_request_about_nodes() -> Result<()> {
    let cluster = start().await?;
    let client = Client::admin(&cluster);
    let (environment, node) = (PRODUCTION.parse()?, format!("{PRODUCTION}-1"));
    let cordon_of = |node: &str| {
        let node = node.parse()?;
        anyhow::Ok(cluster.engine.nodes.cordon_of(&environment, &node))
    };
    // 409: on a busy machine the other node may be late with its heartbeats.
    for (action, statuses, expected) in [
        ("cordon", &[200][..], Some(false)),
        ("uncordon", &[200], None),
        ("drain", &[200, 409], Some(true)),
        ("uncordon", &[200], None),
    ] {
        let path = format!("/api/v1/nodes/{node}/{action}");
        let asked = client.json("POST", &path, &reason());
        let answer = client.ask(&asked, statuses).await?;
        let drained = cordon_of(&node)?.map(|cordon| cordon.drained);
        ensure!(
            answer.status == 409 || drained == expected,
            "after {path}: {drained:?}"
        );
    }

    let path = format!("/api/v1/environments/{PRODUCTION}");
    let half = Amount::Percent(50);
    let all = json!({ "requesterEmail": EMAIL, "policy": { "maxUnavailable": "100%" } });
    for (method, body, expected) in [
        ("PUT", all, Amount::Percent(100)),
        ("DELETE", reason(), half),
    ] {
        let asked = client.json(method, &path, &body);
        client.ask(&asked, &[200]).await?;
        let policy = cluster.engine.environments.policy(&environment);
        ensure!(policy.max_unavailable == expected, "{method}: {policy:?}");
    }
    // Nothing of those who left comes after what was asked last.
    ensure!(cordon_of(&node)?.is_none(), "{:?} stays", cordon_of(&node)?);
    let again = ("direct", json!({}));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, again)
        .await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_leave_at_each_point_of_each_request_about_deployments() -> Result<()> {
    let cluster = start().await?;
    let client = Client::admin(&cluster);
    let deployments = &cluster.engine.deployments;
    let post = |path: &str, body: &Value| client.json("POST", path, body);

    // 409 and 404, here and below: one of those who left has done it.
    let module = format!("/api/v1/clusters/{PRODUCTION}/modules/hello");
    let undo = post(&format!("{module}/undo"), &by());
    client.ask(&undo, &[202, 409]).await?;
    wait_until_all_ended(&cluster).await?;
    let query = Query {
        limit: 100,
        ..Query::default()
    };
    let (ended, _) = deployments.list(&query).await?;
    ensure!(ended.len() > 2, "nothing was undone");
    for state in &ended {
        ensure!(state.status() == Status::Succeeded, "{state:?}");
    }

    let mut rollout = waiting_rollout("3.0.0");
    let creation = post("/api/v1/deployments", &rollout);
    client.ask(&creation, &[202, 409]).await?;
    let superseded = wait_for_only_one(&cluster, |one| one.waiting).await?;
    rollout["supersede"] = json!(true);
    let supersede = post("/api/v1/deployments", &rollout);
    client.ask(&supersede, &[202]).await?;
    let aborted = wait_for_only_one(&cluster, |one| one.waiting).await?;
    ensure!(aborted != superseded, "nothing was superseded");

    let abort = post(&format!("/api/v1/deployments/{aborted}/abort"), &reason());
    client.ask(&abort, &[200, 409]).await?;
    wait_until_all_ended(&cluster).await?;
    let state = deployments.get(aborted).await?;
    ensure!(state.status() == Status::RolledBack, "{:?}", state.cause);

    let retry = post(&format!("/api/v1/deployments/{aborted}/retry"), &by());
    client.ask(&retry, &[202, 409]).await?;
    let promoted = wait_for_only_one(&cluster, |one| one.waiting).await?;
    let promote = post(
        &format!("/api/v1/deployments/{promoted}/promote"),
        &reason(),
    );
    client.ask(&promote, &[200, 409]).await?;
    wait_until_all_ended(&cluster).await?;
    let state = deployments.get(promoted).await?;
    ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
    ensure_all_run(&cluster, "3.0.0").await?;

    let path = format!("/api/v1/deployments/{aborted}");
    let deletion = client.json("DELETE", &path, &Value::Null);
    client.ask(&deletion, &[204, 404]).await?;
    let deleted = deployments.get(aborted).await;
    ensure!(matches!(deleted, Err(Error::Unknown(_))), "{deleted:?}");

    let retirement = client.json("DELETE", &module, &reason());
    client.ask(&retirement, &[204, 404]).await?;
    let current = deployments.current(&PRODUCTION.parse()?).await?;
    ensure!(current.is_empty(), "{} still count", current.len());
    let path = "/api/v1/modules/hello/versions/2.0.0";
    let deletion = client.json("DELETE", path, &Value::Null);
    // 409: a node may still have it.
    client.ask(&deletion, &[204, 404, 409]).await?;

    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    cluster.shutdown().await;
    Ok(())
}
