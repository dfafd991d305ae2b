//! Which subscribers get which notifications, how often and in which order.

use hotswap_core::{Answer, Call, Check, EventBody, Finding, Judgement, Verdict};
use serde_json::{Value, json};

use super::start;
use super::support::{
    DEPLOYMENTS, HubClient, ManualDeployment, STATUS, SUBSCRIBE, SUBSCRIBE_TO_ALL, planned,
};

fn execution_id(deployment: &ManualDeployment) -> Value {
    deployment.id.to_string().into()
}

#[tokio::test]
async fn every_subscriber_gets_each_notification_once_and_in_order() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hubs = Vec::new();
    for _ in 0..20 {
        hubs.push(HubClient::subscribed(&engine, &deployment).await);
    }
    for times in [1, 7, 1] {
        deployment.toggle(times).await;
    }
    deployment.end().await;
    let mut events = Vec::new();
    for hub in &mut hubs {
        events.push(hub.events_until("DeploymentFailed").await);
        hub.assert_no_events().await;
    }
    assert_eq!(events[0].len(), 9 + 3);
    let statuses = events[0].iter().filter(|event| event.target == STATUS);
    let previous_statuses = statuses
        .clone()
        .map(|event| &event.argument["previousStatus"]);
    let statuses = statuses.map(|event| &event.argument["status"]);
    // Each previous status is the status before.
    assert!(
        previous_statuses
            .skip(1)
            .eq(statuses.clone().take(statuses.count() - 1)),
        "{:?}",
        events[0]
    );
    for other in &events[1..] {
        assert_eq!(other, &events[0]);
    }
    engine.stop().await;
}

