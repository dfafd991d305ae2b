//! What the fleet sends, and what it makes of regular answers.

use futures_util::future::join_all;
use hotswap_core::{Action, Fence, Health, HttpProbe, NodeError};
use hotswap_protocol::{Heartbeat, NodeHealth};
use serde_json::json;

use super::fake_node::{FakeNode, FakeResponse, module_status, problem, unused_address};
use super::*;
use crate::fixture::ManualClock;
use crate::{Error, Fleet, SyntheticTraffic};

#[tokio::test]
async fn orders_follow_the_protocol() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, json!({}))).await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let wire_version = json!({"version": "1.2.3", "digest": version().digest.to_string()});
    for (action, expected) in [
        (
            Action::Stage(version()),
            json!({"type": "stage", "version": wire_version}),
        ),
        (
            Action::Shift {
                version: version(),
                percent: 30,
            },
            json!({"type": "shift", "version": wire_version, "percent": 30}),
        ),
        (
            Action::Promote(version()),
            json!({"type": "promote", "version": wire_version}),
        ),
        (
            Action::Revert(Some(version())),
            json!({"type": "revert", "to": wire_version}),
        ),
        (Action::Revert(None), json!({"type": "revert"})),
        (
            Action::Restart(version()),
            json!({"type": "restart", "version": wire_version}),
        ),
        (Action::Settle, json!({"type": "settle"})),
    ] {
        fleet
            .order(&node("node-0"), &order(action))
            .await
            .expect("done");
        let request = fake.requests().pop().expect("a request");
        assert_eq!(
            request.line,
            "PUT /v1/modules/shop/operations/7-stage%2Fnode%200"
        );
        assert_eq!(request.authorization, format!("Bearer {TOKEN}"));
        assert_eq!(request.body["action"], expected);
        assert_eq!(request.body["fence"], 42);
        assert_eq!(
            request.body["deployment"],
            "07070707-0707-0707-0707-070707070707"
        );
    }
}

#[tokio::test]
async fn a_node_that_cannot_load_its_active_version_says_why() {
    let broken = FakeNode::start(|_, _| {
        let mut status = module_status(0);
        let version = status["active"].clone();
        let fault =
            |slot: &str, reason: &str| json!({"slot": slot, "version": version, "reason": reason});
        status["faults"] = json!([fault("previous", "gone"), fault("active", "no memory")]);
        FakeResponse::Json(200, status)
    })
    .await;
    let (fleet, _) = fleet(&[&broken.url]).await;
    let nodes = fleet.nodes(&production(), &shop()).await.expect("one");
    assert_eq!(nodes[0].active, Some(version()));
    assert_eq!(nodes[0].fault.as_deref(), Some("no memory"));
}

#[tokio::test]
async fn nodes_are_listed_with_their_active_version() {
    let runs = FakeNode::start(|_, _| FakeResponse::Json(200, module_status(0))).await;
    let empty = FakeNode::start(|_, _| problem(404, "no such module")).await;
    let hangs = FakeNode::start(|_, _| FakeResponse::Hang).await;
    let addresses = [
        &runs.url,
        &empty.url,
        &hangs.url,
        unused_address().await.as_str(),
    ]
    .map(str::to_owned);
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let (fleet, _) = fleet(&addresses).await;
    let nodes = fleet
        .nodes(&production(), &shop())
        .await
        .expect("there are some");
    let found: Vec<_> = nodes
        .iter()
        .map(|node| (node.id.as_str(), node.health, node.active.clone()))
        .collect();
    assert_eq!(
        found,
        [
            ("node-0", Health::Passing, Some(version())),
            ("node-1", Health::Passing, None),
            ("node-2", Health::Critical, None),
            ("node-3", Health::Critical, None),
        ]
    );
    assert_eq!(nodes[0].zone.as_deref(), Some("rack 7"));
    assert_eq!(nodes[0].labels["tier"], "edge");
    let staging: Environment = "staging".parse().expect("a name");
    let none = fleet.nodes(&staging, &shop()).await.expect_err("no nodes");
    assert_eq!(none, Error::NoNodes(staging));
}

/// A fleet of one node that has sent no heartbeat for so long that it counts as gone.
async fn fleet_with_late_node(address: &str) -> (HttpFleet, Registry, Arc<ManualClock>) {
    let (store, clock) = (
        Arc::<MemoryCatalogue>::default(),
        Arc::<ManualClock>::default(),
    );
    let time = Arc::clone(&clock);
    let registry = Registry::load(store, time, Registry::DEFAULT_INTERVAL).await;
    let registry = registry.expect("it loads");
    register(&registry, 0, address).await;
    clock.advance(Duration::from_secs(60));
    let late = registry.member(&node("node-0")).expect("it is known");
    assert_eq!(late.health, Health::Critical);
    let fleet = HttpFleet::new(registry.clone(), TOKEN, options()).expect("it is set up");
    (fleet, registry, clock)
}

