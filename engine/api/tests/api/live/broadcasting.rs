//! Who is told what, how often and in which order.

use std::time::Duration;

use hotswap_signalr::Capacity;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::hub::{DEPLOYMENTS, Hub, METRICS, Told};
use super::written::{Written, planned, progress};
use super::{configured, start};
use crate::fixture::Fixture;

const SUBSCRIBE: &str = "SubscribeToDeployment";
const SUBSCRIBE_TO_ALL: &str = "SubscribeToAllDeployments";
const STATUS: &str = "DeploymentStatusChanged";
const PROGRESS: &str = "DeploymentProgress";

async fn subscribed(engine: &Fixture, deployment: &Written) -> Hub {
    let mut hub = Hub::connect(engine, DEPLOYMENTS).await;
    let answer = hub.call(SUBSCRIBE, deployment.argument()).await;
    answer.unwrap();
    hub
}

async fn subscribed_to_all(engine: &Fixture) -> Hub {
    let mut hub = Hub::connect(engine, DEPLOYMENTS).await;
    hub.call(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    hub
}

fn of(deployment: &Written) -> Value {
    deployment.id.to_string().into()
}

#[tokio::test]
async fn every_subscriber_is_told_once_and_in_order() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hubs = Vec::new();
    for _ in 0..20 {
        hubs.push(subscribed(&engine, &deployment).await);
    }
    for times in [1, 7, 1] {
        deployment.toggle(times).await;
    }
    deployment.end().await;
    let mut told = Vec::new();
    for hub in &mut hubs {
        told.push(hub.until("DeploymentFailed").await);
        hub.hears_nothing().await;
    }
    assert_eq!(told[0].len(), 9 + 3);
    let statuses = told[0].iter().filter(|told| told.target == STATUS);
    let was = statuses
        .clone()
        .map(|told| &told.argument["previousStatus"]);
    let is = statuses.map(|told| &told.argument["status"]);
    // Each goes on where the one before ended.
    assert!(
        was.skip(1).eq(is.clone().take(is.count() - 1)),
        "{:?}",
        told[0]
    );
    for other in &told[1..] {
        assert_eq!(other, &told[0]);
    }
    engine.stop().await;
}

