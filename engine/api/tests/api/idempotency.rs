//! Requests under an `Idempotency-Key`.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use hotswap_api::Role;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fixture::{Fixture, deployment};

const DEPLOYMENTS: &str = "/api/v1/deployments";

async fn post(client: &Client, path: &str, key: &str, body: Value) -> Answer {
    let request = client.send(Method::POST, path, |request| {
        let key = HeaderValue::from_bytes(key.as_bytes()).unwrap();
        request.header("idempotency-key", key).json(&body)
    });
    request.await
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["executionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_repeated_request_gets_the_deployment_of_the_first() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let body = || deployment(json!({"requireApproval": true}));
    let first = id(&post(&engine, DEPLOYMENTS, "one", body()).await);
    // While the first is open, without the key, the module is busy.
    assert_eq!(engine.post(DEPLOYMENTS, body()).await.status, 409);
    assert_eq!(id(&post(&engine, DEPLOYMENTS, "one", body()).await), first);
    engine
        .post(&format!("{DEPLOYMENTS}/{first}/abort"), json!({}))
        .await
        .ok();
    engine.ended(&first).await;
    // The key stands for the first request also after its end.
    let again = post(&engine, DEPLOYMENTS, "one", body()).await;
    assert_eq!(id(&again), first);
    assert_eq!(again.header("location"), format!("{DEPLOYMENTS}/{first}"));
    let new = id(&post(&engine, DEPLOYMENTS, "two", body()).await);
    assert_ne!(new, first);
    engine.stop().await;
}

#[tokio::test]
async fn of_many_concurrent_requests_with_one_key_one_creates_a_deployment() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let requests = (0..32).map(|_| post(&engine, DEPLOYMENTS, "one", deployment(json!({}))));
    let ids: BTreeSet<String> = join_all(requests).await.iter().map(id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let list = engine.get(DEPLOYMENTS).await.ok();
    assert_eq!(list["deployments"].as_array().unwrap().len(), 1);
    engine.stop().await;
}

#[tokio::test]
async fn a_key_that_belongs_to_another_request_is_rejected() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let first = id(&post(&engine, DEPLOYMENTS, "one", deployment(json!({}))).await);
    let changed = deployment(json!({"description": "another"}));
    let rejected = post(&engine, DEPLOYMENTS, "one", changed.clone()).await;
    let problem = rejected.problem(422, "idempotency-key-reused");
    assert_eq!(problem["deployment"], first);
    // Another user's keys are other keys.
    engine.ended(&first).await;
    let bob = engine.signed("bob", Role::Operator);
    assert_ne!(id(&post(&bob, DEPLOYMENTS, "one", changed).await), first);
    engine.stop().await;
}

#[tokio::test]
async fn a_repeated_rollback_rolls_back_once() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let first = engine.deploy(json!({})).await;
    engine.ended(&first).await;
    engine
        .push("hello", "2.0.0", hotswap_guests::HELLO_V2)
        .await;
    let second = engine.deploy(json!({})).await;
    assert_eq!(engine.ended(&second).await["version"], "2.0.0");
    let rollback = format!("{DEPLOYMENTS}/{second}/rollback");
    let created = id(&post(&engine, &rollback, "one", json!({})).await);
    engine.ended(&created).await;
    assert_eq!(
        id(&post(&engine, &rollback, "one", json!({})).await),
        created
    );
    // The same key for another kind of request.
    let rejected = post(&engine, DEPLOYMENTS, "one", deployment(json!({}))).await;
    assert_eq!(rejected.status, 422);
    engine.stop().await;
}

#[tokio::test]
async fn an_unusable_key_is_rejected() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let too_long = "x".repeat(256);
    for key in ["", "a key", "schlüssel", &too_long] {
        let rejected = post(&engine, DEPLOYMENTS, key, deployment(json!({}))).await;
        assert_eq!(rejected.status, 400, "{key}");
    }
    let longest = "x".repeat(255);
    id(&post(&engine, DEPLOYMENTS, &longest, deployment(json!({}))).await);
    engine.stop().await;
}