#[tokio::test]
async fn a_node_that_answers_is_listed_as_passing_however_old_its_heartbeat_is() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, module_status(0))).await;
    let (fleet, _, _) = fleet_with_late_node(&fake.url).await;
    let nodes = fleet.nodes(&production(), &shop()).await.expect("one node");
    assert_eq!(nodes[0].health, Health::Passing);
}

/// What every plan asks first must not wait for each dead node again and again.
#[tokio::test]
async fn a_node_that_did_not_answer_is_asked_again_once_it_is_heard_of_or_after_a_while() {
    // It leaves two questions without an answer: each is asked twice.
    let fake = FakeNode::start(|number, _| match number {
        0 | 1 | 3 | 4 => FakeResponse::Reset,
        _ => FakeResponse::Json(200, module_status(0)),
    })
    .await;
    let (fleet, registry, clock) = fleet_with_late_node(&fake.url).await;
    let health = async || {
        let nodes = fleet.nodes(&production(), &shop()).await.expect("one node");
        nodes[0].health
    };
    for _ in 0..3 {
        assert_eq!(health().await, Health::Critical);
    }
    assert_eq!(fake.requests().len(), 2, "one question, two requests");
    let passing = Heartbeat {
        health: NodeHealth::Passing,
        reason: None,
        highest_fence: 0,
        boot: None,
        control_url: None,
        data_url: None,
        modules: None,
        readiness: None,
        traffic: None,
    };
    let heard = registry.heartbeat(&node("node-0"), passing);
    assert!(heard.expect("a valid heartbeat").is_some());
    assert_eq!(health().await, Health::Passing);
    assert_eq!(
        fake.requests().len(),
        3,
        "a heartbeat came, so it is asked again"
    );
    assert_eq!(health().await, Health::Critical);
    assert_eq!(health().await, Health::Critical);
    assert_eq!(fake.requests().len(), 5);
    // Longer than the first delay with its jitter.
    clock.advance(Duration::from_secs(2));
    assert_eq!(health().await, Health::Passing);
    assert_eq!(fake.requests().len(), 6);
}

#[tokio::test]
async fn a_node_is_not_gone_because_one_request_is_not_answered() {
    let fake = FakeNode::start(|number, _| match number {
        0 => FakeResponse::Reset,
        _ => FakeResponse::Json(200, module_status(0)),
    })
    .await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let nodes = fleet.nodes(&production(), &shop()).await.expect("one node");
    assert_eq!(
        (nodes[0].health, nodes[0].active.clone()),
        (Health::Passing, Some(version()))
    );
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_node_that_answers_any_request_is_alive() {
    let fake = FakeNode::start(|_, _| problem(409, "not now")).await;
    let probe = HttpProbe {
        path: "/".to_owned(),
        expect_status: 200,
        expect_body: None,
        timeout: 1,
    };
    let share = SyntheticTraffic {
        version: &version(),
        to_version: true,
        to_others: false,
        path: "/",
        rate_per_second: 1.0,
        lasting: Duration::from_secs(1),
    };
    for request in ["order", "probe", "active", "read", "synthetic"] {
        let (fleet, registry, _) = fleet_with_late_node(&fake.url).await;
        let id = node("node-0");
        let refused = match request {
            "order" => fleet.order(&id, &order(Action::Settle)).await.is_err(),
            "probe" => fleet
                .probe(&production(), &id, &version(), &probe)
                .await
                .is_err(),
            "active" => {
                let active = fleet.active(&production(), &id, &shop()).await;
                active.is_err()
            }
            "synthetic" => fleet
                .send_synthetic(&production(), &id, &share)
                .await
                .is_err(),
            _ => fleet.read(&production(), &id, &shop()).await.is_err(),
        };
        assert!(refused, "{request}");
        let health = registry.member(&id).map(|member| member.health);
        assert_eq!(health, Some(Health::Passing), "{request}");
    }
}

#[tokio::test]
async fn a_step_of_the_wall_clock_changes_no_span_between_readings() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, module_status(6))).await;
    let (fleet, registry, clock) = fleet_with_late_node(&fake.url).await;
    let fresh = Options {
        reading_max_age: Duration::ZERO,
        ..options()
    };
    drop(fleet);
    let fleet = HttpFleet::new(registry, TOKEN, fresh).expect("it is set up");
    let id = node("node-0");
    let mut last = fleet
        .read(&production(), &id, &shop())
        .await
        .expect("a reading")
        .at;
    for step in [3600, -7200] {
        clock.step(step);
        clock.advance(Duration::from_secs(5));
        let reading = fleet
            .read(&production(), &id, &shop())
            .await
            .expect("a reading");
        assert_eq!(reading.at.since(last), Duration::from_secs(5), "{step} s");
        last = reading.at;
    }
}

