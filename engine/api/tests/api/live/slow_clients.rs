//! Clients that read slower than notifications come.

use hotswap_signalr::QueueCapacity;
use serde_json::json;
use tokio::net::TcpSocket;

use super::support::{
    DEPLOYMENTS, HubClient, HubEvent, ManualDeployment, PROGRESS, STREAM, SUBSCRIBE, planned,
    progress,
};
use super::{start, start_with};

#[tokio::test]
async fn a_slow_client_is_closed_and_delays_no_other() {
    let engine = start_with(|config| {
        config.live.hubs.queue_capacity = QueueCapacity {
            messages: 1024,
            bytes: 256 << 10,
        };
    })
    .await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let narrow = TcpSocket::new_v4().unwrap();
    narrow.set_recv_buffer_size(4096).unwrap();
    let mut slow = HubClient::connect_over(narrow, &engine, DEPLOYMENTS).await;
    let answer = slow
        .invoke(SUBSCRIBE, deployment.arguments())
        .await
        .unwrap();
    let mut fast = HubClient::subscribed(&engine, &deployment).await;
    // More than the socket buffers and the queue hold together.
    const LARGE: usize = 64 << 10;
    let mut events = Vec::new();
    for _ in 0..(8 << 20) / LARGE {
        deployment.toggle_by(&"a".repeat(LARGE), 1).await;
        events.push(fast.event().await);
    }
    // The slow client gets the first events without a gap, and then the reason.
    let (received, close, code) = slow.until_closed().await;
    assert!(!received.is_empty() && received.len() < events.len());
    assert_eq!(received, events[..received.len()]);
    let error = close["error"].as_str().unwrap();
    assert!(error.contains("reads too slowly"), "{error}");
    assert_eq!((&close["allowReconnect"], code), (&json!(true), Some(1000)));
    // When it resumes, it has missed too much, and so gets a snapshot.
    let seen = received.last().map_or(answer, |last| last.argument.clone());
    let mut resumed = HubClient::connect(&engine, DEPLOYMENTS).await;
    let position = json!({"epoch": seen["epoch"], "offset": seen["offset"]});
    let answer = resumed
        .invoke(SUBSCRIBE, deployment.arguments_after(&position))
        .await
        .unwrap();
    assert_eq!(answer["recovered"], false, "{}", answer["offset"]);
    let state = engine.get(&deployment.path()).await.ok();
    assert_eq!(answer["snapshot"], state);
    deployment.toggle(1).await;
    assert_eq!(resumed.event().await, fast.event().await);
    engine.stop().await;
}

#[tokio::test]
async fn only_progress_is_replaced_by_newer_progress() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut other = ManualDeployment::start(&engine).await;
    deployment.append([planned([])]).await;
    other.append([planned([])]).await;
    let mut hub = HubClient::subscribed(&engine, &deployment).await;
    let mut all = HubClient::subscribed_to_all(&engine).await;
    let mut stream = HubClient::connect(&engine, DEPLOYMENTS).await;
    let id = stream.stream(STREAM, deployment.arguments()).await;
    stream.item(&id).await.unwrap();
    let by = || "ada".to_owned();
    let paused = || hotswap_core::EventBody::Paused {
        by: by(),
        reason: None,
    };
    let resumed = || hotswap_core::EventBody::Resumed { by: by() };
    // Appended with one write, so that they are published together: faster than any client
    // reads.
    other.append([progress(77)]).await;
    deployment
        .append([
            progress(10),
            progress(20),
            paused(),
            progress(30),
            progress(40),
            resumed(),
            progress(50),
            paused(),
            progress(60),
            progress(70),
            resumed(),
            progress(80),
        ])
        .await;
    let mut all_events = Vec::new();
    while all_events.len() < 12 {
        all_events.push(stream.item(&id).await.unwrap());
    }
    let percents = |events: &[HubEvent]| {
        let progress = events.iter().filter(|event| event.target == PROGRESS);
        progress
            .map(|event| event.argument["progress"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(percents(&all_events), [10, 20, 30, 40, 50, 60, 70, 80]);
    let mut event = hub.event().await;
    let mut received = vec![event.clone()];
    while event != all_events[11] {
        event = hub.event().await;
        received.push(event.clone());
    }
    hub.assert_no_events().await;
    // Only replaced progress is missing; the rest is in order.
    let mut rest = all_events.iter();
    for event in &received {
        assert!(
            rest.any(|other| other == event),
            "{event:?} out of order in {received:?}"
        );
    }
    let not_progress = |events: &[HubEvent]| {
        let others = events.iter().filter(|event| event.target != PROGRESS);
        others.cloned().collect::<Vec<_>>()
    };
    assert_eq!(not_progress(&received), not_progress(&all_events));
    assert!(
        received.len() < all_events.len(),
        "nothing was replaced: {received:?}"
    );
    // Progress does not replace that of another deployment.
    let mut events = vec![all.event().await];
    while events.last() != all_events.last() {
        events.push(all.event().await);
    }
    let ours = |event: &&HubEvent| event.argument["executionId"] == deployment.arguments()[0];
    let (ours, others): (Vec<_>, Vec<_>) = events.iter().partition(ours);
    assert_eq!(
        percents(&others.into_iter().cloned().collect::<Vec<_>>()),
        [77]
    );
    let ours: Vec<_> = ours.into_iter().cloned().collect();
    assert_eq!(not_progress(&ours), not_progress(&all_events));
    engine.stop().await;
}
