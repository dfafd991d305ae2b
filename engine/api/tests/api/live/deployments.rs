//! The way from a deployment to a client: the engine's own deployments, by the strategies
//! that come with it.

use std::time::Duration;

use hotswap_store::Journal;
use serde_json::{Value, json};

use super::folded::Folded;
use super::hub::{
    APPROVAL, COMPLETED, DEPLOYMENTS, FAILED, Hub, NODES, PROGRESS, STARTED, STATUS, STREAM,
    SUBSCRIBE, SUBSCRIBE_TO_ALL, Told,
};
use super::sse::Sse;
use crate::fixture::Fixture;

/// An engine with something to roll out, and somebody who hears of all deployments.
async fn begin() -> (Fixture, Hub) {
    let engine = Fixture::configured(|config| {
        config.limits.grace = Duration::from_millis(50);
    })
    .await;
    engine.furnish().await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.call(SUBSCRIBE_TO_ALL, json!([])).await;
    assert_eq!(answer.unwrap()["snapshot"]["deployments"], json!([]));
    (engine, hub)
}

async fn subscribe(engine: &Fixture, id: &str) -> (Hub, Folded) {
    let mut hub = Hub::connect(engine, DEPLOYMENTS).await;
    let mut answer = hub.call(SUBSCRIBE, json!([id])).await.unwrap();
    (hub, Folded(answer["snapshot"].take()))
}

async fn state(engine: &Fixture, id: &str) -> Value {
    engine.get(&format!("/api/v1/deployments/{id}")).await.ok()
}

async fn post(engine: &Fixture, id: &str, verb: &str, body: Value) -> Value {
    let path = format!("/api/v1/deployments/{id}/{verb}");
    engine.post(&path, body).await.ok()
}

