//! How subscriptions start and end.

use std::collections::BTreeSet;

use hotswap_core::DeploymentId;
use serde_json::{Value, json};

use super::start;
use super::support::{
    DEPLOYMENTS, HubClient, HubEvent, METRICS, ManualDeployment, STATUS, STREAM, SUBSCRIBE,
    TIMEOUT, assert_recovered, assert_snapshot, log, planned, progress,
};

const UNSUBSCRIBE: &str = "UnsubscribeFromDeployment";

/// Waits until at most `before` tasks are alive. Each watched deployment has one.
async fn wait_for_tasks(before: usize) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let settled = async {
        while metrics.num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(TIMEOUT, settled).await;
    let now = metrics.num_alive_tasks();
    assert!(settled.is_ok(), "{now} tasks are alive, before {before}");
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

#[tokio::test]
async fn a_subscription_starts_with_a_snapshot() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let bodies = [planned(["node-1", "node-2"]), progress(30), log("a line")];
    deployment.append(bodies).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let state = engine.get(&deployment.path()).await.ok();
    let id = deployment.id.to_string();
    for arguments in [json!([id]), json!([id, null]), json!([id.to_uppercase()])] {
        let answer = hub.invoke(SUBSCRIBE, arguments).await.unwrap();
        assert_snapshot(&answer);
        assert_eq!(answer["snapshot"], state);
        assert!(answer["epoch"].is_string() && answer["offset"].is_string());
    }
    hub.assert_no_events().await;
    deployment.toggle(1).await;
    let event = hub.event().await;
    assert_eq!(event.argument["previousStatus"], "running");
    engine.stop().await;
}

#[tokio::test]
async fn subscribing_again_sends_nothing_twice() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap());
    }
    deployment.toggle(3).await;
    let mut events = hub.events(3).await;
    let again = hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    assert_eq!(again["offset"], events[2].offset());
    // A client that resumes from an earlier position gets the rest again.
    let resumed = deployment.arguments_after(&events[0].position());
    let resumed = hub.invoke(SUBSCRIBE, resumed).await.unwrap();
    assert_recovered(&resumed, &events[0].position());
    assert_eq!(hub.events(2).await, events[1..]);
    deployment.toggle(1).await;
    events.push(hub.event().await);
    hub.assert_no_events().await;
    assert!(events.is_sorted_by_key(HubEvent::offset), "{events:?}");
    // One unsubscribe ends all of them.
    hub.invoke(UNSUBSCRIBE, deployment.arguments())
        .await
        .unwrap();
    let mut witness = HubClient::connect(&engine, DEPLOYMENTS).await;
    witness
        .invoke(SUBSCRIBE, deployment.arguments())
        .await
        .unwrap();
    deployment.toggle(1).await;
    witness.event().await;
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn unsubscribing_releases_all_resources() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    hub.assert_no_events().await;
    let before = alive_tasks();
    let unknown = hub.invoke(UNSUBSCRIBE, deployment.arguments()).await;
    assert_eq!(unknown, Ok(Value::Null), "nothing was subscribed to");
    for _ in 0..3 {
        hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
        assert!(alive_tasks() > before, "the deployment is watched");
        deployment.toggle(1).await;
        hub.event().await;
        let answer = hub.invoke(UNSUBSCRIBE, deployment.arguments()).await;
        assert_eq!(answer, Ok(Value::Null));
        wait_for_tasks(before).await;
        deployment.toggle(1).await;
        hub.assert_no_events().await;
    }
    // So does a stream that is cancelled, or whose client disconnects.
    for _ in 0..3 {
        let stream = hub.stream(STREAM, deployment.arguments()).await;
        assert_eq!(hub.item(&stream).await.unwrap().target, "Subscribed");
        hub.send(&json!({"type": 5, "invocationId": stream})).await;
        assert_eq!(hub.item(&stream).await, None);
        wait_for_tasks(before).await;
    }
    let mut other = HubClient::connect(&engine, DEPLOYMENTS).await;
    other
        .invoke(SUBSCRIBE, deployment.arguments())
        .await
        .unwrap();
    let stream = other.stream(STREAM, deployment.arguments()).await;
    other.item(&stream).await.unwrap();
    drop(other);
    wait_for_tasks(before).await;
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn invalid_invocations_get_an_explanation() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let unknown_id = DeploymentId::generate().to_string();
    let id = deployment.id.to_string();
    for method in [SUBSCRIBE, STREAM] {
        let exception = |text: &str| {
            format!(
                "An unexpected error occurred invoking '{method}' on the server. HubException: {text}"
            )
        };
        let unknown = exception(&format!("no deployment {unknown_id}"));
        let invalid_id = exception(
            "argument 1 is not an execution id: use the executionId that the deployment was accepted with",
        );
        let too_many = exception("Invocation provides 3 argument(s) but target expects 2.");
        for (arguments, expected) in [
            (json!([unknown_id]), unknown),
            (json!(["x"]), invalid_id),
            (json!([id, null, 1]), too_many),
        ] {
            let error = error_of(&mut hub, method, arguments).await;
            assert_eq!(error, expected);
        }
        for (arguments, number) in [
            (json!([]), 1),
            (json!([7]), 1),
            (json!([id, 7]), 2),
            (json!([id, {"epoch": "x"}]), 2),
        ] {
            let error = error_of(&mut hub, method, arguments).await;
            let expected = exception(&format!("argument {number} is invalid: "));
            assert!(error.starts_with(&expected), "{error}");
        }
    }
    let unknown = hub
        .invoke("subscribeToDeployment", deployment.arguments())
        .await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown, "Unknown hub method 'subscribeToDeployment'");
    hub.assert_no_events().await;
    let mut metrics = HubClient::connect(&engine, METRICS).await;
    let unknown = metrics.invoke("SubscribeToMetrics", json!(["mars"])).await;
    let unknown = unknown.unwrap_err();
    assert!(
        unknown.ends_with("HubException: no environment 'mars'"),
        "{unknown}"
    );
    engine.stop().await;
}

