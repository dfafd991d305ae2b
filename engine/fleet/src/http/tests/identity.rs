//! Answers of others than the node that a request is for.

use hotswap_core::{Action, Health, HttpProbe, NodeError};

use super::fake_node::{FakeNode, FakeResponse, module_status};
use super::*;
use crate::fleet::moved_error;
use crate::{Fleet, SyntheticTraffic};

fn probe() -> HttpProbe {
    HttpProbe {
        path: "/".to_owned(),
        expect_status: 200,
        expect_body: None,
        timeout: 1,
    }
}

/// Registers `node-0` with the start `first`.
async fn register_start(registry: &Registry, address: &str) {
    let mut registration = registration("production", address);
    registration.boot = Some("first".to_owned());
    let registered = registry.register(node("node-0"), registration).await;
    registered.expect("it registers");
}

#[tokio::test]
async fn every_request_names_the_node_and_the_start_that_it_is_for() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, module_status(0))).await;
    let registry = registry().await;
    register_start(&registry, &fake.url).await;
    let fleet = HttpFleet::new(registry, TOKEN, options()).expect("it is set up");
    let id = node("node-0");
    // Whatever comes of them.
    let _ = fleet.order(&id, &order(Action::Settle)).await;
    let _ = fleet.probe(&production(), &id, &version(), &probe()).await;
    let _ = fleet.read(&production(), &id, &shop()).await;
    let _ = fleet.nodes(&production(), &shop()).await;
    let requests = fake.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert_eq!((&*request.node, &*request.boot), ("node-0", "first"));
    }
}

#[tokio::test]
async fn what_others_answer_at_a_nodes_address_means_nothing() {
    let other_program = b"HTTP/1.1 204 X\r\n\r\n".to_vec();
    type Respond = Box<dyn Fn() -> FakeResponse + Send + Sync>;
    let others: [(Respond, &str); 5] = [
        (
            Box::new(|| FakeResponse::From("node-7", "first", 204)),
            "another node, 'node-7'",
        ),
        (
            Box::new(|| FakeResponse::From("node-7", "first", 401)),
            "another node, 'node-7'",
        ),
        (
            Box::new(|| FakeResponse::From("node-0", "second", 421)),
            "it was restarted",
        ),
        (
            Box::new(|| FakeResponse::From("node-0", "second", 401)),
            "it was restarted",
        ),
        (
            Box::new(move || FakeResponse::Raw(other_program.clone())),
            "is not a HotSwap node",
        ),
    ];
    for (respond, expected) in others {
        let fake = FakeNode::start(move |_, _| respond()).await;
        let registry = registry().await;
        register_start(&registry, &fake.url).await;
        let fleet = HttpFleet::new(registry, TOKEN, options()).expect("it is set up");
        let error = fleet.order(&node("node-0"), &order(Action::Settle)).await;
        let Err(NodeError::Unreachable(reason)) = error else {
            panic!("{expected}: {error:?}");
        };
        assert!(reason.contains(expected), "{reason}");
        let nodes = fleet.nodes(&production(), &shop()).await.expect("one");
        assert_eq!(nodes[0].health, Health::Critical, "{expected}");
    }
}

#[tokio::test]
async fn an_order_to_a_restarted_node_arrives_once_it_has_registered() {
    let fake = FakeNode::start(|_, request| match &*request.boot {
        "second" => FakeResponse::From("node-0", "second", 204),
        _ => FakeResponse::From("node-0", "second", 421),
    })
    .await;
    let registry = registry().await;
    register_start(&registry, &fake.url).await;
    let patient = Options {
        patience: Duration::from_secs(30),
        ..options()
    };
    let fleet = HttpFleet::new(registry.clone(), TOKEN, patient).expect("it is set up");
    let ordered =
        tokio::spawn(async move { fleet.order(&node("node-0"), &order(Action::Settle)).await });
    while fake.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut registration = registration("production", &fake.url);
    registration.boot = Some("second".to_owned());
    let registered = registry.register(node("node-0"), registration).await;
    registered.expect("it registers");
    assert_eq!(ordered.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_survivor_at_a_dead_nodes_address_does_not_keep_it_alive() {
    let fake = FakeNode::start(|_, _| FakeResponse::From("node-7", "first", 200)).await;
    let (store, clock) = (
        Arc::<MemoryCatalogue>::default(),
        Arc::<crate::fixture::ManualClock>::default(),
    );
    let time = Arc::clone(&clock);
    let registry = Registry::load(store, time, Registry::DEFAULT_INTERVAL).await;
    let registry = registry.expect("it loads");
    register_start(&registry, &fake.url).await;
    clock.advance(Duration::from_secs(60));
    let fleet = HttpFleet::new(registry.clone(), TOKEN, options()).expect("it is set up");
    let _ = fleet.read(&production(), &node("node-0"), &shop()).await;
    let health = registry.member(&node("node-0")).map(|member| member.health);
    assert_eq!(health, Some(Health::Critical));
}

#[tokio::test]
async fn a_node_that_has_moved_is_not_asked_for_its_old_environment() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, module_status(0))).await;
    let (fleet, registry) = fleet(&[&fake.url]).await;
    let id = node("node-0");
    let registration = registration("staging", &fake.url);
    let registered = registry.register(id.clone(), registration).await;
    registered.expect("it registers");
    let traffic = SyntheticTraffic {
        version: &version(),
        to_version: true,
        to_others: false,
        path: "/",
        rate_per_second: 1.0,
        lasting: Duration::from_secs(1),
    };
    let staging = "staging".parse().expect("an environment");
    let moved = || Some(moved_error(&staging));
    let of = production();
    let ordered = fleet.order(&id, &order(Action::Settle)).await;
    assert_eq!(ordered.err(), moved());
    let probed = fleet.probe(&of, &id, &version(), &probe()).await;
    assert_eq!(probed.err(), moved());
    assert_eq!(fleet.active(&of, &id, &shop()).await.err(), moved());
    assert_eq!(fleet.read(&of, &id, &shop()).await.err(), moved());
    let asked = fleet.send_synthetic(&of, &id, &traffic).await;
    assert_eq!(asked.err(), moved());
    assert_eq!(fake.requests().len(), 0);
    // What its old environment was told is not an answer to its new one.
    let read = fleet.read(&staging, &id, &shop()).await;
    assert!(read.is_ok(), "{read:?}");
}
