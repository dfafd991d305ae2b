//! What becomes of a node that a registry has lost.

use hotswap_common::{CurrentSecret, Secret};
use hotswap_core::Health;
use hotswap_protocol::{Heartbeat, Identity, NodeHealth};
use serde_json::to_value;

use super::fake_node::{FakeNode, FakeResponse, ReceivedRequest};
use super::*;
use crate::discovery::{Instance, Liveness, Networks, Prober as _};
use crate::{NodeProber, PollClient};

/// Answers as `node-0`, which holds this token.
fn identity(request: &ReceivedRequest, token: &str, stopping: bool) -> FakeResponse {
    identity_of("node-0", request, token, stopping)
}

fn identity_of(id: &str, request: &ReceivedRequest, token: &str, stopping: bool) -> FakeResponse {
    let challenge = request.line.split_once("challenge=");
    let (_, challenge) = challenge.expect("a challenge");
    // The fake node does not know where it is: it is asked where it says that others reach it.
    let mut identity = Identity {
        id: id.to_owned(),
        boot: request.boot.clone(),
        address: "10.0.0.1:1".to_owned(),
        control_url: format!("http://{}", request.host),
        stopping,
        proof: String::new(),
    };
    let message = identity.message(challenge);
    identity.proof = Secret::new(token).prove(message.as_bytes());
    FakeResponse::Json(200, to_value(&identity).expect("JSON"))
}

fn instance(url: &str) -> Instance {
    Instance {
        id: node("node-0"),
        environment: None,
        zone: None,
        version: None,
        labels: [].into(),
        control_url: Some(url.to_owned()),
        data_url: None,
        health: Health::Passing,
    }
}

/// Probes `node-0` at this URL, where nodes may be in these networks.
async fn probe(url: &str, networks: Networks, registry: Registry) -> Liveness {
    let token = CurrentSecret::from(Secret::new(TOKEN));
    let client = PollClient::new(token, &options(), &Default::default()).expect("it is set up");
    let prober = NodeProber::new(Arc::new(client), networks, registry);
    prober.probe(&instance(url)).await
}

fn here() -> Networks {
    Networks::new(vec!["127.0.0.0/8".parse().expect("a network")])
}

#[tokio::test]
async fn a_node_that_proves_who_it_is_says_whether_it_stops() {
    for (stopping, liveness) in [(true, Liveness::Stopping), (false, Liveness::Alive)] {
        let fake = FakeNode::start(move |_, request| identity(request, TOKEN, stopping)).await;
        let probed = probe(&fake.url, here(), registry().await).await;
        assert_eq!(probed, liveness);
        // It has got no token.
        assert_eq!(fake.requests()[0].authorization, "");
    }
}

#[tokio::test]
async fn only_a_node_of_this_engine_can_say_that_it_stops() {
    let other = FakeNode::start(|_, request| identity(request, "another-token-of-16", true)).await;
    let probed = probe(&other.url, here(), registry().await).await;
    assert_eq!(probed, Liveness::Alive);
}

#[tokio::test]
async fn another_node_or_program_at_the_address_is_not_the_node() {
    for what in ["another node", "another node by its header", "no node"] {
        let fake = FakeNode::start(move |_, request| match what {
            "another node" => identity_of("node-1", request, TOKEN, false),
            "another node by its header" => FakeResponse::From("node-1", "first", 200),
            // As a proxy answers for a server that is gone.
            _ => FakeResponse::Raw(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n".to_vec()),
        })
        .await;
        let probed = probe(&fake.url, here(), registry().await).await;
        assert_eq!(probed, Liveness::Silent, "{what}");
        assert!(!fake.requests().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn where_no_node_may_be_nothing_connects_and_a_node_that_reports_in_is_alive() {
    let own = FakeNode::start(|_, request| identity(request, TOKEN, true)).await;
    let registry = registry().await;
    let probed = probe(&own.url, Networks::default(), registry.clone()).await;
    assert_eq!(probed, Liveness::Silent);
    register(&registry, 0, &own.url).await;
    let probed = probe(&own.url, Networks::default(), registry).await;
    assert_eq!(probed, Liveness::Alive);
    assert!(own.requests().is_empty());
}

#[tokio::test]
async fn a_node_that_says_nothing_is_alive_while_it_takes_connections() {
    let hanging = FakeNode::start(|_, _| FakeResponse::Hang).await;
    let probed = probe(&hanging.url, here(), registry().await).await;
    assert_eq!(probed, Liveness::Alive);
    let url = hanging.url.clone();
    drop(hanging);
    let probed = probe(&url, here(), registry().await).await;
    assert_eq!(probed, Liveness::Silent);
}

#[tokio::test]
async fn a_node_that_has_told_the_engine_that_it_stops_need_not_be_asked() {
    let registry = registry().await;
    register(&registry, 0, "http://127.0.0.1:1").await;
    let stop = Heartbeat {
        health: NodeHealth::Stopping,
        reason: None,
        highest_fence: 0,
        boot: None,
        control_url: None,
        data_url: None,
        modules: None,
        readiness: None,
        traffic: None,
    };
    registry.heartbeat(&node("node-0"), stop).expect("known");
    let probed = probe("http://127.0.0.1:1", here(), registry).await;
    assert_eq!(probed, Liveness::Stopping);
}
