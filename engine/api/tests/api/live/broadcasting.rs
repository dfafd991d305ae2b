//! Who is told what, how often and in which order.

use serde_json::{Value, json};

use super::hub::{DEPLOYMENTS, Hub, STATUS, SUBSCRIBE, SUBSCRIBE_TO_ALL};
use super::start;
use super::written::Written;

fn of(deployment: &Written) -> Value {
    deployment.id.to_string().into()
}

#[tokio::test]
async fn every_subscriber_is_told_once_and_in_order() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hubs = Vec::new();
    for _ in 0..20 {
        hubs.push(Hub::subscribed(&engine, &deployment).await);
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
        Hub::subscribed(&engine, &deployments[0]).await,
        Hub::subscribed(&engine, &deployments[1]).await,
    ];
    let mut both = Hub::subscribed(&engine, &deployments[0]).await;
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
    let mut witness = Hub::subscribed_to_all(&engine).await;
    second.toggle(1).await;
    witness.event().await;
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn two_subscriptions_of_one_connection_are_both_told() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    let mut hub = Hub::subscribed(&engine, &deployment).await;
    hub.call(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    let mut witness = Hub::subscribed(&engine, &deployment).await;
    let mut all = Hub::subscribed_to_all(&engine).await;
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