fn statuses(told: &[Told]) -> Vec<&str> {
    let changed = told.iter().filter(|told| told.target == STATUS);
    changed
        .map(|told| told.argument["status"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_success_is_told_from_the_request_to_the_end() {
    let (engine, mut hub) = begin().await;
    let id = engine.deploy(json!({})).await;
    let told = hub.until(COMPLETED).await;
    let state = engine.ended(&id).await;
    let epoch = engine.store.epoch();
    for told in &told {
        assert_eq!(told.argument["executionId"], id);
        assert_eq!(told.argument["epoch"], epoch);
    }
    let started = &told[0];
    assert_eq!(started.target, STARTED);
    for field in [
        "moduleName",
        "version",
        "targetEnvironment",
        "strategy",
        "requesterEmail",
    ] {
        assert_eq!(started.argument[field], state[field], "{field}");
    }
    assert_eq!(started.argument["timestamp"], state["createdAt"]);
    assert_eq!(told[1].argument["details"], "requested by ada@example.org");
    assert!(told[1].argument.get("previousStatus").is_none());
    assert_eq!(statuses(&told), ["pending", "running", "succeeded"]);
    let progress = told.iter().find(|told| told.target == PROGRESS).unwrap();
    assert_eq!(progress.argument["stage"], "all nodes");
    let nodes = told.iter().filter(|told| told.target == NODES);
    let phases = nodes.map(|told| {
        let nodes = told.argument["nodes"].as_array().unwrap();
        let ids: Vec<_> = nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["node-1", "node-2"], "all that changed at once");
        nodes[0]["phase"].as_str().unwrap()
    });
    assert_eq!(phases.collect::<Vec<_>>(), ["pending", "staged", "active"]);
    let completed = &told.last().unwrap().argument;
    let took = state["endedAt"].as_u64().unwrap() - state["createdAt"].as_u64().unwrap();
    assert_eq!(completed["durationMs"], took);
    assert_eq!(completed["timestamp"], state["endedAt"]);
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn what_a_client_makes_of_it_is_what_the_api_says() {
    let (engine, mut all) = begin().await;
    let rolling = json!({"strategy": "rolling", "config": {"batch": 1, "settle": "1ms"}});
    let id = engine.deploy(rolling).await;
    // Whenever somebody subscribes: each snapshot, and all after it, come to the same.
    let mut told = vec![all.event().await];
    let mut late = Vec::new();
    while told.last().is_none_or(|told| told.target != COMPLETED) {
        late.push(subscribe(&engine, &id).await);
        told.push(all.event().await);
    }
    let ended = engine.ended(&id).await;
    late.push(subscribe(&engine, &id).await);
    let snapshots = late.len();
    assert!(snapshots > 5, "{told:?}");
    for (mut hub, mut folded) in late {
        while folded.0["status"] != "succeeded" || folded.0["progress"] != 100 {
            folded.take(&hub.event().await);
        }
        folded.is(&ended);
    }
    Folded::of(&told).is(&ended);
    engine.stop().await;
}

#[tokio::test]
async fn a_person_is_asked_and_the_decision_told() {
    let (engine, mut hub) = begin().await;
    for (approved, last) in [(false, FAILED), (true, COMPLETED)] {
        let id = engine.deploy(json!({"requireApproval": true})).await;
        let mut told = hub.until(APPROVAL).await;
        let asking = state(&engine, &id).await;
        let asked = &told.last().unwrap().argument;
        assert_eq!(asked["prompt"], asking["question"]);
        assert_eq!(asked["due"], asking["waitingUntil"]);
        assert_eq!(statuses(&told), ["pending", "awaitingApproval"]);
        let body = json!({"approved": approved, "requesterEmail": "eve@example.org"});
        post(&engine, &id, "approval", body).await;
        let rest = hub.until(last).await;
        let ended = engine.ended(&id).await;
        let end = &rest.last().unwrap().argument;
        assert_eq!(end["status"], ended["status"]);
        if approved {
            assert_eq!(rest[0].argument["details"], "approved by eve@example.org");
            assert_eq!(statuses(&rest), ["pending", "running", "succeeded"]);
        } else {
            assert_eq!(end["cause"]["kind"], "rejected");
            assert_eq!(end["cause"], ended["cause"]);
            assert_eq!(statuses(&rest), ["rollingBack", "failed"]);
        }
        told.extend(rest);
        assert_eq!(told[0].target, STARTED);
    }
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_pause_a_resume_and_an_abort_say_who() {
    let (engine, _) = begin().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let (mut hub, mut folded) = subscribe(&engine, &id).await;
    assert_eq!(folded.0["status"], "awaitingApproval");
    let by = json!({"requesterEmail": "eve@example.org"});
    for (verb, status, details) in [
        ("pause", "paused", "paused by eve@example.org"),
        ("resume", "awaitingApproval", "resumed by eve@example.org"),
    ] {
        post(&engine, &id, verb, by.clone()).await;
        let told = hub.event().await;
        assert_eq!(told.argument["status"], status);
        assert_eq!(told.argument["details"], details);
        folded.take(&told);
    }
    let body = json!({"requesterEmail": "eve@example.org", "reason": "wrong version"});
    post(&engine, &id, "abort", body).await;
    let told = hub.until(FAILED).await;
    told.iter().for_each(|told| folded.take(told));
    let cause = &told.last().unwrap().argument["cause"];
    let message = cause["message"].as_str().unwrap();
    assert_eq!(cause["kind"], "abort");
    assert!(
        message.contains("wrong version") && message.contains("eve"),
        "{message}"
    );
    folded.is(&engine.ended(&id).await);
    engine.stop().await;
}

#[tokio::test]
async fn a_node_that_fails_is_told_with_the_reason() {
    let (engine, mut hub) = begin().await;
    engine.node_in("qa", crate::fleet::BROKEN).await;
    let id = engine.deploy(json!({})).await;
    let told = hub.until(FAILED).await;
    let ended = engine.ended(&id).await;
    Folded::of(&told).is(&ended);
    let broken = |told: &Told| {
        let nodes = told.argument["nodes"].as_array()?;
        nodes.iter().find(|node| node["error"].is_object()).cloned()
    };
    let broken = told.iter().find_map(broken).unwrap();
    assert_eq!(
        (&broken["id"], &broken["phase"]),
        (&json!(crate::fleet::BROKEN), &json!("failed"))
    );
    assert_eq!(broken["error"]["kind"], "refused");
    let failed = &told.last().unwrap().argument;
    assert_eq!(failed["cause"]["kind"], "strategy");
    assert_eq!(failed["failures"], ended["failures"]);
    assert_eq!(statuses(&told).last().copied(), ended["status"].as_str());
    engine.stop().await;
}

#[tokio::test]
async fn a_rollback_is_another_deployment() {
    let (engine, mut hub) = begin().await;
    let first = engine.deploy(json!({})).await;
    hub.until(COMPLETED).await;
    engine
        .push("hello", "2.0.0", hotswap_guests::HELLO_V2)
        .await;
    let second = engine.deploy(json!({})).await;
    hub.until(COMPLETED).await;
    let accepted = post(&engine, &second, "rollback", json!({})).await;
    let told = hub.until(COMPLETED).await;
    let back = accepted["executionId"].as_str().unwrap();
    assert!(back != first && back != second);
    assert!(
        told.iter().all(|told| told.argument["executionId"] == back),
        "{told:?}"
    );
    assert_eq!(told[0].argument["version"], "1.0.0");
    let nodes = told.iter().find(|told| told.target == NODES).unwrap();
    assert_eq!(nodes.argument["nodes"][0]["before"], "2.0.0");
    engine.stop().await;
}

#[tokio::test]
async fn hubs_streams_and_pages_tell_of_the_same_events() {
    let (engine, mut hub) = begin().await;
    let mut sse = Sse::open(&engine, "/api/v1/events", None).await;
    assert_eq!(sse.block().await.unwrap().name, "live");
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let stream = hub.stream(
        STREAM,
        json!([id, {"epoch": engine.store.epoch(), "offset": "0"}]),
    );
    let stream = stream.await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_eq!(subscribed.argument["recovered"], true);
    post(&engine, &id, "approval", json!({"approved": true})).await;
    let mut items = Vec::new();
    while let Some(item) = hub.item(&stream).await {
        items.push(item);
    }
    assert_eq!(items.last().unwrap().target, COMPLETED);
    let mut told = hub.drain();
    while told.last().is_none_or(|told| told.target != COMPLETED) {
        told.push(hub.event().await);
    }
    // Progress may have given way to newer progress, where a client hears of it by events.
    let kept = |told: &[Told]| {
        let kept = told.iter().filter(|told| told.target != PROGRESS);
        kept.cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&told), kept(&items));
    let page = engine
        .get(&format!("/api/v1/deployments/{id}/events"))
        .await
        .ok();
    let events = page["events"].as_array().unwrap();
    for event in events {
        let block = sse.block().await.unwrap();
        assert_eq!(
            (&block.data["seq"], &block.data["body"]),
            (&event["seq"], &event["body"])
        );
    }
    // Each message is of one of the events, in their order.
    let positions: Vec<_> = events
        .iter()
        .map(|event| event["position"].to_string())
        .collect();
    let mut of = items.iter().map(|told| {
        let position = told.offset().split('.').next().unwrap();
        positions.iter().position(|one| one == position).unwrap()
    });
    assert!(of.by_ref().is_sorted());
    engine.stop().await;
}
