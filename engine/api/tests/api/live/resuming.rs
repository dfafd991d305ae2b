//! Resuming: clients get exactly what they missed, or a snapshot where that is too much.

use async_trait::async_trait;
use hotswap_core::DeploymentId;
use hotswap_signalr::QueueCapacity;
use hotswap_store::{Appended, Journal, Lease, LeaseError};
use hotswap_tests::{InterceptedJournal, Interceptor};
use serde_json::json;
use tokio::sync::broadcast;

use super::support::{
    DEPLOYMENTS, FAILED, HubClient, HubEvent, ManualDeployment, NODES, STARTED, STATUS, STREAM,
    SUBSCRIBE, SUBSCRIBE_TO_ALL, assert_recovered, assert_snapshot, log, planned, position,
};
use super::{start, start_with};
use crate::fixture::Fixture;

fn offsets(events: &[HubEvent]) -> Vec<&str> {
    events.iter().map(HubEvent::offset).collect()
}

#[tokio::test]
async fn resuming_sends_exactly_what_was_missed() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    deployment
        .append([planned(["node-1"]), log("no message")])
        .await;
    deployment.toggle(3).await;
    deployment.end().await;
    let begin = json!({"epoch": &*engine.store.epoch(), "offset": "0"});
    let mut first = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = first
        .invoke(SUBSCRIBE, deployment.arguments_after(&begin))
        .await
        .unwrap();
    assert_recovered(&answer, &begin);
    let all = first.events_until(FAILED).await;
    let targets: Vec<_> = all.iter().map(|event| &*event.target).collect();
    let expected = [
        STARTED, STATUS, STATUS, NODES, STATUS, STATUS, STATUS, STATUS, STATUS, FAILED,
    ];
    assert_eq!(targets, expected);
    let offsets = offsets(&all);
    // Notifications before the last one of an event have a fractional offset.
    assert!(
        offsets[0].ends_with(".1") && offsets[2].ends_with(".1"),
        "{offsets:?}"
    );
    for (seen, event) in all.iter().enumerate() {
        let position = event.position();
        let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
        let answer = hub
            .invoke(SUBSCRIBE, deployment.arguments_after(&position))
            .await
            .unwrap();
        assert_recovered(&answer, &position);
        let missed = &all[seen + 1..];
        assert_eq!(hub.events(missed.len()).await, missed, "{position}");
        hub.assert_no_events().await;
        let stream = hub
            .stream(STREAM, deployment.arguments_after(&position))
            .await;
        let subscribed = hub.item(&stream).await.unwrap();
        assert_recovered(&subscribed.argument, &position);
        for event in missed {
            assert_eq!(hub.item(&stream).await.as_ref(), Some(event));
        }
        assert_eq!(hub.item(&stream).await, None);
    }
    engine.stop().await;
}

