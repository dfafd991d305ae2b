use std::time::{Duration, Instant};

use hotswap_api::Role;
use serde_json::json;

use crate::fixture::{Fixture, deployment};

#[tokio::test]
async fn a_deployment_runs_from_request_to_end() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let body = deployment(json!({
        "description": "faster greetings",
        "metadata": {"ticket": "GREET-1"},
    }));
    let answer = engine.post("/api/v1/deployments", body).await;
    assert_eq!(answer.status, 202);
    let location = answer.header("location").to_owned();
    let accepted = answer.json();
    let id = accepted["executionId"].as_str().unwrap();
    assert_eq!(accepted["status"], "pending");
    assert_eq!(accepted["links"]["self"], location);
    assert_eq!(location, format!("/api/v1/deployments/{id}"));

    let ended = engine.ended(id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(ended["moduleName"], "hello");
    assert_eq!(ended["version"], "1.0.0");
    assert_eq!(ended["targetEnvironment"], "qa");
    assert_eq!(ended["requesterEmail"], "ada@example.org");
    assert_eq!(ended["metadata"]["ticket"], "GREET-1");
    assert_eq!(ended["progress"], 100);
    assert_eq!(ended["stages"][0]["name"], "all nodes");
    assert_eq!(ended["nodes"][0]["id"], "node-1");
    assert_eq!(ended["nodes"][1]["phase"], "active");
    assert!(ended.get("cause").is_none(), "{ended}");

    let events = engine.get(&format!("{location}/events")).await.ok();
    let events = events["events"].as_array().unwrap();
    assert_eq!(events[0]["body"]["type"], "requested");
    assert_eq!(events.last().unwrap()["body"]["type"], "ended");
    assert_eq!(ended["lastEvent"], events.last().unwrap()["seq"]);

    let cluster = engine.get("/api/v1/clusters/qa").await.ok();
    assert_eq!(cluster["modules"][0]["moduleName"], "hello");
    assert_eq!(cluster["modules"][0]["executionId"], id);
    engine.stop().await;
}

#[tokio::test]
async fn a_second_deployment_is_rejected_with_the_first_named() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let first = engine.deploy(json!({"requireApproval": true})).await;
    let waiting = engine.asking(&first).await;
    assert!(
        waiting["question"].is_string() && waiting["waitingUntil"].is_u64(),
        "{waiting}"
    );

    let second = engine
        .post("/api/v1/deployments", deployment(json!({})))
        .await;
    let problem = second.problem(409, "deployment-running");
    assert_eq!(problem["deployment"], first);
    let detail = problem["detail"].as_str().unwrap();
    let abort = format!("/api/v1/deployments/{first}/abort");
    assert!(detail.contains(&abort), "{detail}");

    let body = json!({"reason": "wrong version", "requesterEmail": "bob@example.org"});
    engine.post(&abort, body).await.ok();
    let ended = engine.ended(&first).await;
    assert_eq!(ended["cause"]["kind"], "abort", "{ended}");
    let message = ended["cause"]["message"].as_str().unwrap();
    assert!(
        message.contains("wrong version") && message.contains("bob"),
        "{message}"
    );
    let again = engine.post(&abort, json!({})).await;
    again.problem(409, "illegal-state");
    let next = engine.deploy(json!({})).await;
    assert_eq!(engine.ended(&next).await["status"], "succeeded");
    engine.stop().await;
}

#[tokio::test]
async fn an_approval_decides_whether_the_deployment_runs() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    for (approved, status) in [(true, "succeeded"), (false, "failed")] {
        // Decide at once: a decision is valid before the deployment asks for it.
        let id = engine.deploy(json!({"requireApproval": true})).await;
        let path = format!("/api/v1/deployments/{id}/approval");
        let body = json!({"approved": approved, "comment": "as we said", "requesterEmail": "eve@example.org"});
        engine.post(&path, body.clone()).await.ok();
        let ended = engine.ended(&id).await;
        assert_eq!(ended["status"], status, "{ended}");
        engine.post(&path, body).await.problem(409, "illegal-state");
    }
    engine.stop().await;
}

