//! What a subscription begins with, and its end.

use hotswap_core::DeploymentId;
use serde_json::{Value, json};

use super::answer::{is_anew, is_recovered};
use super::hub::{DEPLOYMENTS, Hub, METRICS, STATUS, STREAM, SUBSCRIBE, Told};
use super::socket::PATIENCE;
use super::start;
use super::written::{Written, log, planned, progress};

const UNSUBSCRIBE: &str = "UnsubscribeFromDeployment";

/// Waits until as many tasks are alive as before: each deployment that somebody watches
/// has one.
async fn tasks(before: usize) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let settled = async {
        while metrics.num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    let now = metrics.num_alive_tasks();
    assert!(settled.is_ok(), "{now} tasks are alive, before {before}");
}

fn alive() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

#[tokio::test]
async fn it_begins_with_the_state_as_it_is() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let bodies = [planned(["node-1", "node-2"]), progress(30), log("a line")];
    deployment.append(bodies).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let state = engine.get(&deployment.path()).await.ok();
    let id = deployment.id.to_string();
    for arguments in [json!([id]), json!([id, null]), json!([id.to_uppercase()])] {
        let answer = hub.call(SUBSCRIBE, arguments).await.unwrap();
        is_anew(&answer);
        assert_eq!(answer["snapshot"], state);
        assert!(answer["epoch"].is_string() && answer["offset"].is_string());
    }
    hub.hears_nothing().await;
    deployment.toggle(1).await;
    let told = hub.event().await;
    assert_eq!(told.argument["previousStatus"], "running");
    engine.stop().await;
}

#[tokio::test]
async fn subscribing_again_tells_nothing_twice() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(hub.call(SUBSCRIBE, deployment.argument()).await.unwrap());
    }
    deployment.toggle(3).await;
    let mut events = hub.events(3).await;
    let again = hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    assert_eq!(again["offset"], events[2].offset());
    // Whoever says that they saw less is told the rest again.
    let resumed = deployment.after(&events[0].position());
    let resumed = hub.call(SUBSCRIBE, resumed).await.unwrap();
    is_recovered(&resumed, &events[0].position());
    assert_eq!(hub.events(2).await, events[1..]);
    deployment.toggle(1).await;
    events.push(hub.event().await);
    hub.hears_nothing().await;
    assert!(events.is_sorted_by_key(Told::offset), "{events:?}");
    // Once is enough to end it.
    hub.call(UNSUBSCRIBE, deployment.argument()).await.unwrap();
    let mut witness = Hub::connect(&engine, DEPLOYMENTS).await;
    witness
        .call(SUBSCRIBE, deployment.argument())
        .await
        .unwrap();
    deployment.toggle(1).await;
    witness.event().await;
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn unsubscribing_leaves_nothing_behind() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    hub.hears_nothing().await;
    let before = alive();
    let unknown = hub.call(UNSUBSCRIBE, deployment.argument()).await;
    assert_eq!(unknown, Ok(Value::Null), "nothing was subscribed to");
    for _ in 0..3 {
        hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
        assert!(alive() > before, "somebody watches");
        deployment.toggle(1).await;
        hub.event().await;
        let answer = hub.call(UNSUBSCRIBE, deployment.argument()).await;
        assert_eq!(answer, Ok(Value::Null));
        tasks(before).await;
        deployment.toggle(1).await;
        hub.hears_nothing().await;
    }
    // Nor does a stream that is cancelled, or whose reader has gone.
    for _ in 0..3 {
        let stream = hub.stream(STREAM, deployment.argument()).await;
        assert_eq!(hub.item(&stream).await.unwrap().target, "Subscribed");
        hub.say(&json!({"type": 5, "invocationId": stream})).await;
        assert_eq!(hub.item(&stream).await, None);
        tasks(before).await;
    }
    let mut other = Hub::connect(&engine, DEPLOYMENTS).await;
    other.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    let stream = other.stream(STREAM, deployment.argument()).await;
    other.item(&stream).await.unwrap();
    drop(other);
    tasks(before).await;
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_said_in_words() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let nobody = DeploymentId::generate().to_string();
    let id = deployment.id.to_string();
    for method in [SUBSCRIBE, STREAM] {
        let told = |text: &str| {
            format!(
                "An unexpected error occurred invoking '{method}' on the server. HubException: {text}"
            )
        };
        let unknown = told(&format!("no deployment {nobody}"));
        let no_id =
            told("argument 1 is no execution id; it is what the deployment was accepted with");
        let many = told("Invocation provides 3 argument(s) but target expects 2.");
        for (arguments, error) in [
            (json!([nobody]), unknown),
            (json!(["x"]), no_id),
            (json!([id, null, 1]), many),
        ] {
            let refused = refusal(&mut hub, method, arguments).await;
            assert_eq!(refused, error);
        }
        for (arguments, number) in [
            (json!([]), 1),
            (json!([7]), 1),
            (json!([id, 7]), 2),
            (json!([id, {"epoch": "x"}]), 2),
        ] {
            let refused = refusal(&mut hub, method, arguments).await;
            let said = told(&format!("argument {number} does not fit: "));
            assert!(refused.starts_with(&said), "{refused}");
        }
    }
    let unknown = hub
        .call("subscribeToDeployment", deployment.argument())
        .await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown, "Unknown hub method 'subscribeToDeployment'");
    hub.hears_nothing().await;
    let mut metrics = Hub::connect(&engine, METRICS).await;
    let unknown = metrics.call("SubscribeToMetrics", json!(["mars"])).await;
    let unknown = unknown.unwrap_err();
    assert!(
        unknown.ends_with("HubException: no environment 'mars'"),
        "{unknown}"
    );
    engine.stop().await;
}

