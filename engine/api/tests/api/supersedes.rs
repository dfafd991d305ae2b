//! A deployment that supersedes the one under way.

use reqwest::Method;
use serde_json::json;

use crate::fixture::{Fixture, deployment};

const DEPLOYMENTS: &str = "/api/v1/deployments";

#[tokio::test]
async fn a_deployment_supersedes_the_open_one_and_says_what_it_waits_for() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let gated = json!({ "requireApproval": true });
    let old = engine.deploy(gated.clone()).await;
    engine.asking(&old).await;
    let busy = engine.post(DEPLOYMENTS, deployment(json!({}))).await;
    let problem = busy.problem(409, "deployment-running");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("--supersede"), "{detail}");
    let post = async |supersede: bool| {
        let body = deployment(json!({ "supersede": supersede }));
        let request = engine.send(Method::POST, DEPLOYMENTS, |it| {
            it.header("idempotency-key", "new").json(&body)
        });
        request.await
    };
    let new = post(true).await.ok()["executionId"].clone();
    let new = new.as_str().unwrap();
    assert_eq!(post(true).await.ok()["executionId"], new);
    post(false).await.problem(422, "idempotency-key-reused");
    let old_state = engine.ended(&old).await;
    assert!(
        old_state["cause"]["message"]
            .as_str()
            .unwrap()
            .contains(new)
    );
    let new_state = engine.ended(new).await;
    assert_eq!(
        (&new_state["status"], &new_state["supersedes"]),
        (&json!("succeeded"), &json!(old))
    );
    assert!(new_state["waitsFor"].is_null());
    engine.stop().await;
}

#[tokio::test]
async fn one_whose_journal_cannot_be_read_must_be_terminated_first() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let old = engine.deploy(json!({ "requireApproval": true })).await;
    engine.asking(&old).await;
    engine.tamper(
        "UPDATE event SET body = CAST('{' AS BLOB)
         WHERE seq = 1 AND deployment = (SELECT max(number) FROM deployment)",
    );
    let body = deployment(json!({ "supersede": true }));
    let refused = engine.post(DEPLOYMENTS, body).await;
    let problem = refused.problem(409, "damaged-journal");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("terminate {old}")), "{detail}");
    engine.stop().await;
}