#[tokio::test]
async fn an_unknown_position_gets_a_snapshot() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    deployment.toggle(3).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let now = hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    let (epoch, offset) = (
        now["epoch"].as_str().unwrap(),
        now["offset"].as_str().unwrap(),
    );
    let future = (offset.parse::<u64>().unwrap() + 1).to_string();
    for (epoch, offset) in [
        ("another", offset),
        ("", offset),
        (epoch, &*future),
        (epoch, "18446744073709551616"),
        (epoch, "-1"),
        (epoch, ""),
        (epoch, "garbage"),
        (epoch, "1."),
        (epoch, "1.2.3"),
    ] {
        let position = json!({"epoch": epoch, "offset": offset});
        let answer = hub
            .invoke(SUBSCRIBE, deployment.arguments_after(&position))
            .await
            .unwrap();
        assert_eq!(answer, now, "{position}");
        let stream = hub
            .stream(STREAM, deployment.arguments_after(&position))
            .await;
        let subscribed = hub.item(&stream).await.unwrap();
        assert_eq!(subscribed.argument, now, "{position}");
        hub.send(&json!({"type": 5, "invocationId": stream})).await;
        assert_eq!(hub.item(&stream).await, None);
    }
    deployment.toggle(1).await;
    assert_eq!(hub.event().await.argument["details"], "resumed by ada");
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn missing_more_than_the_replay_buffer_holds_gets_a_snapshot() {
    let engine = start_with(|config| {
        config.live.hubs.queue_capacity = QueueCapacity {
            messages: 20,
            bytes: 1 << 20,
        };
    })
    .await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..12 {
        deployment.toggle(1).await;
        events.push(hub.event().await);
    }
    let mut again = HubClient::connect(&engine, DEPLOYMENTS).await;
    // The replay buffer holds half of the queue's capacity.
    for seen in [&position(&answer), &events[0].position()] {
        let answer = again
            .invoke(SUBSCRIBE, deployment.arguments_after(seen))
            .await
            .unwrap();
        assert_snapshot(&answer);
        assert_eq!(position(&answer), events[11].position());
        again.assert_no_events().await;
    }
    let seen = events[1].position();
    let answer = again
        .invoke(SUBSCRIBE, deployment.arguments_after(&seen))
        .await
        .unwrap();
    assert_recovered(&answer, &seen);
    assert_eq!(again.events(10).await, events[2..]);
    again.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn missing_more_bytes_than_the_replay_buffer_holds_gets_a_snapshot() {
    let engine = start_with(|config| {
        config.live.hubs.queue_capacity = QueueCapacity {
            messages: 1024,
            bytes: 64 << 10,
        };
    })
    .await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..10 {
        deployment.toggle_by(&"a".repeat(10 << 10), 1).await;
        events.push(hub.event().await);
    }
    let mut again = HubClient::connect(&engine, DEPLOYMENTS).await;
    let seen = position(&answer);
    assert_snapshot(
        &again
            .invoke(SUBSCRIBE, deployment.arguments_after(&seen))
            .await
            .unwrap(),
    );
    let seen = events[7].position();
    let answer = again
        .invoke(SUBSCRIBE, deployment.arguments_after(&seen))
        .await
        .unwrap();
    assert_recovered(&answer, &seen);
    assert_eq!(again.events(2).await, events[8..]);
    again.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_snapshot_larger_than_the_queue_is_sent_with_the_events_after_it() {
    let engine = start_with(|config| {
        config.live.hubs.queue_capacity.bytes = 16 << 10;
    })
    .await;
    let mut deployment = ManualDeployment::start(&engine).await;
    deployment
        .append([planned([]), log(&"a".repeat(64 << 10))])
        .await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let stream = hub.stream(STREAM, deployment.arguments()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    let size = subscribed.argument.to_string().len();
    assert!(size > 64 << 10, "{size}");
    deployment.end().await;
    for _ in 0..3 {
        hub.item(&stream).await.unwrap();
    }
    assert_eq!(hub.item(&stream).await, None);
    // After the end, the stream is the snapshot alone.
    let stream = hub.stream(STREAM, deployment.arguments()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_snapshot(&subscribed.argument);
    assert_eq!(hub.item(&stream).await, None);
    engine.stop().await;
}

#[tokio::test]
async fn resuming_all_before_a_deleted_event_sends_a_snapshot() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let offset = engine.store.last_position().await.unwrap().to_string();
    let before = json!({"epoch": &*engine.store.epoch(), "offset": offset});
    deployment.end().await;
    assert_eq!(engine.delete(&deployment.path()).await.status, 204);
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.invoke(SUBSCRIBE_TO_ALL, json!([before])).await.unwrap();
    assert_snapshot(&answer);
    engine.stop().await;
}

/// The journal of an engine that does not hear of appends: those of other engines reach it late.
struct Unheard(broadcast::Sender<Appended>);

#[async_trait]
impl Interceptor for Unheard {
    async fn acquire_lease(&self, _: &dyn Journal, _: DeploymentId) -> Result<Lease, LeaseError> {
        std::future::pending().await
    }

    fn subscribe(&self, _: &dyn Journal) -> broadcast::Receiver<Appended> {
        self.0.subscribe()
    }
}

#[tokio::test]
async fn an_engine_that_is_behind_reads_on_for_a_client_that_comes_from_a_faster_one() {
    let engine = Fixture::journaled(|journal| {
        InterceptedJournal::new(journal, Unheard(broadcast::Sender::new(1)))
    })
    .await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    // What a client has seen elsewhere.
    let newest = async || {
        let offset = engine.store.last_position().await.unwrap().to_string();
        json!({"epoch": &*engine.store.epoch(), "offset": offset})
    };
    deployment.toggle(1).await;
    hub.assert_no_events().await;
    let mut again = HubClient::connect(&engine, DEPLOYMENTS).await;
    let seen = newest().await;
    let all = again.invoke(SUBSCRIBE_TO_ALL, json!([seen])).await.unwrap();
    assert_recovered(&all, &seen);
    let of_one = deployment.arguments_after(&seen);
    let one = again.invoke(SUBSCRIBE, of_one).await.unwrap();
    assert_recovered(&one, &seen);
    deployment.toggle(1).await;
    let seen = newest().await;
    let of_one = deployment.arguments_after(&seen);
    let stream = hub.stream(STREAM, of_one).await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_recovered(&subscribed.argument, &seen);
    engine.stop().await;
}
