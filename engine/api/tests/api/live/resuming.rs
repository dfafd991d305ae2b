//! Coming back: what is told of what was missed, and what stands for it where that is too
//! much.

use hotswap_signalr::Capacity;
use hotswap_store::Journal;
use serde_json::json;

use super::answer::{is_anew, is_recovered};
use super::hub::{
    DEPLOYMENTS, FAILED, Hub, NODES, STARTED, STATUS, STREAM, SUBSCRIBE, Told, position,
};
use super::written::{Written, log, planned};
use super::{configured, start};

/// The places of events.
fn offsets(events: &[Told]) -> Vec<&str> {
    events.iter().map(Told::offset).collect()
}

#[tokio::test]
async fn resuming_tells_exactly_what_was_missed() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    deployment
        .append([planned(["node-1"]), log("no message")])
        .await;
    deployment.toggle(3).await;
    deployment.end().await;
    let begin = json!({"epoch": engine.store.epoch(), "offset": "0"});
    let mut first = Hub::connect(&engine, DEPLOYMENTS).await;
    let answer = first
        .call(SUBSCRIBE, deployment.after(&begin))
        .await
        .unwrap();
    is_recovered(&answer, &begin);
    let all = first.until(FAILED).await;
    let targets: Vec<_> = all.iter().map(|told| &*told.target).collect();
    let expected = [
        STARTED, STATUS, STATUS, NODES, STATUS, STATUS, STATUS, STATUS, STATUS, FAILED,
    ];
    assert_eq!(targets, expected);
    let offsets = offsets(&all);
    // Some of the messages of one event are before the last.
    assert!(
        offsets[0].ends_with(".1") && offsets[2].ends_with(".1"),
        "{offsets:?}"
    );
    for (seen, told) in all.iter().enumerate() {
        let position = told.position();
        let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
        let answer = hub
            .call(SUBSCRIBE, deployment.after(&position))
            .await
            .unwrap();
        is_recovered(&answer, &position);
        let missed = &all[seen + 1..];
        assert_eq!(hub.events(missed.len()).await, missed, "{position}");
        hub.hears_nothing().await;
        let stream = hub.stream(STREAM, deployment.after(&position)).await;
        let subscribed = hub.item(&stream).await.unwrap();
        is_recovered(&subscribed.argument, &position);
        for told in missed {
            assert_eq!(hub.item(&stream).await.as_ref(), Some(told));
        }
        assert_eq!(hub.item(&stream).await, None);
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_position_that_means_nothing_begins_anew() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    deployment.toggle(3).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let now = hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
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
            .call(SUBSCRIBE, deployment.after(&position))
            .await
            .unwrap();
        assert_eq!(answer, now, "{position}");
        let stream = hub.stream(STREAM, deployment.after(&position)).await;
        let subscribed = hub.item(&stream).await.unwrap();
        assert_eq!(subscribed.argument, now, "{position}");
        hub.say(&json!({"type": 5, "invocationId": stream})).await;
        assert_eq!(hub.item(&stream).await, None);
    }
    deployment.toggle(1).await;
    assert_eq!(hub.event().await.argument["details"], "resumed by ada");
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn more_than_is_kept_is_never_told_in_part() {
    let engine = configured(|config| {
        config.live.hubs.capacity = Capacity {
            records: 20,
            bytes: 1 << 20,
        };
    })
    .await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..12 {
        deployment.toggle(1).await;
        events.push(hub.event().await);
    }
    let mut again = Hub::connect(&engine, DEPLOYMENTS).await;
    // Half of what may wait for one client is kept.
    for seen in [&position(&answer), &events[0].position()] {
        let answer = again.call(SUBSCRIBE, deployment.after(seen)).await.unwrap();
        is_anew(&answer);
        assert_eq!(position(&answer), events[11].position());
        again.hears_nothing().await;
    }
    let seen = events[1].position();
    let answer = again
        .call(SUBSCRIBE, deployment.after(&seen))
        .await
        .unwrap();
    is_recovered(&answer, &seen);
    assert_eq!(again.events(10).await, events[2..]);
    again.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn what_is_missed_and_too_large_to_be_told_at_once_begins_anew() {
    let engine = configured(|config| {
        config.live.hubs.capacity = Capacity {
            records: 1024,
            bytes: 64 << 10,
        };
    })
    .await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..10 {
        deployment.toggle_by(&"a".repeat(10 << 10), 1).await;
        events.push(hub.event().await);
    }
    let mut again = Hub::connect(&engine, DEPLOYMENTS).await;
    let seen = position(&answer);
    is_anew(
        &again
            .call(SUBSCRIBE, deployment.after(&seen))
            .await
            .unwrap(),
    );
    let seen = events[7].position();
    let answer = again
        .call(SUBSCRIBE, deployment.after(&seen))
        .await
        .unwrap();
    is_recovered(&answer, &seen);
    assert_eq!(again.events(2).await, events[8..]);
    again.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_state_larger_than_what_may_wait_is_told_with_what_follows() {
    let engine = configured(|config| {
        config.live.hubs.capacity.bytes = 16 << 10;
    })
    .await;
    let mut deployment = Written::begin(&engine).await;
    deployment
        .append([planned([]), log(&"a".repeat(64 << 10))])
        .await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let stream = hub.stream(STREAM, deployment.argument()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    let size = subscribed.argument.to_string().len();
    assert!(size > 64 << 10, "{size}");
    deployment.end().await;
    for _ in 0..3 {
        hub.item(&stream).await.unwrap();
    }
    assert_eq!(hub.item(&stream).await, None);
    // The end comes with it.
    let stream = hub.stream(STREAM, deployment.argument()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    is_anew(&subscribed.argument);
    assert_eq!(hub.item(&stream).await, None);
    engine.stop().await;
}