#[tokio::test]
async fn a_reading_holds_the_counters_of_the_node() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, module_status(6))).await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let reading = fleet
        .read(&production(), &node("node-0"), &shop())
        .await
        .expect("it reads");
    assert_eq!(reading.boot, "first");
    assert_eq!(reading.cpu_millis, 77);
    assert!(reading.at.millis() > 0);
    let counters = &reading.versions[0];
    assert_eq!(counters.digest, version().digest);
    assert_eq!(
        (counters.requests, counters.errors, counters.memory),
        (6, 3, 4096)
    );
    assert_eq!(counters.cpu_micros, 250);
    assert_eq!(counters.latency.pairs(), [(4, 5), (9, 1)]);
}

#[tokio::test]
async fn many_readers_share_one_request() {
    let fake =
        FakeNode::start(|number, _| FakeResponse::Json(200, module_status(number as u64))).await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let (of, id, module) = (production(), node("node-0"), shop());
    let all = join_all((0..500).map(|_| fleet.read(&of, &id, &module))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn reading_a_module_that_the_node_does_not_hold_is_refused() {
    let fake = FakeNode::start(|_, _| problem(404, "no such module")).await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let error = fleet
        .read(&production(), &node("node-0"), &shop())
        .await
        .expect_err("none");
    let expected = "it holds no version of module 'shop'".to_owned();
    assert_eq!(error, NodeError::Refused(expected));
}

fn probe(timeout: u64) -> HttpProbe {
    HttpProbe {
        path: "/ready?full=1".to_owned(),
        expect_status: 200,
        expect_body: Some("green".to_owned()),
        timeout,
    }
}

#[tokio::test]
async fn a_probe_is_repeated_until_the_answer_is_as_expected() {
    let fake = FakeNode::start(|number, _| match number {
        0 => FakeResponse::Reset,
        1 => problem(503, "still starting"),
        2 => FakeResponse::Json(200, json!({"status": 500, "body": "green"})),
        3 => FakeResponse::Json(200, json!({"status": 200, "body": "red"})),
        _ => FakeResponse::Json(200, json!({"status": 200, "body": "all green"})),
    })
    .await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let good = fleet
        .probe(&production(), &node("node-0"), &version(), &probe(20_000))
        .await;
    assert_eq!(good, Ok(()));
    let requests = fake.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[4].line, "POST /v1/modules/shop/probe");
    assert_eq!(requests[4].body["path"], "/ready?full=1");
    assert_eq!(requests[4].body["version"]["version"], "1.2.3");
}

#[tokio::test]
async fn a_failing_probe_reports_the_last_answer() {
    let fake =
        FakeNode::start(|_, _| FakeResponse::Json(200, json!({"status": 503, "body": "red"})))
            .await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    for timeout in [0, 200] {
        let error = fleet
            .probe(&production(), &node("node-0"), &version(), &probe(timeout))
            .await;
        let NodeError::Unhealthy(reason) = error.expect_err("never good") else {
            panic!("it is unhealthy");
        };
        assert!(reason.contains("status 503, not 200"), "{reason}");
    }
}

#[tokio::test]
async fn a_refused_probe_ends_at_once() {
    let fake = FakeNode::start(|_, _| problem(409, "version 1.2.3 is not staged")).await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let error = fleet
        .probe(&production(), &node("node-0"), &version(), &probe(60_000))
        .await;
    let expected = NodeError::Refused("version 1.2.3 is not staged".to_owned());
    assert_eq!(error, Err(expected));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_probe_of_a_stopped_node_is_unreachable() {
    let (fleet, _) = fleet(&[&unused_address().await]).await;
    let error = fleet
        .probe(&production(), &node("node-0"), &version(), &probe(100))
        .await;
    assert!(matches!(error, Err(NodeError::Unreachable(_))), "{error:?}");
}

#[tokio::test]
async fn a_fence_that_no_engine_can_have_handed_out_is_not_believed() {
    for (seen, is_possible) in [
        (Fence::MAX.0, true),
        (Fence::MAX.0 + 1, false),
        (u64::MAX, false),
    ] {
        let problem = json!({ "type": "urn:hotswap:problem:fenced", "highestFence": seen });
        let fake = FakeNode::start(move |_, _| FakeResponse::Json(409, problem.clone())).await;
        let (fleet, _) = fleet(&[&fake.url]).await;
        let ordered = fleet.order(&node("node-0"), &order(Action::Settle)).await;
        match ordered.expect_err("it refuses") {
            NodeError::Fenced(fence) => assert_eq!((fence, true), (seen, is_possible)),
            NodeError::Other(reason) => {
                assert!(!is_possible, "{seen}: {reason}");
                assert!(reason.contains(&seen.to_string()), "{reason}");
            }
            error => panic!("{seen}: {error}"),
        }
    }
}
