//! What each check of a soak that is under way would come to: the same words wherever a client
//! looks.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{
    DEPLOYMENTS, HubClient, STREAM, SUBSCRIBE, SUBSCRIBE_TO_ALL, SocketClient, SseClient,
};
use crate::fixture::Fixture;

const SOAK_PROGRESS: &str = "SoakProgress";

/// An engine whose nodes have no requests, and a deployment whose soak was read once.
async fn soaking() -> (Fixture, HubClient, String, Value) {
    let engine = Fixture::with_strategies(vec![hotswap_guests::CANARY], |config| {
        config.limits.grace = Duration::from_millis(50);
    })
    .await;
    engine.furnish().await;
    let mut all = HubClient::connect(&engine, DEPLOYMENTS).await;
    all.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    let config = json!({
        "steps": [100], "soak": "2m",
        "checks": [{ "metric": "error-rate", "max": 0.1 }],
    });
    let more = json!({ "strategy": "canary", "config": config });
    let id = engine.deploy(more).await;
    let is_read = |state: &Value| !state["liveFindings"].is_null();
    let state = engine.until(&id, is_read).await;
    let findings = state["liveFindings"].clone();
    assert_eq!(findings[0]["judgement"], "inconclusive");
    assert!(
        findings[0]["reason"]
            .as_str()
            .is_some_and(|it| !it.is_empty())
    );
    (engine, all, id, findings)
}

async fn promote(engine: &Fixture, id: &str) {
    let path = format!("/api/v1/deployments/{id}/promote");
    engine.post(&path, json!({})).await.ok();
}

#[tokio::test]
async fn every_subscriber_of_a_hub_gets_what_the_checks_came_to_so_far() {
    let (engine, mut all, id, findings) = soaking().await;
    let early = all.events_until(SOAK_PROGRESS).await;
    let early = &early.last().unwrap().argument;
    assert_eq!(early["findings"], findings);
    assert_eq!(early["executionId"], id);
    assert!(early["timestamp"].as_u64() > Some(0));
    // Who comes late gets the last, in the snapshot and as a message.
    let mut late = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = late.invoke(SUBSCRIBE, json!([id])).await.unwrap();
    assert_eq!(answer["snapshot"]["liveFindings"], findings);
    let event = late.event().await;
    assert_eq!(event.target, SOAK_PROGRESS);
    assert_eq!(event.argument["findings"], findings);
    // Who resumes from there misses nothing.
    assert_eq!(event.argument["offset"], answer["offset"]);
    assert_eq!(event.argument["epoch"], answer["epoch"]);
    let mut streaming = HubClient::connect(&engine, DEPLOYMENTS).await;
    let stream = streaming.stream(STREAM, json!([id])).await;
    let subscribed = streaming.item(&stream).await.unwrap();
    assert_eq!(subscribed.argument["snapshot"]["liveFindings"], findings);
    let item = streaming.item(&stream).await.unwrap();
    assert_eq!(item.target, SOAK_PROGRESS);
    assert_eq!(item.argument, event.argument);
    // The soak is over, and so is what was known of it.
    promote(&engine, &id).await;
    let rest = late.events_until("SoakJudged").await;
    assert!(
        rest.iter().all(|event| event.target != SOAK_PROGRESS),
        "{rest:?}"
    );
    let state = engine.ended(&id).await;
    assert!(state["liveFindings"].is_null());
    while let Some(item) = streaming.item(&stream).await {
        assert_ne!(item.target, SOAK_PROGRESS);
    }
    engine.stop().await;
}

#[tokio::test]
async fn event_streams_tell_of_a_soak_once_they_are_live() {
    let (engine, _, id, findings) = soaking().await;
    let path = format!("/api/v1/deployments/{id}/events");
    let mut stream = SseClient::open(&engine, &path, None).await;
    let mut names = Vec::new();
    let soak = loop {
        let event = stream.event().await.unwrap();
        if event.name == "soak" {
            break event;
        }
        names.push(event.name);
    };
    assert_eq!(names.last().unwrap(), "live");
    assert_eq!(
        soak.id, None,
        "a client that returns goes on after an event"
    );
    assert_eq!(soak.data["findings"], findings);
    assert_eq!(soak.data["executionId"], id);
    let mut socket = SocketClient::open(&engine, &format!("{path}/socket")).await;
    let message = loop {
        let message = socket.message().await.unwrap();
        if !message["soak"].is_null() {
            break message;
        }
    };
    assert_eq!(message, json!({ "soak": soak.data }));
    promote(&engine, &id).await;
    let rest = stream.until_closed().await;
    assert_eq!(rest.last().unwrap().name, "end");
    assert!(rest.iter().all(|event| event.name != "soak"), "{rest:?}");
    engine.stop().await;
}