#[tokio::test]
async fn the_journal_names_the_owner_of_a_signed_token() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let path = |verb: &str| format!("/api/v1/deployments/{id}/{verb}");
    let address = json!({"requesterEmail": "eve@example.org"});
    let bob = engine.signed("bob", Role::Operator);
    bob.post(&path("pause"), address.clone()).await.ok();
    engine.post(&path("resume"), address).await.ok();
    bob.post(
        &path("abort"),
        json!({"requesterEmail": "eve@example.org", "reason": "no"}),
    )
    .await
    .ok();
    let events = engine.get(&path("events")).await.ok();
    let events = events["events"].as_array().unwrap();
    let by = |kind: &str| {
        let mut bodies = events.iter().map(|event| &event["body"]);
        let body = bodies.find(|body| body["type"] == kind);
        body.unwrap_or_else(|| panic!("{kind} in {events:?}"))["data"]["by"].clone()
    };
    assert_eq!(by("paused"), "bob");
    assert_eq!(by("resumed"), "eve@example.org");
    assert_eq!(by("abortRequested"), "bob");
    engine.stop().await;
}

#[tokio::test]
async fn pause_and_resume_need_no_body() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let path = |verb: &str| format!("/api/v1/deployments/{id}/{verb}");
    let send = async |verb: &str| {
        let path = path(verb);
        engine
            .send(reqwest::Method::POST, &path, |request| request)
            .await
    };
    send("resume").await.problem(409, "illegal-state");
    assert_eq!(send("pause").await.ok()["paused"], true);
    send("pause").await.problem(409, "illegal-state");
    assert_eq!(send("resume").await.ok()["paused"], false);
    engine.stop().await;
}

#[tokio::test]
async fn a_rollback_is_a_new_deployment_of_the_previous_version() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    let path = format!("/api/v1/deployments/{id}/rollback");
    let problem = engine
        .post(&path, json!({}))
        .await
        .problem(409, "nothing-before");
    assert!(
        problem["detail"].as_str().unwrap().contains(&id),
        "{problem}"
    );

    engine
        .push("hello", "2.0.0", hotswap_guests::HELLO_V2)
        .await;
    let id = engine.deploy(json!({})).await;
    assert_eq!(engine.ended(&id).await["version"], "2.0.0");
    let path = format!("/api/v1/deployments/{id}/rollback");
    engine
        .post(&path, json!({ "to": "newest" }))
        .await
        .problem(422, "invalid-request");
    let body = json!({"requesterEmail": "bob@example.org"});
    let answer = engine.post(&path, body).await;
    assert_eq!(answer.status, 202);
    let location = answer.header("location").to_owned();
    let accepted = answer.json();
    assert_eq!(accepted["version"], "1.0.0");
    assert_eq!(accepted["reason"], "which its nodes ran before");
    let rollback = accepted["executionId"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/deployments/{rollback}"));
    let ended = engine.ended(&rollback).await;
    assert_eq!(
        (&ended["status"], &ended["version"]),
        (&json!("succeeded"), &json!("1.0.0"))
    );
    assert_eq!(ended["rollbackOf"], id);
    assert_eq!(ended["requesterEmail"], "bob@example.org");
    assert_eq!(ended["nodes"][0]["before"], "2.0.0");
    engine.stop().await;
}