#[tokio::test]
async fn subscribers_get_only_the_deployments_they_subscribe_to() {
    let engine = start().await;
    let mut deployments = [
        ManualDeployment::start(&engine).await,
        ManualDeployment::start(&engine).await,
    ];
    let mut hubs = [
        HubClient::subscribed(&engine, &deployments[0]).await,
        HubClient::subscribed(&engine, &deployments[1]).await,
    ];
    let mut both = HubClient::subscribed(&engine, &deployments[0]).await;
    both.invoke(SUBSCRIBE, deployments[1].arguments())
        .await
        .unwrap();
    for turn in [0, 1, 1, 0, 1] {
        deployments[turn].toggle(1).await;
        let event = hubs[turn].event().await;
        assert_eq!(
            event.argument["executionId"],
            execution_id(&deployments[turn])
        );
        assert_eq!(both.event().await, event);
    }
    for hub in &mut hubs {
        hub.assert_no_events().await;
    }
    both.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_subscription_to_all_includes_later_deployments() {
    let engine = start().await;
    let mut first = ManualDeployment::start(&engine).await;
    let mut ended = ManualDeployment::start(&engine).await;
    ended.end().await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let answer = hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    assert_eq!(answer["recovered"], false);
    assert_eq!(answer["snapshot"]["more"], false);
    let shown = answer["snapshot"]["deployments"].as_array().unwrap();
    assert_eq!(shown.len(), 1, "the one that has not ended: {shown:?}");
    assert_eq!(shown[0]["executionId"], execution_id(&first));
    first.toggle(1).await;
    let mut second = ManualDeployment::start(&engine).await;
    second.toggle(1).await;
    first.end().await;
    let events = hub.events(1 + 3 + 3).await;
    let expected = [&first, &second, &second, &second, &first, &first, &first];
    let ids = events
        .iter()
        .map(|event| event.argument["executionId"].clone());
    assert!(ids.eq(expected.map(execution_id)), "{events:?}");
    assert_eq!(events[1].target, "DeploymentStarted");
    assert_eq!(events[1].argument["targetEnvironment"], "qa");
    // A client that resumes gets the rest, of all deployments.
    for (seen, last) in events.iter().enumerate() {
        let mut again = HubClient::connect(&engine, DEPLOYMENTS).await;
        let answer = again
            .invoke(SUBSCRIBE_TO_ALL, json!([last.position()]))
            .await
            .unwrap();
        assert_eq!(answer["recovered"], true, "{answer}");
        let missed = &events[seen + 1..];
        assert_eq!(again.events(missed.len()).await, missed);
        again.assert_no_events().await;
    }
    // Unsubscribed clients get nothing.
    hub.invoke("UnsubscribeFromAllDeployments", json!([]))
        .await
        .unwrap();
    let mut witness = HubClient::subscribed_to_all(&engine).await;
    second.toggle(1).await;
    witness.event().await;
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn two_subscriptions_of_one_connection_are_independent() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::subscribed(&engine, &deployment).await;
    hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    let mut witness = HubClient::subscribed(&engine, &deployment).await;
    let mut all = HubClient::subscribed_to_all(&engine).await;
    deployment.toggle(3).await;
    let events = witness.events(3).await;
    assert_eq!(all.events(3).await, events);
    let mut received = hub.events(6).await;
    hub.assert_no_events().await;
    // Each notification comes once for each subscription, and each subscription is in order.
    for expected in &events {
        let count = received.iter().filter(|event| *event == expected).count();
        assert_eq!(count, 2, "{received:?}");
    }
    let mut first_copies = Vec::new();
    received.retain(|event| {
        let is_first = !first_copies.contains(event);
        first_copies.extend(is_first.then(|| event.clone()));
        !is_first
    });
    assert_eq!((first_copies, received), (events.clone(), events));
    // Unsubscribing from one leaves the other.
    hub.invoke("UnsubscribeFromAllDeployments", json!([]))
        .await
        .unwrap();
    deployment.toggle(1).await;
    assert_eq!(hub.event().await, witness.event().await);
    all.event().await;
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn what_a_soak_came_to_is_told_in_the_words_of_the_api() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::subscribed(&engine, &deployment).await;
    let check = Check {
        metric: "restarts".to_owned(),
        max: Some(0.0),
        max_increase: None,
        min_increase: None,
    };
    let soaked = EventBody::Called {
        call: 0,
        request: Call::Soak {
            window: 60_000,
            canary: vec!["a".parse().unwrap()],
            baseline: Vec::new(),
            checks: vec![check.clone()],
        },
        due: None,
        readings: Vec::new(),
        answer: None,
    };
    let judged = EventBody::Answered {
        call: 0,
        answer: Answer::Verdict(Verdict {
            judgement: Judgement::Pass,
            findings: vec![Finding {
                check,
                judgement: Judgement::Pass,
                canary: Some(0.0),
                baseline: None,
                canary_samples: 0,
                baseline_samples: 0,
                reason: "nodes of the new version restarted never".to_owned(),
                conditions: Vec::new(),
                queried: Vec::new(),
            }],
            promoted_by: Some("ada".to_owned()),
        }),
    };
    deployment.append([planned(["a"]), soaked, judged]).await;
    let events = hub.events_until("SoakJudged").await;
    let told = &events.last().unwrap().argument;
    assert_eq!(
        (&told["judgement"], &told["promotedBy"]),
        (&json!("pass"), &json!("ada"))
    );
    let path = format!("/api/v1/deployments/{}", deployment.id);
    let state = engine.get(&path).await.ok();
    let of_api = &state["findings"];
    assert_eq!(told["findings"], *of_api, "{state}");
    engine.stop().await;
}

#[tokio::test]
async fn a_promotion_is_told_with_who_ended_the_wait_and_why() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::subscribed(&engine, &deployment).await;
    let mut all = HubClient::subscribed_to_all(&engine).await;
    let slept = EventBody::Called {
        call: 0,
        request: Call::Sleep { span: 3_600_000 },
        due: None,
        readings: Vec::new(),
        answer: None,
    };
    let promoted = EventBody::PromoteRequested {
        by: "ada".to_owned(),
        reason: Some("it is urgent".to_owned()),
        full: true,
    };
    deployment.append([planned(["a"]), slept, promoted]).await;
    for hub in [&mut hub, &mut all] {
        let events = hub.events_until("DeploymentPromoted").await;
        let told = &events.last().unwrap().argument;
        assert_eq!(told["executionId"], execution_id(&deployment));
        assert_eq!(
            (&told["by"], &told["reason"], &told["full"]),
            (&json!("ada"), &json!("it is urgent"), &json!(true))
        );
        assert!(told["timestamp"].is_u64(), "{told}");
    }
    engine.stop().await;
}
