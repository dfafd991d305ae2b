use futures_util::future::join_all;
use hotswap_core::{Action, Health, HttpProbe, NodeError};
use serde_json::json;

use super::peer::{Peer, Say, nowhere, problem, status};
use super::*;
use crate::{Error, Fleet};

#[tokio::test]
async fn orders_are_written_as_the_protocol_says() {
    let peer = Peer::start(|_, _| Say::Json(200, json!({}))).await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let told = json!({"version": "1.2.3", "digest": version().digest.to_string()});
    for (action, expected) in [
        (
            Action::Stage(version()),
            json!({"type": "stage", "version": told}),
        ),
        (
            Action::Shift {
                version: version(),
                percent: 30,
            },
            json!({"type": "shift", "version": told, "percent": 30}),
        ),
        (
            Action::Promote(version()),
            json!({"type": "promote", "version": told}),
        ),
        (
            Action::Revert(Some(version())),
            json!({"type": "revert", "to": told}),
        ),
        (Action::Revert(None), json!({"type": "revert"})),
        (Action::Settle, json!({"type": "settle"})),
    ] {
        fleet
            .order(&node("node-0"), &order(action))
            .await
            .expect("done");
        let asked = peer.asked().pop().expect("it was asked");
        assert_eq!(
            asked.line,
            "PUT /v1/modules/shop/operations/7-stage%2Fnode%200"
        );
        assert_eq!(asked.authorization, format!("Bearer {TOKEN}"));
        assert_eq!(asked.body["action"], expected);
        assert_eq!(asked.body["fence"], 42);
        assert_eq!(
            asked.body["deployment"],
            "07070707-0707-0707-0707-070707070707"
        );
    }
}

#[tokio::test]
async fn nodes_tell_what_they_run() {
    let runs = Peer::start(|_, _| Say::Json(200, status(0))).await;
    let empty = Peer::start(|_, _| problem(404, "no such module")).await;
    let hangs = Peer::start(|_, _| Say::Hang).await;
    let addresses =
        [&runs.url, &empty.url, &hangs.url, nowhere().await.as_str()].map(str::to_owned);
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

#[tokio::test]
async fn a_reading_is_what_the_node_counted() {
    let peer = Peer::start(|_, _| Say::Json(200, status(6))).await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let reading = fleet
        .read(&node("node-0"), &shop())
        .await
        .expect("it reads");
    assert_eq!(reading.boot, "first");
    assert_eq!(reading.cpu_millis, 77);
    assert!(reading.at.millis() > 0);
    let held = &reading.versions[0];
    assert_eq!(held.digest, version().digest);
    assert_eq!((held.requests, held.errors, held.memory), (6, 3, 4096));
    assert_eq!(held.cpu_micros, 250);
    assert_eq!(held.latency.pairs(), [(4, 5), (9, 1)]);
}

#[tokio::test]
async fn many_readers_ask_a_node_once() {
    let peer = Peer::start(|number, _| Say::Json(200, status(number as u64))).await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let (id, module) = (node("node-0"), shop());
    let all = join_all((0..500).map(|_| fleet.read(&id, &module))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn a_module_that_the_node_does_not_hold_cannot_be_read() {
    let peer = Peer::start(|_, _| problem(404, "no such module")).await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let error = fleet
        .read(&node("node-0"), &shop())
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
async fn a_probe_asks_until_the_answer_is_good() {
    let peer = Peer::start(|number, _| match number {
        0 => Say::Reset,
        1 => problem(503, "still starting"),
        2 => Say::Json(200, json!({"status": 500, "body": "green"})),
        3 => Say::Json(200, json!({"status": 200, "body": "red"})),
        _ => Say::Json(200, json!({"status": 200, "body": "all green"})),
    })
    .await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let good = fleet
        .probe(&node("node-0"), &version(), &probe(20_000))
        .await;
    assert_eq!(good, Ok(()));
    let asked = peer.asked();
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[4].line, "POST /v1/modules/shop/probe");
    assert_eq!(asked[4].body["path"], "/ready?full=1");
    assert_eq!(asked[4].body["version"]["version"], "1.2.3");
}

#[tokio::test]
async fn a_probe_that_never_fits_tells_the_last_answer() {
    let peer = Peer::start(|_, _| Say::Json(200, json!({"status": 503, "body": "red"}))).await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    for timeout in [0, 200] {
        let error = fleet
            .probe(&node("node-0"), &version(), &probe(timeout))
            .await;
        let NodeError::Unhealthy(reason) = error.expect_err("never good") else {
            panic!("it is unhealthy");
        };
        assert!(reason.contains("status 503 and not 200"), "{reason}");
    }
}

#[tokio::test]
async fn a_probe_that_the_node_refuses_ends_at_once() {
    let peer = Peer::start(|_, _| problem(409, "version 1.2.3 is not staged")).await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let error = fleet
        .probe(&node("node-0"), &version(), &probe(60_000))
        .await;
    let expected = NodeError::Refused("version 1.2.3 is not staged".to_owned());
    assert_eq!(error, Err(expected));
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn a_probe_of_a_node_that_is_gone_says_unreachable() {
    let (fleet, _) = fleet(&[&nowhere().await]).await;
    let error = fleet.probe(&node("node-0"), &version(), &probe(100)).await;
    assert!(matches!(error, Err(NodeError::Unreachable(_))), "{error:?}");
}
