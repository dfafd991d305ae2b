//! Deployments that follow from earlier ones: promoted, tried again, undone, compared.

use hotswap_guests::{HELLO_V1, HELLO_V2, HELLO_V3};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::Fixture;

const DEPLOYMENTS: &str = "/api/v1/deployments";
const MODULE: &str = "/api/v1/clusters/qa/modules/hello";

fn path(id: &str, verb: &str) -> String {
    format!("{DEPLOYMENTS}/{id}/{verb}")
}

fn id(accepted: &Value) -> String {
    accepted["executionId"].as_str().unwrap().to_owned()
}

/// An engine with two nodes and three versions, all of which have succeeded, newest last.
/// Returns their deployments.
async fn three_successes() -> (Fixture, Vec<String>) {
    let engine = Fixture::start().await;
    engine.furnish().await;
    engine.push("hello", "2.0.0", HELLO_V2).await;
    engine.push("hello", "3.0.0", HELLO_V3).await;
    let mut successes = Vec::new();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let more = json!({
            "version": version,
            "strategy": "rolling",
            "config": { "batch": 1, "settle": "1ms" },
        });
        let id = engine.deploy(more).await;
        assert_eq!(engine.ended(&id).await["status"], "succeeded");
        successes.push(id);
    }
    (engine, successes)
}

async fn slow(engine: &Fixture) -> String {
    let config = json!({ "batch": 1, "settle": "1h" });
    let more = json!({ "strategy": "rolling", "config": config });
    let id = engine.deploy(more).await;
    engine
        .until(&id, |state| !state["waitingUntil"].is_null())
        .await;
    id
}

#[tokio::test]
async fn a_promotion_says_what_to_do_where_nothing_waits() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let refused = async |id: &str, word: &str| {
        for full in [false, true] {
            let body = json!({ "full": full });
            let problem = engine.post(&path(id, "promote"), body).await;
            let problem = problem.problem(409, "illegal-state");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(word), "{detail}");
        }
    };
    let gated = engine.deploy(json!({ "requireApproval": true })).await;
    engine.asking(&gated).await;
    refused(&gated, "approve").await;
    engine.post(&path(&gated, "abort"), json!({})).await.ok();
    engine.ended(&gated).await;
    refused(&gated, "ended").await;

    let waiting = slow(&engine).await;
    engine.post(&path(&waiting, "pause"), json!({})).await.ok();
    refused(&waiting, "resume").await;
    engine.post(&path(&waiting, "resume"), json!({})).await.ok();
    let body = json!({ "full": true, "reason": "seen", "requesterEmail": "bob@example.org" });
    let promoted = engine.post(&path(&waiting, "promote"), body).await.ok();
    assert_eq!(promoted["promoted"], true);
    assert_eq!(engine.ended(&waiting).await["status"], "succeeded");
    let events = engine.get(&path(&waiting, "events")).await.text();
    assert!(events.contains("promoteRequested") && events.contains("bob@example.org"));
    engine.stop().await;
}

#[tokio::test]
async fn a_retry_asks_for_the_same_and_names_the_deployment_and_the_component() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let more = json!({
        "strategy": "rolling",
        "config": { "batch": 1, "settle": "1ms" },
        "description": "faster",
        "metadata": { "ticket": "SHOP-3" },
        "requireApproval": true,
    });
    let first = engine.deploy(more).await;
    engine.asking(&first).await;
    let problem = engine.post(&path(&first, "retry"), json!({})).await;
    problem.problem(409, "deployment-running");
    engine.post(&path(&first, "abort"), json!({})).await.ok();
    let first_state = engine.ended(&first).await;

    let post = async |key: &'static str| {
        let path = path(&first, "retry");
        let request = engine.send(Method::POST, &path, |it| {
            it.header("idempotency-key", key)
                .json(&json!({ "requesterEmail": "bob@example.org" }))
        });
        request.await.ok()
    };
    let accepted = post("again").await;
    let again = id(&accepted);
    assert_eq!(id(&post("again").await), again);
    assert_eq!(accepted["version"], "1.0.0");
    let reason = accepted["reason"].as_str().unwrap();
    assert!(
        reason.contains("rolling") && reason.contains("same component"),
        "{reason}"
    );
    let state = engine.asking(&again).await;
    assert_eq!(state["retryOf"], first);
    assert_eq!(state["requesterEmail"], "bob@example.org");
    for field in [
        "version",
        "strategy",
        "config",
        "description",
        "metadata",
        "requireApproval",
    ] {
        assert_eq!(state[field], first_state[field], "{field}");
    }
    let listed = engine.get(DEPLOYMENTS).await.ok();
    assert_eq!(listed["deployments"][0]["retryOf"], first);
    let diff = format!("{}?with={first}", path(&again, "diff"));
    let diff = engine.get(&diff);
    assert_eq!(diff.await.ok()["differences"], json!([]));

    let approval = json!({ "approved": true });
    engine.post(&path(&again, "approval"), approval).await.ok();
    assert_eq!(engine.ended(&again).await["status"], "succeeded");
    let problem = engine.post(&path(&again, "retry"), json!({})).await;
    let problem = problem.problem(409, "illegal-state");
    assert!(
        problem["detail"].as_str().unwrap().contains("rollback"),
        "{problem}"
    );
    engine.stop().await;
}