async fn refusal(hub: &mut Hub, method: &str, arguments: Value) -> String {
    if method != STREAM {
        return hub.call(method, arguments).await.unwrap_err();
    }
    let id = hub.stream(method, arguments).await;
    let record = hub.record().await.unwrap();
    assert_eq!(
        (&record["type"], &record["invocationId"]),
        (&json!(3), &json!(id))
    );
    record["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_watches_a_hundred() {
    let engine = start().await;
    let begun = (0..101).map(|_| Written::begin(&engine));
    let mut deployments = futures_util::future::join_all(begun).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    for deployment in &deployments[..100] {
        hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    }
    let last = deployments[100].argument();
    let refused = hub.call(SUBSCRIBE, last.clone()).await.unwrap_err();
    let reason = "this connection watches 100 deployments: unsubscribe from one first, or use a second connection";
    assert!(refused.ends_with(reason), "{refused}");
    // One of the hundred again is no more.
    hub.call(SUBSCRIBE, deployments[0].argument())
        .await
        .unwrap();
    hub.call(UNSUBSCRIBE, deployments[0].argument())
        .await
        .unwrap();
    // Nor does one count that there is not.
    let nobody = json!([DeploymentId::generate().to_string()]);
    hub.call(SUBSCRIBE, nobody).await.unwrap_err();
    hub.call(SUBSCRIBE, last).await.unwrap();
    for deployment in [0, 100, 1] {
        deployments[deployment].toggle(1).await;
    }
    let ids = hub
        .events(2)
        .await
        .into_iter()
        .map(|told| told.argument["executionId"].clone());
    let expected = [100, 1].map(|it| json!(deployments[it].id.to_string()));
    assert_eq!(ids.collect::<Vec<_>>(), expected);
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_deployment() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let state = engine.get(&deployment.path()).await.ok();
    let before = alive();
    let stream = hub.stream(STREAM, deployment.argument()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_eq!(subscribed.target, "Subscribed");
    is_anew(&subscribed.argument);
    assert_eq!(subscribed.argument["snapshot"], state);
    deployment.toggle(1).await;
    let told = hub.item(&stream).await.unwrap();
    assert_eq!(told.argument["status"], "paused");
    deployment.end().await;
    let mut targets = Vec::new();
    while let Some(told) = hub.item(&stream).await {
        targets.push(told.target);
    }
    assert_eq!(targets, [STATUS, STATUS, "DeploymentFailed"]);
    // Of one that has ended there is the state, and the end.
    let stream = hub.stream(STREAM, deployment.argument()).await;
    let subscribed = hub.item(&stream).await.unwrap();
    assert_eq!(subscribed.argument["snapshot"]["status"], "failed");
    assert_eq!(hub.item(&stream).await, None);
    let answer = hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    assert_eq!(answer["snapshot"]["status"], "failed");
    hub.call(UNSUBSCRIBE, deployment.argument()).await.unwrap();
    tasks(before).await;
    engine.stop().await;
}