#[tokio::test]
async fn deployments_do_not_mix() {
    let engine = start().await;
    let mut deployments = [Written::begin(&engine).await, Written::begin(&engine).await];
    let mut hubs = [
        subscribed(&engine, &deployments[0]).await,
        subscribed(&engine, &deployments[1]).await,
    ];
    let mut both = subscribed(&engine, &deployments[0]).await;
    both.call(SUBSCRIBE, deployments[1].argument())
        .await
        .unwrap();
    for turn in [0, 1, 1, 0, 1] {
        deployments[turn].toggle(1).await;
        let told = hubs[turn].event().await;
        assert_eq!(told.argument["executionId"], of(&deployments[turn]));
        assert_eq!(both.event().await, told);
    }
    for hub in &mut hubs {
        hub.hears_nothing().await;
    }
    both.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn all_deployments_are_told_also_those_that_begin_later() {
    let engine = start().await;
    let mut first = Written::begin(&engine).await;
    let mut ended = Written::begin(&engine).await;
    ended.end().await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.call(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    assert_eq!(answer["recovered"], false);
    assert_eq!(answer["snapshot"]["more"], false);
    let shown = answer["snapshot"]["deployments"].as_array().unwrap();
    assert_eq!(shown.len(), 1, "the one that goes on: {shown:?}");
    assert_eq!(shown[0]["executionId"], of(&first));
    first.toggle(1).await;
    let mut second = Written::begin(&engine).await;
    second.toggle(1).await;
    first.end().await;
    let told = hub.events(1 + 3 + 3).await;
    let expected = [&first, &second, &second, &second, &first, &first, &first];
    let ids = told.iter().map(|told| told.argument["executionId"].clone());
    assert!(ids.eq(expected.map(of)), "{told:?}");
    assert_eq!(told[1].target, "DeploymentStarted");
    assert_eq!(told[1].argument["targetEnvironment"], "qa");
    // Whoever was away is told the rest, whichever it is of.
    for (seen, last) in told.iter().enumerate() {
        let mut again = Hub::connect(&engine, DEPLOYMENTS).await;
        let answer = again
            .call(SUBSCRIBE_TO_ALL, json!([last.position()]))
            .await
            .unwrap();
        assert_eq!(answer["recovered"], true, "{answer}");
        let missed = &told[seen + 1..];
        assert_eq!(again.events(missed.len()).await, missed);
        again.hears_nothing().await;
    }
    // Nobody who unsubscribed.
    hub.call("UnsubscribeFromAllDeployments", json!([]))
        .await
        .unwrap();
    let mut witness = subscribed_to_all(&engine).await;
    second.toggle(1).await;
    witness.event().await;
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn two_subscriptions_of_one_connection_are_both_told() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = subscribed(&engine, &deployment).await;
    hub.call(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    let mut witness = subscribed(&engine, &deployment).await;
    let mut all = subscribed_to_all(&engine).await;
    deployment.toggle(3).await;
    let told = witness.events(3).await;
    assert_eq!(all.events(3).await, told);
    let mut twice = hub.events(6).await;
    hub.hears_nothing().await;
    // Each once for each subscription, and each of these in order.
    for expected in &told {
        let count = twice.iter().filter(|told| *told == expected).count();
        assert_eq!(count, 2, "{twice:?}");
    }
    let mut once = Vec::new();
    twice.retain(|told| {
        let first = !once.contains(told);
        once.extend(first.then(|| told.clone()));
        !first
    });
    assert_eq!((once, twice), (told.clone(), told));
    // Without one of them there is the other.
    hub.call("UnsubscribeFromAllDeployments", json!([]))
        .await
        .unwrap();
    deployment.toggle(1).await;
    assert_eq!(hub.event().await, witness.event().await);
    all.event().await;
    hub.hears_nothing().await;
    engine.stop().await;
}

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
    let mut fast = subscribed(&engine, &deployment).await;
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
    let mut hub = subscribed(&engine, &deployment).await;
    let mut all = subscribed_to_all(&engine).await;
    let mut stream = Hub::connect(&engine, DEPLOYMENTS).await;
    let id = stream
        .stream("StreamDeployment", deployment.argument())
        .await;
    stream.item(&id).await.unwrap();
    let by = || "ada".to_owned();
    let paused = || hotswap_core::Body::Paused { by: by() };
    let resumed = || hotswap_core::Body::Resumed { by: by() };
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
    let ours = |told: &&Told| told.argument["executionId"] == of(&deployment);
    let (ours, others): (Vec<_>, Vec<_>) = told.iter().partition(ours);
    assert_eq!(
        percents(&others.into_iter().cloned().collect::<Vec<_>>()),
        [77]
    );
    let ours: Vec<_> = ours.into_iter().cloned().collect();
    assert_eq!(kept(&ours), kept(&whole));
    engine.stop().await;
}

#[tokio::test]
async fn two_hubs_do_not_mix() {
    let engine = configured(|config| {
        config.live.metrics_every = Duration::from_millis(20);
    })
    .await;
    engine.node_in("qa", "node-1").await;
    let mut deployment = Written::begin(&engine).await;
    let mut metrics = Hub::connect(&engine, METRICS).await;
    let mut hub = subscribed(&engine, &deployment).await;
    metrics
        .call("SubscribeToMetrics", json!(["qa"]))
        .await
        .unwrap();
    for method in [SUBSCRIBE, SUBSCRIBE_TO_ALL] {
        let refused = metrics.call(method, deployment.argument()).await;
        assert_eq!(refused, Err(format!("Unknown hub method '{method}'")));
    }
    let refused = hub.call("SubscribeToMetrics", json!(["qa"])).await;
    let unknown = "Unknown hub method 'SubscribeToMetrics'".to_owned();
    assert_eq!(refused, Err(unknown));
    for _ in 0..5 {
        deployment.toggle(1).await;
        assert_eq!(hub.event().await.target, STATUS);
        assert_eq!(metrics.event().await.target, "MetricsUpdated");
    }
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn metrics_are_told_of_the_environments_that_are_subscribed_to() {
    let engine = configured(|config| {
        config.live.metrics_every = Duration::from_millis(20);
    })
    .await;
    engine.node_in("qa", "node-1").await;
    engine.node_in("qa", "node-2").await;
    engine.node_in("staging", "node-3").await;
    let mut qa = Hub::connect(&engine, METRICS).await;
    let mut staging = Hub::connect(&engine, METRICS).await;
    let mut both = Hub::connect(&engine, METRICS).await;
    let mut nobody = Hub::connect(&engine, METRICS).await;
    // `configured` has no nodes, but a policy of its own.
    for (hub, environments) in [
        (&mut qa, &["qa"][..]),
        (&mut staging, &["staging"]),
        (&mut both, &["qa", "staging"]),
        (&mut nobody, &["configured", "qa"]),
    ] {
        for environment in environments {
            let answer = hub.call("SubscribeToMetrics", json!([environment]));
            assert_eq!(answer.await, Ok(Value::Null));
        }
    }
    nobody
        .call("UnsubscribeFromMetrics", json!(["qa"]))
        .await
        .unwrap();
    nobody.drain();
    let mut last = 0;
    for _ in 0..5 {
        let told = qa.event().await;
        assert_eq!(told.target, "MetricsUpdated");
        let sample = told.argument;
        assert_eq!(sample["environment"], "qa");
        assert_eq!(
            (&sample["nodes"], &sample["versions"]),
            (&json!(2), &json!([]))
        );
        assert!(sample["intervalMs"].is_u64() && sample["cpu"].is_number());
        let at = sample["timestamp"].as_u64().unwrap();
        assert!(at >= last, "{sample}");
        last = at;
        assert_eq!(staging.event().await.argument["environment"], "staging");
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let environment = both.event().await.argument["environment"].clone();
        if !seen.contains(&environment) {
            seen.push(environment);
        }
    }
    for _ in 0..3 {
        assert_eq!(nobody.event().await.argument["environment"], "configured");
    }
    qa.call("UnsubscribeFromMetrics", json!(["qa"]))
        .await
        .unwrap();
    let before = qa.drain();
    assert!(before.iter().all(|told| told.target == "MetricsUpdated"));
    staging.drain();
    for _ in 0..3 {
        staging.event().await;
    }
    qa.hears_nothing().await;
    engine.stop().await;
}
