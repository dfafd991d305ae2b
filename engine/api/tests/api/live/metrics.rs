//! `/hubs/metrics`.

use std::time::Duration;

use serde_json::{Value, json};

use super::configured;
use super::hub::{Hub, METRICS, STATUS, SUBSCRIBE, SUBSCRIBE_TO_ALL};
use super::written::Written;

#[tokio::test]
async fn two_hubs_do_not_mix() {
    let engine = configured(|config| {
        config.live.metrics_every = Duration::from_millis(20);
    })
    .await;
    engine.node_in("qa", "node-1").await;
    let mut deployment = Written::begin(&engine).await;
    let mut metrics = Hub::connect(&engine, METRICS).await;
    let mut hub = Hub::subscribed(&engine, &deployment).await;
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
