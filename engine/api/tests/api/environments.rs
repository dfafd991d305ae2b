//! Policies that people change.

use hotswap_api::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fixture::{Fixture, registration};

const QA: &str = "/api/v1/environments/qa";

async fn put(client: &Client, if_match: &str, policy: Value) -> Answer {
    let body = json!({ "policy": policy, "reason": "more care" });
    let send = client.send(Method::PUT, QA, |it| {
        it.header("if-match", if_match).json(&body)
    });
    send.await
}

#[tokio::test]
async fn a_changed_policy_counts_for_what_is_requested_from_then_on() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let before = engine.get(QA).await;
    assert_eq!(before.header("etag"), "\"0\"");
    let before = before.ok();
    assert_eq!(before["source"], "default");
    assert_eq!(before["policy"]["defaultStrategy"], "rolling");
    let open = engine
        .deploy(json!({ "strategy": null, "requireApproval": true }))
        .await;
    engine.asking(&open).await;

    let ada = engine.signed("ada", Role::Admin);
    let policy = json!({ "defaultStrategy": "direct", "deadline": 90_000 });
    let set = put(&ada, "\"0\"", policy.clone()).await;
    let etag = set.header("etag").to_owned();
    let set = set.ok();
    assert_eq!(set["source"], "api");
    assert_eq!(set["changedBy"], "ada");
    assert_eq!(set["policy"]["deadline"], 90_000);
    // What is not given has the default of the name.
    assert_eq!(set["policy"]["maxUnavailable"], "50%");
    assert_eq!(etag, format!("\"{}\"", set["version"]));
    assert_eq!(
        engine.get("/api/v1/clusters/qa").await.ok()["policy"],
        set["policy"]
    );

    // The same again is no change.
    let again = put(&ada, &etag, policy).await;
    assert_eq!(again.header("etag"), etag);
    let events = engine.get("/api/v1/clusters/qa/events").await.ok();
    let changes = events["events"].as_array().unwrap().iter();
    let changes: Vec<_> = changes
        .filter(|one| one["type"] == "policyChanged")
        .collect();
    assert_eq!(changes.len(), 1, "{events}");
    let message = changes[0]["message"].as_str().unwrap();
    assert!(message.ends_with("by ada: more care"), "{message}");

    // The open deployment keeps what it was promised.
    assert_eq!(engine.asking(&open).await["strategy"], "rolling");
    engine
        .post(&format!("/api/v1/deployments/{open}/abort"), json!({}))
        .await
        .ok();
    engine.ended(&open).await;
    let id = engine.deploy(json!({ "strategy": null })).await;
    assert_eq!(engine.ended(&id).await["strategy"], "direct");

    let engine = engine.restart_after(|_| {}).await;
    let kept = engine.get(QA).await;
    assert_eq!(kept.header("etag"), etag);
    let gone = engine.delete(QA).await;
    assert_eq!(gone.header("etag"), "\"0\"");
    assert_eq!(gone.ok()["source"], "default");
    engine.stop().await;
}

#[tokio::test]
async fn of_two_changes_of_one_version_the_second_is_refused() {
    let engine = Fixture::start().await;
    let policy = |count: u32| json!({ "maxUnavailable": count.to_string() });
    let first = put(&engine.client, "\"0\"", policy(1)).await;
    let etag = first.header("etag").to_owned();
    first.ok();
    let second = put(&engine.client, "\"0\"", policy(2)).await;
    let problem = second.problem(412, "policy-changed");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(etag.trim_matches('"')), "{detail}");
    assert_eq!(engine.get(QA).await.ok()["policy"]["maxUnavailable"], "1");
    let reset = engine.send(Method::DELETE, QA, |it| it.header("if-match", "\"0\""));
    reset.await.problem(412, "policy-changed");
    put(&engine.client, "*", policy(3)).await.ok();
    assert_eq!(engine.get(QA).await.ok()["policy"]["maxUnavailable"], "3");
    engine.stop().await;
}

