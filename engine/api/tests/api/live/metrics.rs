//! `/hubs/metrics`.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::SystemClock;
use hotswap_fleet::discovery::{Discovery as _, Sources, StaticFile, WatchOptions, WatchedSource};
use serde_json::{Value, json};

use super::start_with;
use super::support::{HubClient, METRICS, ManualDeployment, STATUS, SUBSCRIBE, SUBSCRIBE_TO_ALL};

#[tokio::test]
async fn the_two_hubs_are_separate() {
    let engine = start_with(|config| {
        config.live.metrics_interval = Duration::from_millis(20);
    })
    .await;
    engine.node_in("qa", "node-1").await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut metrics = HubClient::connect(&engine, METRICS).await;
    let mut hub = HubClient::subscribed(&engine, &deployment).await;
    metrics
        .invoke("SubscribeToMetrics", json!(["qa"]))
        .await
        .unwrap();
    for method in [SUBSCRIBE, SUBSCRIBE_TO_ALL] {
        let result = metrics.invoke(method, deployment.arguments()).await;
        assert_eq!(result, Err(format!("Unknown hub method '{method}'")));
    }
    let result = hub.invoke("SubscribeToMetrics", json!(["qa"])).await;
    let unknown = "Unknown hub method 'SubscribeToMetrics'".to_owned();
    assert_eq!(result, Err(unknown));
    for _ in 0..5 {
        deployment.toggle(1).await;
        assert_eq!(hub.event().await.target, STATUS);
        assert_eq!(metrics.event().await.target, "MetricsUpdated");
    }
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn metrics_are_sent_for_subscribed_environments_only() {
    let engine = start_with(|config| {
        config.live.metrics_interval = Duration::from_millis(20);
    })
    .await;
    engine.node_in("qa", "node-1").await;
    engine.node_in("qa", "node-2").await;
    engine.node_in("staging", "node-3").await;
    let mut qa = HubClient::connect(&engine, METRICS).await;
    let mut staging = HubClient::connect(&engine, METRICS).await;
    let mut both = HubClient::connect(&engine, METRICS).await;
    let mut configured = HubClient::connect(&engine, METRICS).await;
    // The environment `configured` has a policy of its own but no nodes.
    for (hub, environments) in [
        (&mut qa, &["qa"][..]),
        (&mut staging, &["staging"]),
        (&mut both, &["qa", "staging"]),
        (&mut configured, &["configured", "qa"]),
    ] {
        for environment in environments {
            let answer = hub.invoke("SubscribeToMetrics", json!([environment]));
            assert_eq!(answer.await, Ok(Value::Null));
        }
    }
    configured
        .invoke("UnsubscribeFromMetrics", json!(["qa"]))
        .await
        .unwrap();
    configured.take_events();
    let mut last = 0;
    for _ in 0..5 {
        let event = qa.event().await;
        assert_eq!(event.target, "MetricsUpdated");
        let sample = event.argument;
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
        assert_eq!(
            configured.event().await.argument["environment"],
            "configured"
        );
    }
    qa.invoke("UnsubscribeFromMetrics", json!(["qa"]))
        .await
        .unwrap();
    let before = qa.take_events();
    assert!(before.iter().all(|event| event.target == "MetricsUpdated"));
    staging.take_events();
    for _ in 0..3 {
        staging.event().await;
    }
    qa.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn every_change_of_a_source_is_sent_with_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    std::fs::write(&path, r#"{"nodes":[{"id":"a"}]}"#).unwrap();
    let clock = Arc::new(SystemClock);
    let source = WatchedSource::new(
        "list",
        "static",
        clock.clone(),
        WatchOptions::default(),
        None,
    );
    let (running, file) = (source.clone(), StaticFile::new(&path, clock));
    let mut changes = source.changes();
    let task = tokio::spawn(async move { running.run(file).await });
    changes.changed().await.unwrap();
    let sources = Sources::new(vec![Arc::new(source)]);
    let engine = start_with(|config| config.sources = sources).await;
    let mut hub = HubClient::connect(&engine, METRICS).await;
    let subscribed = hub.invoke("SubscribeToSources", json!([])).await.unwrap();
    assert_eq!(subscribed["sources"][0]["name"], "built-in");
    assert_eq!(subscribed["sources"][1]["condition"], "healthy");
    std::fs::remove_file(&path).unwrap();
    let stale = hub.event().await;
    assert_eq!(stale.target, "SourceChanged");
    assert_eq!(stale.argument["name"], "list");
    assert_eq!(stale.argument["condition"], "stale");
    assert_eq!(stale.argument["instances"], 1);
    assert_eq!(stale.argument["lastError"]["kind"], "unavailable");
    // It stays stale, and for another reason.
    let damaged = folder.path().join("damaged.json");
    std::fs::write(&damaged, "{").unwrap();
    std::fs::rename(&damaged, &path).unwrap();
    let other = hub.event().await;
    assert_eq!(other.argument["condition"], "stale");
    assert_eq!(other.argument["lastError"]["kind"], "protocol");
    engine.node_in("qa", "node-1").await;
    let built_in = hub.event().await.argument;
    assert_eq!(built_in["name"], "built-in");
    assert_eq!(built_in["instances"], 1);
    hub.invoke("UnsubscribeFromSources", json!([]))
        .await
        .unwrap();
    engine.node_in("qa", "node-2").await;
    hub.assert_no_events().await;
    engine.stop().await;
    task.abort();
}
