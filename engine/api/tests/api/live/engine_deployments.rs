//! What clients get of deployments that the engine runs with its own strategies.

use std::time::Duration;

use hotswap_store::Journal;
use serde_json::{Value, json};

use super::support::{
    APPROVAL, COMPLETED, ClientState, DEPLOYMENTS, FAILED, HubClient, HubEvent, NODES, PROGRESS,
    STARTED, STATUS, STREAM, SUBSCRIBE, SUBSCRIBE_TO_ALL, SseClient,
};
use crate::fixture::Fixture;

/// An engine with a module to roll out, and a client that subscribes to all deployments.
async fn start_engine() -> (Fixture, HubClient) {
    let engine = Fixture::configured(|config| {
        config.limits.grace = Duration::from_millis(50);
    })
    .await;
    engine.furnish().await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await;
    assert_eq!(answer.unwrap()["snapshot"]["deployments"], json!([]));
    (engine, hub)
}

async fn subscribe(engine: &Fixture, id: &str) -> (HubClient, ClientState) {
    let mut hub = HubClient::connect(engine, DEPLOYMENTS).await;
    let mut answer = hub.invoke(SUBSCRIBE, json!([id])).await.unwrap();
    (hub, ClientState(answer["snapshot"].take()))
}

async fn state(engine: &Fixture, id: &str) -> Value {
    engine.get(&format!("/api/v1/deployments/{id}")).await.ok()
}

async fn post(engine: &Fixture, id: &str, verb: &str, body: Value) -> Value {
    let path = format!("/api/v1/deployments/{id}/{verb}");
    engine.post(&path, body).await.ok()
}