#[tokio::test]
async fn unknown_modules_versions_strategies_and_nodes_are_rejected() {
    let engine = Fixture::start().await;
    engine
        .push("hello", "1.0.0", hotswap_guests::HELLO_V1)
        .await;
    let post = async |more| engine.post("/api/v1/deployments", deployment(more)).await;
    post(json!({})).await.problem(409, "no-nodes");
    engine.node_in("qa", "node-1").await;
    for (more, pointer, word) in [
        (json!({"moduleName": "bye"}), "/moduleName", "upload"),
        (json!({"version": "9.9.9"}), "/version", "1.0.0"),
        (json!({"strategy": "bold"}), "/strategy", "direct, rolling"),
    ] {
        let problem = post(more).await.problem(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{detail}");
    }
    let more = json!({"strategy": "rolling", "config": {"batch": "many", "speed": 9}});
    let problem = post(more).await.problem(422, "invalid-config");
    let errors = problem["errors"].to_string();
    assert!(errors.contains("/config"), "{problem}");
    engine.stop().await;
}

#[tokio::test]
async fn a_rollout_that_cannot_end_before_its_deadline_is_a_problem_with_both_figures() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let config = json!({"batch": 1, "settle": "3h"});
    let body = deployment(json!({"strategy": "rolling", "config": config}));
    let refused = engine.post("/api/v1/deployments", body).await;
    let problem = refused.problem(422, "exceeds-deadline");
    let detail = problem["detail"].as_str().unwrap();
    for figure in ["takes at least 3h", "is 2h", "environments.qa"] {
        assert!(detail.contains(figure), "{detail}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn the_answer_to_a_pause_says_what_is_left_of_the_deadline() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let config = json!({"batch": 1, "settle": "1h"});
    let more = json!({"strategy": "rolling", "config": config});
    let id = engine.deploy(more).await;
    let waiting = engine
        .until(&id, |state| state["waitingUntil"].is_u64())
        .await;
    let deadline = waiting["deadline"].as_u64().unwrap();
    assert!(waiting["waitingUntil"].as_u64().unwrap() < deadline);
    assert!(waiting.get("deadlineLeft").is_none(), "{waiting}");
    let path = |verb: &str| format!("/api/v1/deployments/{id}/{verb}");
    let paused = engine.post(&path("pause"), json!({})).await.ok();
    assert!(paused.get("deadline").is_none(), "{paused}");
    let left = paused["deadlineLeft"].as_u64().unwrap();
    assert!(left > 3_600_000 && left <= 7_200_000, "{left}");
    let resumed = engine.post(&path("resume"), json!({})).await.ok();
    assert!(resumed["deadline"].as_u64().unwrap() >= deadline);
    let cluster = engine.get("/api/v1/clusters/qa").await.ok();
    assert_eq!(cluster["policy"]["pauseStopsDeadline"], true);
    engine.post(&path("abort"), json!({})).await.ok();
    let ended = engine.ended(&id).await;
    assert!(ended.get("deadline").is_none(), "{ended}");
    engine.stop().await;
}

#[tokio::test]
async fn a_list_continues_at_its_cursor() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = engine.deploy(json!({})).await;
        engine.ended(&id).await;
        ids.push(id);
    }
    ids.reverse();
    let mut path =
        "/api/v1/deployments?environment=qa&module=hello&status=succeeded&limit=2".to_owned();
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let answer = engine.get(&path).await;
        let link = answer.header("link").to_owned();
        let page = answer.ok();
        for deployment in page["deployments"].as_array().unwrap() {
            found.push(deployment["executionId"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(cursor) = page["nextCursor"].as_str() else {
            assert_eq!(link, "");
            break;
        };
        let (next, relation) = link.split_once("; ").unwrap();
        assert_eq!(relation, "rel=\"next\"");
        path = next
            .trim_start_matches('<')
            .trim_end_matches('>')
            .to_owned();
        assert!(
            path.contains(cursor) && path.contains("environment=qa"),
            "{path}"
        );
    }
    assert_eq!((found, pages), (ids, 3));
    for filter in ["environment=staging", "module=bye", "status=running"] {
        let page = engine
            .get(&format!("/api/v1/deployments?{filter}"))
            .await
            .ok();
        assert_eq!(page["deployments"], json!([]), "{filter}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_waiting_request_gets_the_next_event() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    let last = engine.asking(&id).await["lastEvent"].as_u64().unwrap();
    let path = format!("/api/v1/deployments/{id}/events?after={last}");

    let none = engine.get(&path).await.ok();
    assert_eq!(none, json!({"events": [], "after": last}));

    let waiting = {
        let (client, path) = (engine.client.clone(), format!("{path}&wait=30&limit=1"));
        tokio::spawn(async move { client.get(&path).await.ok() })
    };
    let pause = format!("/api/v1/deployments/{id}/pause");
    engine
        .post(&pause, json!({"requesterEmail": "ada@example.org"}))
        .await
        .ok();
    let page = waiting.await.unwrap();
    assert_eq!(page["events"][0]["body"]["type"], "paused");
    assert_eq!(page["events"][0]["body"]["data"]["by"], "ada@example.org");
    assert_eq!(page["after"], last + 1);
    engine.stop().await;
}

#[tokio::test]
async fn a_waiting_request_is_answered_when_the_server_shuts_down() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    let last = engine.asking(&id).await["lastEvent"].as_u64().unwrap();
    let started = Instant::now();
    let waiting = {
        let client = engine.client.clone();
        let path = format!("/api/v1/deployments/{id}/events?after={last}&wait=60");
        tokio::spawn(async move { client.get(&path).await.ok() })
    };
    // Once a later request is answered, the server has either accepted the earlier one or
    // will never accept it. Both must end well.
    engine.get("/health/ready").await.ok();
    engine.stop().await;
    match waiting.await {
        Ok(answer) => assert_eq!(answer["events"], json!([])),
        Err(error) => assert!(error.is_panic(), "{error}"),
    }
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
}