#[tokio::test]
async fn a_version_that_was_deleted_is_named_by_retry_and_undo() {
    let (engine, _) = three_successes().await;
    engine.push("hello", "4.0.0", HELLO_V1).await;
    let failed = engine
        .deploy(json!({ "version": "4.0.0", "requireApproval": true }))
        .await;
    engine.asking(&failed).await;
    engine.post(&path(&failed, "abort"), json!({})).await.ok();
    engine.ended(&failed).await;
    for version in ["4.0.0", "1.0.0"] {
        let path = format!("/api/v1/modules/hello/versions/{version}");
        assert_eq!(engine.delete(&path).await.status, 204, "{version}");
    }
    let undo = format!("{MODULE}/undo");
    for (path, body, version) in [
        (path(&failed, "retry"), json!({}), "4.0.0"),
        (undo, json!({ "to": "1.0.0" }), "1.0.0"),
    ] {
        let problem = engine.post(&path, body).await.problem(409, "version-gone");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(version) && detail.contains("deleted"),
            "{detail}"
        );
    }
    engine.stop().await;
}

#[tokio::test]
async fn an_undo_goes_back_to_the_success_before_and_a_second_one_returns() {
    let (engine, successes) = three_successes().await;
    let undo = format!("{MODULE}/undo");
    let accepted = engine.post(&undo, json!({})).await;
    assert_eq!(accepted.status, 202);
    let accepted = accepted.json();
    assert_eq!(accepted["version"], "2.0.0");
    assert_eq!(accepted["reason"], "the last success before 3.0.0");
    let state = engine.ended(&id(&accepted)).await;
    assert_eq!(
        (&state["status"], &state["undoTo"]),
        (&json!("succeeded"), &json!(successes[1]))
    );
    // By the strategy and the configuration of that success.
    assert_eq!(
        (&state["strategy"], &state["config"]["batch"]),
        (&json!("rolling"), &json!(1))
    );
    assert_eq!(engine.active("node-1", "hello").as_deref(), Some("2.0.0"));
    let accepted = engine.post(&undo, json!({})).await.json();
    assert_eq!(accepted["version"], "3.0.0");
    engine.ended(&id(&accepted)).await;

    for (to, version) in [("1.0.0", "1.0.0"), (&successes[1], "2.0.0")] {
        let accepted = engine.post(&undo, json!({ "to": to })).await.json();
        assert_eq!(
            (&accepted["version"], &accepted["reason"]),
            (&json!(version), &json!("as requested"))
        );
        engine.ended(&id(&accepted)).await;
    }
    let unknown = engine.post(&undo, json!({ "to": "9.9.9" })).await;
    let problem = unknown.problem(409, "nothing-before");
    let detail = problem["detail"].as_str().unwrap();
    for word in ["9.9.9", "1.0.0", "3.0.0", successes[0].as_str()] {
        assert!(detail.contains(word), "{word}: {detail}");
    }
    let invalid = engine.post(&undo, json!({ "to": "newest" })).await;
    invalid.problem(422, "invalid-request");
    engine.stop().await;
}

#[tokio::test]
async fn a_repeated_undo_gets_the_deployment_of_the_first() {
    let (engine, _) = three_successes().await;
    let post = async || {
        let undo = format!("{MODULE}/undo");
        let request = engine.send(Method::POST, &undo, |it| {
            it.header("idempotency-key", "back").json(&json!({}))
        });
        request.await.ok()
    };
    let first = post().await;
    engine.ended(&id(&first)).await;
    // By now, the success before the present one is another.
    let again = post().await;
    assert_eq!(first, again);
    engine.stop().await;
}

#[tokio::test]
async fn an_undo_after_a_retirement_brings_the_module_back() {
    let (engine, _) = three_successes().await;
    assert_eq!(engine.delete(MODULE).await.status, 204);
    let accepted = engine.post(&format!("{MODULE}/undo"), json!({})).await.ok();
    assert_eq!(accepted["version"], "3.0.0");
    let reason = accepted["reason"].as_str().unwrap();
    assert!(reason.contains("retired"), "{reason}");
    engine.ended(&id(&accepted)).await;
    engine.stop().await;
}