async fn error_of(hub: &mut HubClient, method: &str, arguments: Value) -> String {
    if method != STREAM {
        return hub.invoke(method, arguments).await.unwrap_err();
    }
    let id = hub.stream(method, arguments).await;
    let completion = hub.message().await.unwrap();
    assert_eq!(
        (&completion["type"], &completion["invocationId"]),
        (&json!(3), &json!(id))
    );
    completion["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_has_at_most_a_hundred_subscriptions() {
    let engine = start().await;
    let started = (0..101).map(|_| ManualDeployment::start(&engine));
    let mut deployments = futures_util::future::join_all(started).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    for deployment in &deployments[..100] {
        hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    }
    let last = deployments[100].arguments();
    let error = hub.invoke(SUBSCRIBE, last.clone()).await.unwrap_err();
    let reason = "this connection subscribes to 100 deployments, the maximum: unsubscribe from one first, or use a second connection";
    assert!(error.ends_with(reason), "{error}");
    // Subscribing again to one of the hundred does not count.
    hub.invoke(SUBSCRIBE, deployments[0].arguments())
        .await
        .unwrap();
    hub.invoke(UNSUBSCRIBE, deployments[0].arguments())
        .await
        .unwrap();
    // Neither does an unknown deployment.
    let unknown = json!([DeploymentId::generate().to_string()]);
    hub.invoke(SUBSCRIBE, unknown).await.unwrap_err();
    hub.invoke(SUBSCRIBE, last).await.unwrap();
    for deployment in [0, 100, 1] {
        deployments[deployment].toggle(1).await;
    }
    let ids = hub
        .events(2)
        .await
        .into_iter()
        .map(|event| event.argument["executionId"].to_string());
    // Each deployment has its events in order; two of them do not wait for each other.
    let expected = [100, 1].map(|it| json!(deployments[it].id.to_string()).to_string());
    assert_eq!(ids.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_stream_completes_when_the_deployment_ends() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let state = engine.get(&deployment.path()).await.ok();
    let before = alive_tasks();
    let stream = hub.stream(STREAM, deployment.arguments()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_eq!(subscribed.target, "Subscribed");
    assert_snapshot(&subscribed.argument);
    assert_eq!(subscribed.argument["snapshot"], state);
    deployment.toggle(1).await;
    let event = hub.item(&stream).await.unwrap();
    assert_eq!(event.argument["status"], "paused");
    deployment.end().await;
    let mut targets = Vec::new();
    while let Some(event) = hub.item(&stream).await {
        targets.push(event.target);
    }
    assert_eq!(targets, [STATUS, STATUS, "DeploymentFailed"]);
    // The stream of an ended deployment is a snapshot alone.
    let stream = hub.stream(STREAM, deployment.arguments()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_eq!(subscribed.argument["snapshot"]["status"], "failed");
    assert_eq!(hub.item(&stream).await, None);
    let answer = hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    assert_eq!(answer["snapshot"]["status"], "failed");
    hub.invoke(UNSUBSCRIBE, deployment.arguments())
        .await
        .unwrap();
    wait_for_tasks(before).await;
    engine.stop().await;
}
