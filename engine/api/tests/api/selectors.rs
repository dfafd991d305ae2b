//! Deployments to a part of an environment, and plans of deployments.

use hotswap_api::Role;
use serde_json::{Value, json};

use crate::fixture::{Fixture, deployment, registration};

const PLAN: &str = "/api/v1/deployments/plan";

/// Nodes `eu-1` and `eu-2` in the zone `eu` and `us-1` in the zone `us`, and versions 1.0.0 and
/// 2.0.0 of `hello`.
async fn furnished() -> Fixture {
    let engine = Fixture::start().await;
    let [one, two] = [hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2];
    engine.push("hello", "1.0.0", one).await;
    engine.push("hello", "2.0.0", two).await;
    for id in ["eu-1", "eu-2", "us-1"] {
        let mut body = registration("qa");
        body["zone"] = json!(&id[..2]);
        let path = format!("/api/v1/nodes/{id}");
        engine.node().put(&path, body).await.ok();
    }
    engine
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| item[field].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_deployment_with_a_selector_changes_only_the_nodes_that_match() {
    let engine = furnished().await;
    let all = engine.deploy(json!({"version": "1.0.0"})).await;
    engine.ended(&all).await;
    let europe = json!({"version": "2.0.0", "selector": "zone in ( us,eu ), zone!=us"});
    let europe = engine.deploy(europe).await;
    let state = engine.ended(&europe).await;
    assert_eq!(state["status"], "succeeded", "{state}");
    assert_eq!(state["selector"], "zone in (eu,us),zone!=us");
    assert_eq!(names(&state["nodes"], "id"), ["eu-1", "eu-2"]);
    assert!(state["missing"].as_array().unwrap().is_empty(), "{state}");
    for (node, version) in [("eu-1", "2.0.0"), ("eu-2", "2.0.0"), ("us-1", "1.0.0")] {
        assert_eq!(engine.active(node, "hello").as_deref(), Some(version));
        let node = engine.get(&format!("/api/v1/nodes/{node}")).await.ok();
        assert_eq!(node["modules"][0]["desired"], version, "{node}");
    }
    let list = engine.get("/api/v1/deployments").await.ok();
    assert_eq!(list["deployments"][0]["selector"], state["selector"]);
    assert!(list["deployments"][1].get("selector").is_none(), "{list}");
    let cluster = engine.get("/api/v1/clusters/qa").await.ok();
    let modules = &cluster["modules"];
    assert_eq!(names(modules, "version"), ["2.0.0", "1.0.0"]);
    assert_eq!(names(modules, "selector"), ["zone in (eu,us),zone!=us", ""]);

    // Both say what should run, so neither can be deleted.
    for id in [&all, &europe] {
        let path = format!("/api/v1/deployments/{id}");
        engine.delete(&path).await.problem(409, "in-use");
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_rollback_is_for_the_nodes_of_the_deployment() {
    let engine = furnished().await;
    for (version, selector) in [("1.0.0", None), ("2.0.0", Some("zone=eu"))] {
        let body = match selector {
            Some(selector) => json!({"version": version, "selector": selector}),
            None => json!({"version": version}),
        };
        let id = engine.deploy(body).await;
        assert_eq!(engine.ended(&id).await["status"], "succeeded");
    }
    let newest = engine.get("/api/v1/deployments?limit=1").await.ok();
    let id = newest["deployments"][0]["executionId"].as_str().unwrap();
    let path = format!("/api/v1/deployments/{id}/rollback");
    let accepted = engine.post(&path, json!({})).await.ok();
    assert_eq!(accepted["version"], "1.0.0");
    let rollback = accepted["executionId"].as_str().unwrap();
    let state = engine.ended(rollback).await;
    assert_eq!(state["selector"], "zone=eu");
    assert_eq!(names(&state["nodes"], "id"), ["eu-1", "eu-2"]);
    for node in ["eu-1", "eu-2", "us-1"] {
        assert_eq!(engine.active(node, "hello").as_deref(), Some("1.0.0"));
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_selector_that_matches_no_node_is_refused_with_the_labels_that_there_are() {
    let engine = furnished().await;
    for path in [PLAN, "/api/v1/deployments"] {
        let body = deployment(json!({"selector": "zone=asia"}));
        let problem = engine.post(path, body).await.problem(409, "none-selected");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("matches zone=asia"), "{detail}");
        assert!(detail.contains("rack=7, zone=eu, zone=us"), "{detail}");

        let body = deployment(json!({"selector": "zone=eu,"}));
        let problem = engine.post(path, body).await;
        let problem = problem.problem(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], "/selector");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("at character 9"), "{detail}");
    }
    let list = engine.get("/api/v1/deployments").await.ok();
    assert_eq!(list["deployments"], json!([]));
    engine.stop().await;
}

#[tokio::test]
async fn a_plan_says_what_a_deployment_would_do_and_changes_nothing() {
    let engine = furnished().await;
    let first = engine.deploy(json!({"version": "1.0.0"})).await;
    engine.ended(&first).await;
    let viewer = engine.signed("ada", Role::Viewer);
    let body = deployment(json!({
        "version": "2.0.0", "selector": "zone=eu", "strategy": "rolling",
        "config": {"batch": 1, "settle": "90s"},
    }));
    let plan = viewer.post(PLAN, body).await.ok();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    assert_eq!(plan["version"], "2.0.0");
    assert_eq!(plan["selector"], "zone=eu");
    assert_eq!(plan["config"]["settle"], "90s");
    assert_eq!(plan["policy"]["deadline"], 7_200_000);
    assert_eq!(names(&plan["nodes"], "id"), ["eu-1", "eu-2"]);
    assert_eq!(names(&plan["nodes"], "runs"), ["1.0.0", "1.0.0"]);
    assert_eq!(names(&plan["nodes"], "wouldRun"), ["2.0.0", "2.0.0"]);
    assert_eq!(names(&plan["leftOut"], "id"), ["us-1"]);
    assert_eq!(plan["leftOut"][0]["reason"], "notSelected");
    // One node, a wait, the other node.
    let steps = plan["steps"].as_array().unwrap();
    let promotes = steps.iter().filter(|step| step["step"] == "promote");
    let promotes: Vec<_> = promotes
        .map(|step| (step["at"].as_u64().unwrap(), step["nodes"].clone()))
        .collect();
    assert_eq!(promotes[0], (0, json!(["eu-1"])), "{steps:?}");
    assert_eq!(promotes[1], (90_000, json!(["eu-2"])), "{steps:?}");
    assert!(plan["shortest"].as_u64() >= Some(90_000), "{plan}");
    assert_eq!(plan["furtherSteps"], 0);

    let list = engine.get("/api/v1/deployments").await.ok();
    assert_eq!(names(&list["deployments"], "executionId"), [first]);
    assert_eq!(engine.active("eu-1", "hello").as_deref(), Some("1.0.0"));
    engine.stop().await;
}

#[tokio::test]
async fn a_plan_says_what_stands_against_a_deployment() {
    let engine = furnished().await;
    let problems = async |more: Value| {
        let plan = engine.post(PLAN, deployment(more)).await.ok();
        let problems = plan["problems"].as_array().unwrap().iter();
        let problems: Vec<_> = problems.map(|it| it.as_str().unwrap().to_owned()).collect();
        problems.join("; ")
    };
    assert_eq!(problems(json!({})).await, "");
    let slow = json!({"strategy": "rolling", "config": {"batch": 1, "settle": "3h"}});
    let found = problems(slow).await;
    assert!(found.contains("takes at least"), "{found}");
    let open = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&open).await;
    let found = problems(json!({})).await;
    assert!(found.contains(&format!("deployment {open}")), "{found}");
    engine.stop().await;
}