/// Its strategy was deleted since: it is changed at once, and the answer says why.
#[tokio::test]
async fn an_undo_whose_strategy_is_gone_says_so() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let strategies = "/api/v1/strategies";
    engine
        .wasm(Method::POST, strategies, hotswap_guests::HALVES)
        .await
        .ok();
    let first = engine
        .deploy(json!({ "strategy": "halves", "config": { "watch": "1ms" } }))
        .await;
    assert_eq!(engine.ended(&first).await["status"], "succeeded");
    engine.push("hello", "2.0.0", HELLO_V2).await;
    let second = engine.deploy(json!({})).await;
    engine.ended(&second).await;
    engine.delete("/api/v1/strategies/halves").await;
    let accepted = engine.post(&format!("{MODULE}/undo"), json!({})).await.ok();
    let reason = accepted["reason"].as_str().unwrap();
    assert!(
        reason.contains("by direct, because strategy 'halves'"),
        "{reason}"
    );
    let state = engine.ended(&id(&accepted)).await;
    assert_eq!(
        (&state["strategy"], &state["version"]),
        (&json!("direct"), &json!("1.0.0"))
    );
    engine.stop().await;
}

#[tokio::test]
async fn the_history_of_a_module_tells_what_was_decided_and_how_it_came() {
    let (engine, successes) = three_successes().await;
    let failed = engine.deploy(json!({ "requireApproval": true })).await;
    engine.asking(&failed).await;
    engine.post(&path(&failed, "abort"), json!({})).await.ok();
    engine.ended(&failed).await;
    let rollback = engine
        .post(&path(&successes[2], "rollback"), json!({}))
        .await
        .ok();
    engine.ended(&id(&rollback)).await;
    let retry = engine.post(&path(&failed, "retry"), json!({})).await.ok();
    engine.asking(&id(&retry)).await;
    let approval = json!({ "approved": true });
    engine
        .post(&path(&id(&retry), "approval"), approval)
        .await
        .ok();
    engine.ended(&id(&retry)).await;
    let undo = engine.post(&format!("{MODULE}/undo"), json!({})).await.ok();
    engine.ended(&id(&undo)).await;
    let body = json!({ "reason": "sold" });
    let retired = engine
        .send(Method::DELETE, MODULE, |it| it.json(&body))
        .await;
    assert_eq!(retired.status, 204);

    let history = format!("{MODULE}/history");
    let all = engine.get(&history).await.ok();
    let all = all["entries"].as_array().unwrap();
    let told = |field: &str| -> Vec<_> { all.iter().map(|one| one[field].clone()).collect() };
    assert_eq!(
        told("kind"),
        [
            "retired",
            "undo",
            "retry",
            "rollback",
            "deployment",
            "deployment",
            "deployment"
        ]
    );
    assert_eq!(
        told("version"),
        [
            Value::Null,
            json!("2.0.0"),
            json!("3.0.0"),
            json!("2.0.0"),
            json!("3.0.0"),
            json!("2.0.0"),
            json!("1.0.0")
        ]
    );
    assert_eq!(
        told("current"),
        [true, false, false, false, false, false, false]
    );
    assert_eq!(all[0]["description"], "sold");
    assert_eq!(
        (&all[2]["of"], &all[3]["of"]),
        (&json!(failed), &json!(successes[2]))
    );
    assert_eq!(
        (&all[6]["by"], &all[6]["strategy"]),
        (&json!("ada@example.org"), &json!("rolling"))
    );

    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = engine.get(&format!("{history}?limit=2{cursor}")).await.ok();
        paged.extend(page["entries"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(&paged, all);
    let invalid = engine.get(&format!("{history}?cursor=p7")).await;
    invalid.problem(400, "bad-request");
    let nothing = engine
        .get("/api/v1/clusters/qa/modules/bye/history")
        .await
        .ok();
    assert_eq!(nothing, json!({ "entries": [] }));
    engine.stop().await;
}

#[tokio::test]
async fn a_deployment_is_compared_with_the_success_before_it_or_with_any_other() {
    let (engine, successes) = three_successes().await;
    let more = json!({ "strategy": "rolling", "config": { "batch": 2 }, "version": "3.0.0" });
    let next = engine.deploy(more).await;
    engine.ended(&next).await;
    let diff = engine.get(&path(&next, "diff")).await.ok();
    assert_eq!(
        (&diff["executionId"], &diff["with"]),
        (&json!(next), &json!(successes[2]))
    );
    let by_path = |diff: &Value, path: &str| {
        let differences = diff["differences"].as_array().unwrap().clone();
        differences.into_iter().find(|one| one["path"] == path)
    };
    assert_eq!(
        by_path(&diff, "config.batch"),
        Some(json!({ "path": "config.batch", "before": 1, "after": 2 }))
    );
    assert_eq!(by_path(&diff, "module.version"), None);
    let with = format!("{}?with={}", path(&next, "diff"), successes[0]);
    let diff = engine.get(&with).await.ok();
    let version = by_path(&diff, "module.version").unwrap();
    assert_eq!(
        (&version["before"], &version["after"]),
        (&json!("1.0.0"), &json!("3.0.0"))
    );
    assert!(by_path(&diff, "module.digest").is_some());
    engine.stop().await;
}