fn statuses(events: &[HubEvent]) -> Vec<&str> {
    let changed = events.iter().filter(|event| event.target == STATUS);
    changed
        .map(|event| event.argument["status"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_successful_deployment_is_reported_from_start_to_end() {
    let (engine, mut hub) = start_engine().await;
    let id = engine.deploy(json!({})).await;
    let events = hub.events_until(COMPLETED).await;
    let state = engine.ended(&id).await;
    let epoch = engine.store.epoch();
    for event in &events {
        assert_eq!(event.argument["executionId"], id);
        assert_eq!(event.argument["epoch"], *epoch);
    }
    let started = &events[0];
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
    assert_eq!(
        events[1].argument["details"],
        "requested by ada@example.org"
    );
    assert!(events[1].argument.get("previousStatus").is_none());
    assert_eq!(statuses(&events), ["pending", "running", "succeeded"]);
    let progress = events
        .iter()
        .find(|event| event.target == PROGRESS)
        .unwrap();
    assert_eq!(progress.argument["stage"], "all nodes");
    let nodes = events.iter().filter(|event| event.target == NODES);
    let phases = nodes.map(|event| {
        let nodes = event.argument["nodes"].as_array().unwrap();
        let ids: Vec<_> = nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap())
            .collect();
        assert_eq!(
            ids,
            ["node-1", "node-2"],
            "all nodes that changed at once are in one event"
        );
        nodes[0]["phase"].as_str().unwrap()
    });
    assert_eq!(phases.collect::<Vec<_>>(), ["pending", "staged", "active"]);
    let completed = &events.last().unwrap().argument;
    let duration = state["endedAt"].as_u64().unwrap() - state["createdAt"].as_u64().unwrap();
    assert_eq!(completed["durationMs"], duration);
    assert_eq!(completed["timestamp"], state["endedAt"]);
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_clients_state_equals_that_of_the_api() {
    let (engine, mut all) = start_engine().await;
    let rolling = json!({"strategy": "rolling", "config": {"batch": 1, "settle": "1ms"}});
    let id = engine.deploy(rolling).await;
    // Each snapshot and the events after it lead to the same state, whenever the client
    // subscribes.
    let mut events = vec![all.event().await];
    let mut subscribers = Vec::new();
    while events.last().is_none_or(|event| event.target != COMPLETED) {
        subscribers.push(subscribe(&engine, &id).await);
        events.push(all.event().await);
    }
    let ended = engine.ended(&id).await;
    subscribers.push(subscribe(&engine, &id).await);
    let snapshots = subscribers.len();
    assert!(snapshots > 5, "{events:?}");
    for (mut hub, mut client_state) in subscribers {
        while client_state.0["status"] != "succeeded" || client_state.0["progress"] != 100 {
            client_state.apply(&hub.event().await);
        }
        client_state.assert_matches(&ended);
    }
    ClientState::from_events(&events).assert_matches(&ended);
    engine.stop().await;
}

#[tokio::test]
async fn approvals_and_decisions_are_reported() {
    let (engine, mut hub) = start_engine().await;
    for (approved, last) in [(false, FAILED), (true, COMPLETED)] {
        let id = engine.deploy(json!({"requireApproval": true})).await;
        let mut events = hub.events_until(APPROVAL).await;
        let waiting = state(&engine, &id).await;
        let request = &events.last().unwrap().argument;
        assert_eq!(request["prompt"], waiting["question"]);
        assert_eq!(request["due"], waiting["waitingUntil"]);
        assert_eq!(statuses(&events), ["pending", "awaitingApproval"]);
        let body = json!({"approved": approved, "requesterEmail": "eve@example.org"});
        post(&engine, &id, "approval", body).await;
        let rest = hub.events_until(last).await;
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
        events.extend(rest);
        assert_eq!(events[0].target, STARTED);
    }
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn pause_resume_and_abort_name_the_requester() {
    let (engine, _) = start_engine().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let (mut hub, mut client_state) = subscribe(&engine, &id).await;
    assert_eq!(client_state.0["status"], "awaitingApproval");
    let by = json!({"requesterEmail": "eve@example.org"});
    for (verb, status, details) in [
        ("pause", "paused", "paused by eve@example.org"),
        ("resume", "awaitingApproval", "resumed by eve@example.org"),
    ] {
        post(&engine, &id, verb, by.clone()).await;
        let event = hub.event().await;
        assert_eq!(event.argument["status"], status);
        assert_eq!(event.argument["details"], details);
        client_state.apply(&event);
    }
    let body = json!({"requesterEmail": "eve@example.org", "reason": "wrong version"});
    post(&engine, &id, "abort", body).await;
    let events = hub.events_until(FAILED).await;
    events.iter().for_each(|event| client_state.apply(event));
    let cause = &events.last().unwrap().argument["cause"];
    let message = cause["message"].as_str().unwrap();
    assert_eq!(cause["kind"], "abort");
    assert!(
        message.contains("wrong version") && message.contains("eve"),
        "{message}"
    );
    client_state.assert_matches(&engine.ended(&id).await);
    engine.stop().await;
}

#[tokio::test]
async fn a_failed_node_is_reported_with_the_reason() {
    let (engine, mut hub) = start_engine().await;
    engine.node_in("qa", crate::fleet::BROKEN).await;
    let id = engine.deploy(json!({})).await;
    let events = hub.events_until(FAILED).await;
    let ended = engine.ended(&id).await;
    ClientState::from_events(&events).assert_matches(&ended);
    let broken = |event: &HubEvent| {
        let nodes = event.argument["nodes"].as_array()?;
        nodes.iter().find(|node| node["error"].is_object()).cloned()
    };
    let broken = events.iter().find_map(broken).unwrap();
    assert_eq!(
        (&broken["id"], &broken["phase"]),
        (&json!(crate::fleet::BROKEN), &json!("failed"))
    );
    assert_eq!(broken["error"]["kind"], "refused");
    let failed = &events.last().unwrap().argument;
    assert_eq!(failed["cause"]["kind"], "policy");
    assert_eq!(failed["failures"], ended["failures"]);
    assert_eq!(statuses(&events).last().copied(), ended["status"].as_str());
    engine.stop().await;
}

#[tokio::test]
async fn a_rollback_is_reported_as_a_new_deployment() {
    let (engine, mut hub) = start_engine().await;
    let first = engine.deploy(json!({})).await;
    hub.events_until(COMPLETED).await;
    engine
        .push("hello", "2.0.0", hotswap_guests::HELLO_V2)
        .await;
    let second = engine.deploy(json!({})).await;
    hub.events_until(COMPLETED).await;
    let accepted = post(&engine, &second, "rollback", json!({})).await;
    let events = hub.events_until(COMPLETED).await;
    let rollback = accepted["executionId"].as_str().unwrap();
    assert!(rollback != first && rollback != second);
    assert!(
        events
            .iter()
            .all(|event| event.argument["executionId"] == rollback),
        "{events:?}"
    );
    assert_eq!(events[0].argument["version"], "1.0.0");
    let nodes = events.iter().find(|event| event.target == NODES).unwrap();
    assert_eq!(nodes.argument["nodes"][0]["before"], "2.0.0");
    engine.stop().await;
}

#[tokio::test]
async fn hubs_streams_and_pages_report_the_same_events() {
    let (engine, mut hub) = start_engine().await;
    let mut sse = SseClient::open(&engine, "/api/v1/events", None).await;
    assert_eq!(sse.event().await.unwrap().name, "live");
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let stream = hub.stream(
        STREAM,
        json!([id, {"epoch": &*engine.store.epoch(), "offset": "0"}]),
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
    let mut events = hub.take_events();
    while events.last().is_none_or(|event| event.target != COMPLETED) {
        events.push(hub.event().await);
    }
    // For subscribers, newer progress may have replaced older progress.
    let not_progress = |events: &[HubEvent]| {
        let others = events.iter().filter(|event| event.target != PROGRESS);
        others.cloned().collect::<Vec<_>>()
    };
    assert_eq!(not_progress(&events), not_progress(&items));
    let page = engine
        .get(&format!("/api/v1/deployments/{id}/events"))
        .await
        .ok();
    let paged_events = page["events"].as_array().unwrap();
    for event in paged_events {
        let sse_event = sse.event().await.unwrap();
        assert_eq!(
            (&sse_event.data["seq"], &sse_event.data["body"]),
            (&event["seq"], &event["body"])
        );
    }
    // Each notification is of one of the events, in their order.
    let positions: Vec<_> = paged_events
        .iter()
        .map(|event| event["position"].to_string())
        .collect();
    let mut indices = items.iter().map(|event| {
        let position = event.offset().split('.').next().unwrap();
        positions.iter().position(|one| one == position).unwrap()
    });
    assert!(indices.by_ref().is_sorted());
    engine.stop().await;
}
