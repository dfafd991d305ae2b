//! Readers that are slower than what happens.

use hotswap_signalr::Capacity;
use serde_json::json;
use tokio::net::TcpSocket;

use super::hub::{DEPLOYMENTS, Hub, PROGRESS, STREAM, SUBSCRIBE, Told};
use super::written::{Written, planned, progress};
use super::{configured, start};

#[tokio::test]
async fn whoever_reads_slowly_is_closed_and_nobody_else_is_held_up() {
    let engine = configured(|config| {
        config.live.hubs.capacity = Capacity {
            records: 1024,
            bytes: 256 << 10,
        };
    })
    .await;
    let mut deployment = Written::begin(&engine).await;
    let narrow = TcpSocket::new_v4().unwrap();
    narrow.set_recv_buffer_size(4096).unwrap();
    let mut slow = Hub::over(narrow, &engine, DEPLOYMENTS).await;
    let answer = slow.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    let mut fast = Hub::subscribed(&engine, &deployment).await;
    // More than the kernel and the queue take together.
    const LARGE: usize = 64 << 10;
    let mut told = Vec::new();
    for _ in 0..(8 << 20) / LARGE {
        deployment.toggle_by(&"a".repeat(LARGE), 1).await;
        told.push(fast.event().await);
    }
    // The slow one has got what came before, without a gap, and then the reason.
    let (got, close, code) = slow.rest().await;
    assert!(!got.is_empty() && got.len() < told.len());
    assert_eq!(got, told[..got.len()]);
    let error = close["error"].as_str().unwrap();
    assert!(error.contains("reads too slowly"), "{error}");
    assert_eq!((&close["allowReconnect"], code), (&json!(true), Some(1000)));
    // It comes back, and missed too much to be told it all: the state stands for it.
    let seen = got.last().map_or(answer, |last| last.argument.clone());
    let mut back = Hub::connect(&engine, DEPLOYMENTS).await;
    let position = json!({"epoch": seen["epoch"], "offset": seen["offset"]});
    let answer = back
        .call(SUBSCRIBE, deployment.after(&position))
        .await
        .unwrap();
    assert_eq!(answer["recovered"], false, "{}", answer["offset"]);
    let state = engine.get(&deployment.path()).await.ok();
    assert_eq!(answer["snapshot"], state);
    deployment.toggle(1).await;
    assert_eq!(back.event().await, fast.event().await);
    engine.stop().await;
}

#[tokio::test]
async fn only_progress_gives_way_to_newer_progress() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut other = Written::begin(&engine).await;
    deployment.append([planned([])]).await;
    other.append([planned([])]).await;
    let mut hub = Hub::subscribed(&engine, &deployment).await;
    let mut all = Hub::subscribed_to_all(&engine).await;
    let mut stream = Hub::connect(&engine, DEPLOYMENTS).await;
    let id = stream.stream(STREAM, deployment.argument()).await;
    stream.item(&id).await.unwrap();
    let by = || "ada".to_owned();
    let paused = || hotswap_core::EventBody::Paused { by: by() };
    let resumed = || hotswap_core::EventBody::Resumed { by: by() };
    // Durable together, so that they are told together: no reader is fast enough for that.
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
    let mut whole = Vec::new();
    while whole.len() < 12 {
        whole.push(stream.item(&id).await.unwrap());
    }
    let percents = |told: &[Told]| {
        let progress = told.iter().filter(|told| told.target == PROGRESS);
        progress
            .map(|told| told.argument["progress"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(percents(&whole), [10, 20, 30, 40, 50, 60, 70, 80]);
    let mut told = hub.event().await;
    let mut heard = vec![told.clone()];
    while told != whole[11] {
        told = hub.event().await;
        heard.push(told.clone());
    }
    hub.hears_nothing().await;
    // What was left out is progress that newer progress followed; the rest is in order.
    let mut rest = whole.iter();
    for told in &heard {
        assert!(
            rest.any(|one| one == told),
            "{told:?} out of order in {heard:?}"
        );
    }
    let kept = |told: &[Told]| {
        let kept = told.iter().filter(|told| told.target != PROGRESS);
        kept.cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&heard), kept(&whole));
    assert!(heard.len() < whole.len(), "nothing was left out: {heard:?}");
    // Progress of another deployment is another progress.
    let mut told = vec![all.event().await];
    while told.last() != whole.last() {
        told.push(all.event().await);
    }
    let ours = |told: &&Told| told.argument["executionId"] == deployment.argument()[0];
    let (ours, others): (Vec<_>, Vec<_>) = told.iter().partition(ours);
    assert_eq!(
        percents(&others.into_iter().cloned().collect::<Vec<_>>()),
        [77]
    );
    let ours: Vec<_> = ours.into_iter().cloned().collect();
    assert_eq!(kept(&ours), kept(&whole));
    engine.stop().await;
}