#[tokio::test]
async fn concurrent_changes_without_a_condition_all_happen() {
    let engine = Fixture::start().await;
    let changes = (1..=8_u32).map(|count| {
        let client = engine.client.clone();
        async move {
            let body = json!({ "policy": { "maxUnavailable": count.to_string() } });
            client.put(QA, body).await.ok();
        }
    });
    futures_util::future::join_all(changes).await;
    let events = engine.get("/api/v1/clusters/qa/events").await.ok();
    assert_eq!(events["events"].as_array().unwrap().len(), 8, "{events}");
    engine.stop().await;
}

#[tokio::test]
async fn what_is_no_policy_is_refused_by_its_key() {
    let engine = Fixture::start().await;
    for (policy, key) in [
        (json!({ "maxUnavailable": "0" }), "maxUnavailable"),
        (json!({ "maxUnavailable": "many" }), "maxUnavailable"),
        (json!({ "deadline": 0 }), "deadline"),
        (json!({ "deadline": u64::MAX }), "deadline"),
        (json!({ "revertPatience": u64::MAX }), "revertPatience"),
        (json!({ "defaultStrategy": "bold" }), "defaultStrategy"),
        (json!({ "defaultStrategy": "" }), "defaultStrategy"),
    ] {
        let problem = put(&engine.client, "*", policy.clone())
            .await
            .problem(422, "invalid-request");
        let pointer = format!("#/policy/{key}");
        let errors = problem["errors"].to_string();
        assert!(
            errors.contains(pointer.trim_start_matches('#')),
            "{policy}: {problem}"
        );
    }
    for if_match in ["7", "\"x\"", "W/\"7\"", "\"-1\""] {
        let refused = put(&engine.client, if_match, json!({})).await;
        refused.problem(400, "bad-request");
    }
    assert_eq!(engine.get(QA).await.ok()["version"], 0);
    engine.stop().await;
}

#[tokio::test]
async fn a_selector_is_set_with_the_policy_and_nodes_move_by_it() {
    let engine = Fixture::start().await;
    let before = engine.get(QA).await.ok();
    assert!(before["selector"].is_null(), "{before}");
    assert!(before["selectorSource"].is_null(), "{before}");
    let mut registration = registration("qa");
    registration.as_object_mut().unwrap().remove("environment");
    registration["labels"] = json!({ "tier": "edge" });
    let nodes = engine.node();
    let register = || nodes.put("/api/v1/nodes/a", registration.clone());
    let refused = register().await.problem(422, "invalid-request");
    assert!(refused.to_string().contains("hotswap apply"), "{refused}");

    let body = json!({ "policy": {}, "selector": "tier in (edge)", "reason": "edges" });
    let set = engine.client.put(QA, body.clone()).await.ok();
    assert_eq!(set["selector"], "tier=edge");
    assert_eq!(set["selectorSource"], "api");
    assert_eq!(
        engine.client.put(QA, body).await.ok()["version"],
        set["version"]
    );
    let cluster = engine.get("/api/v1/clusters/qa").await.ok();
    assert_eq!(cluster["selector"], "tier=edge");
    assert_eq!(register().await.ok()["environment"], "qa");
    let events = engine.get("/api/v1/clusters/qa/events").await.ok();
    let message = events["events"][0]["message"].as_str().unwrap();
    assert!(message.contains("the selector to tier=edge"), "{events}");

    // It is kept, and gone with the policy.
    let engine = engine.restart_after(|_| {}).await;
    assert_eq!(engine.get(QA).await.ok()["selector"], "tier=edge");
    let gone = engine.delete(QA).await.ok();
    assert!(gone["selector"].is_null(), "{gone}");
    let problem = put_selector(&engine.client, "tier in edge").await;
    let problem = problem.problem(422, "invalid-request");
    assert!(
        problem["errors"].to_string().contains("/selector"),
        "{problem}"
    );
    engine.stop().await;
}

async fn put_selector(client: &Client, selector: &str) -> Answer {
    client
        .put(QA, json!({ "policy": {}, "selector": selector }))
        .await
}
