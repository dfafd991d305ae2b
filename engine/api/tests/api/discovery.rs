use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::SystemClock;
use hotswap_fleet::discovery::{Discovery as _, Sources, StaticFile, WatchOptions, WatchedSource};
use serde_json::json;

use crate::fixture::{Fixture, registration};

#[tokio::test]
async fn the_built_in_registry_is_a_source() {
    let engine = Fixture::start().await;
    let node = engine.node();
    node.put("/api/v1/nodes/node-1", registration("qa"))
        .await
        .ok();
    let list = engine.get("/api/v1/discovery").await.ok();
    let source = &list["sources"][0];
    assert_eq!(source["name"], "built-in");
    assert_eq!(source["condition"], "healthy");
    assert_eq!(source["instances"], 1);
    let found = engine.get("/api/v1/discovery/built-in").await.ok();
    assert_eq!(found["instances"][0]["id"], "node-1");
    assert_eq!(found["instances"][0]["environment"], "qa");
    assert_eq!(found["instances"][0]["sources"], json!(["built-in"]));
    engine.stop().await;
}

#[tokio::test]
async fn a_list_in_a_file_is_shown_merged_with_its_contradictions_and_refreshed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodes.json");
    let write = |url: &str| {
        let node = json!({ "id": "node-1", "environment": "qa", "controlUrl": url });
        let other = json!({ "id": "other", "labels": { "tier": "edge" } });
        let list = json!({ "nodes": [node, other, { "id": "-" }] });
        std::fs::write(&path, list.to_string()).unwrap();
    };
    write("http://10.0.0.1:1");
    let clock = Arc::new(SystemClock);
    let options = WatchOptions {
        poll_interval: Duration::from_secs(3600),
        service: Some("web".to_owned()),
        ..WatchOptions::default()
    };
    let source = WatchedSource::new("list", "static", clock.clone(), options, None);
    let (running, file) = (source.clone(), StaticFile::new(&path, clock));
    let task = tokio::spawn(async move { running.run(file).await });
    let mut changes = source.changes();
    while source.state().instances == 0 {
        changes.changed().await.unwrap();
    }
    let sources = Sources::new(vec![Arc::new(source)]);
    let engine = Fixture::configured(|config| config.sources = sources).await;
    let node = engine.node();
    node.put("/api/v1/nodes/node-1", registration("qa"))
        .await
        .ok();
    let of_service = async |service: &str| {
        let path = format!("/api/v1/discovery?service={service}");
        let found = engine.get(&path).await.ok();
        let count = |list: &str| found[list].as_array().unwrap().len();
        (count("sources"), count("instances"))
    };
    assert_eq!(of_service("web").await, (1, 2));
    assert_eq!(of_service("other").await, (0, 0));
    let all = engine.get("/api/v1/discovery").await.ok();
    assert!(all["instances"].is_null(), "{all}");
    let found = engine.get("/api/v1/discovery/list").await.ok();
    assert_eq!(found["source"]["service"], "web");
    assert_eq!(found["source"]["kind"], "static");
    assert_eq!(found["source"]["invalid"], 1);
    let instance = &found["instances"][0];
    assert_eq!(instance["sources"], json!(["built-in", "list"]));
    assert_eq!(
        instance["conflicts"],
        json!([{ "field": "controlUrl", "source": "list", "says": "http://10.0.0.1:1" }])
    );
    assert_eq!(found["instances"][1]["labels"]["tier"], "edge");
    write("http://10.0.0.2:1");
    let refreshed = engine
        .post("/api/v1/discovery/list/refresh", json!({}))
        .await
        .ok();
    let says = &refreshed["instances"][0]["conflicts"][0]["says"];
    assert_eq!(says, "http://10.0.0.2:1");
    std::fs::remove_file(&path).unwrap();
    let failed = engine
        .post("/api/v1/discovery/list/refresh", json!({}))
        .await
        .ok();
    assert_eq!(failed["source"]["condition"], "stale");
    assert_eq!(failed["source"]["lastError"]["kind"], "unavailable");
    assert_eq!(failed["instances"].as_array().unwrap().len(), 2);
    let metrics = engine.get("/metrics").await.text();
    for line in [
        "hotswap_discovery_source_condition{source=\"list\",condition=\"stale\"} 1",
        "hotswap_discovery_source_condition{source=\"built-in\",condition=\"healthy\"} 1",
        "hotswap_discovery_source_instances{source=\"list\"} 2",
        "hotswap_discovery_source_answers_total{source=\"list\",outcome=\"unavailable\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    engine.stop().await;
    task.abort();
}

#[tokio::test]
async fn the_guide_lists_every_metric_of_the_sources() {
    let guide = include_str!("../../../../docs/SERVICE_DISCOVERY_GUIDE.md");
    let names = |text: &str| -> BTreeSet<String> {
        // A counter's description names it without its ending.
        let samples = text
            .lines()
            .filter(|line| !line.starts_with("# HELP") && !line.starts_with("# TYPE"));
        let words = samples.flat_map(|line| {
            line.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_')
        });
        let ours = words.filter(|word| word.starts_with("hotswap_discovery_"));
        ours.map(str::to_owned).collect()
    };
    let engine = Fixture::start().await;
    let exposed = names(&engine.get("/metrics").await.text());
    assert_eq!(exposed.len(), 5, "{exposed:?}");
    assert_eq!(names(guide), exposed);
    engine.stop().await;
}
