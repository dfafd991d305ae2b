use hotswap_core::{Action, NodeError};
use serde_json::json;
use tokio::time::Instant;

use super::peer::{Peer, Say, nowhere, problem, status};
use super::*;
use crate::{Fleet, SetupStep};

/// Patient enough for a machine that has other things to do.
fn patient() -> Options {
    Options {
        patience: Duration::from_secs(30),
        ..options()
    }
}

async fn settle(fleet: &HttpFleet) -> Result<(), NodeError> {
    fleet.order(&node("node-0"), &order(Action::Settle)).await
}

#[tokio::test]
async fn an_order_is_tried_again_until_the_node_answers() {
    let peer = Peer::start(|number, _| match number {
        0 => Say::Reset,
        1 => Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\ncut".to_vec()),
        2 => Say::Raw(b"\0\0\0 what is this\r\n\r\n".to_vec()),
        _ => Say::Json(200, json!({})),
    })
    .await;
    let registry = registry().await;
    enrol(&registry, 0, &peer.url).await;
    let fleet = HttpFleet::new(registry, TOKEN, patient()).expect("it is set up");
    assert_eq!(settle(&fleet).await, Ok(()));
    let asked = peer.asked();
    assert!(asked.len() >= 4);
    assert!(
        asked.iter().all(|one| one.line == asked[0].line),
        "the same operation"
    );
}

#[tokio::test]
async fn an_order_finds_a_node_that_comes_back_elsewhere() {
    let peer = Peer::start(|_, _| Say::Json(200, json!({}))).await;
    let registry = registry().await;
    enrol(&registry, 0, &nowhere().await).await;
    let fleet = HttpFleet::new(registry.clone(), TOKEN, patient()).expect("it is set up");
    let ordered = tokio::spawn(async move { settle(&fleet).await });
    enrol(&registry, 0, &peer.url).await;
    assert_eq!(ordered.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_unreachable_in_bounded_time() {
    let hangs = Peer::start(|_, _| Say::Hang).await;
    let begun = Instant::now();
    for (address, expected) in [
        (hangs.url.clone(), "no answer within 1.0 s"),
        (nowhere().await, "no connection: "),
    ] {
        let (fleet, _) = fleet(&[&address]).await;
        let NodeError::Unreachable(reason) = settle(&fleet).await.expect_err("gone") else {
            panic!("it is unreachable");
        };
        assert!(reason.contains(expected), "{reason}");
        assert!(
            !reason.contains(TOKEN) && !reason.contains("Bearer"),
            "{reason}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    let (fleet, _) = fleet(&[]).await;
    assert_eq!(
        settle(&fleet).await,
        Err(NodeError::Unreachable(
            "no node of this name is registered".to_owned()
        ))
    );
}

#[tokio::test]
async fn a_stage_may_take_longer_than_other_orders() {
    let hangs = Peer::start(|_, _| Say::Hang).await;
    let (fleet, _) = fleet(&[&hangs.url]).await;
    let id = node("node-0");
    let stage = order(Action::Stage(version()));
    let waited = tokio::time::timeout(Duration::from_secs(3), fleet.order(&id, &stage)).await;
    assert!(
        waited.is_err(),
        "three times the time of other orders has passed"
    );
    assert_eq!(hangs.asked().len(), 1);
}

#[tokio::test]
async fn what_a_node_refuses_is_told_in_its_own_words() {
    let refused = |reason: &str| NodeError::Refused(reason.to_owned());
    let long = "x".repeat(9000);
    for (status, detail, expected) in [
        (409, "the fence 3 is older", refused("the fence 3 is older")),
        (422, "the digest differs", refused("the digest differs")),
        (
            500,
            "no room on the disk",
            NodeError::Other("it answered 500 Internal Server Error: no room on the disk".into()),
        ),
        (422, "two\nlines\u{7}", refused("two lines ")),
        (422, long.as_str(), refused(&long[..500])),
        (
            401,
            "bad token",
            refused("it does not accept this engine's node token; start both with the same"),
        ),
    ] {
        let detail = detail.to_owned();
        let peer = Peer::start(move |_, _| problem(status, &detail)).await;
        let (fleet, _) = fleet(&[&peer.url]).await;
        assert_eq!(settle(&fleet).await, Err(expected));
        assert_eq!(peer.asked().len(), 1, "what was refused is not asked again");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let thief = Peer::start(|_, _| Say::Json(200, json!({}))).await;
    let to = thief.url.clone();
    let peer = Peer::start(move |_, _| {
        let answer = format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        Say::Raw(answer.into_bytes())
    })
    .await;
    let (fleet, _) = fleet(&[&peer.url]).await;
    let error = settle(&fleet).await.expect_err("a redirect is no success");
    assert!(matches!(error, NodeError::Other(_)), "{error:?}");
    assert!(thief.asked().is_empty());
}

#[tokio::test]
async fn what_is_no_node_is_told_as_such() {
    let mut other_digest = status(1);
    other_digest["versions"][0]["version"]["digest"] = json!("md5:00");
    let mut odd_buckets = status(1);
    odd_buckets["versions"][0]["latency"] =
        json!([{"bucket": 9, "count": 1}, {"bucket": 4, "count": 1}]);
    for (answer, expected) in [
        (json!({"hello": "world"}), "its answer cannot be understood"),
        (json!("text"), "its answer cannot be understood"),
        (other_digest, "a digest that is none"),
        (odd_buckets, "buckets that there are not"),
    ] {
        let peer = Peer::start(move |_, _| Say::Json(200, answer.clone())).await;
        let (fleet, _) = fleet(&[&peer.url]).await;
        let error = fleet.read(&node("node-0"), &shop()).await;
        let error = error.expect_err("it cannot be read");
        assert!(matches!(error, NodeError::Other(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let peer = Peer::start(|_, _| Say::Flood).await;
    let registry = registry().await;
    enrol(&registry, 0, &peer.url).await;
    let slow = Options {
        request: Duration::from_secs(20),
        ..options()
    };
    let fleet = HttpFleet::new(registry, TOKEN, slow).expect("it is set up");
    let error = settle(&fleet).await.expect_err("too large");
    assert!(
        error.to_string().contains("larger than 1048576 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_refused_unseen() {
    let refused = HttpFleet::new(registry().await, "secret\nline", options());
    let error = refused.err().expect("a header has no lines");
    assert_eq!(error.step, SetupStep::Token);
    assert!(!format!("{error} {error:?}").contains("secret"));
}
