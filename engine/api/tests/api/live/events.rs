//! The journal's events, as an event stream and over a plain WebSocket.

use hotswap_core::DeploymentId;
use hotswap_store::Journal;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use futures_util::StreamExt;

use super::socket::{Socket, refused};
use super::sse::{Block, Sse};
use super::written::Written;
use super::{configured, start};
use crate::client::Answer;
use crate::fixture::Fixture;

const EVENTS: &str = "/api/v1/events";
const SOCKET: &str = "/api/v1/events/socket";

/// The events of a deployment, as pages have them, and the id of each.
async fn paged(engine: &Fixture, deployment: &Written) -> Vec<(String, Value)> {
    let page = engine
        .get(&format!("{}?limit=1000", deployment.events()))
        .await;
    let mut page = page.ok();
    let events = page["events"].as_array_mut().unwrap();
    let streamed = events.iter_mut().map(|event| {
        event["executionId"] = deployment.id.to_string().into();
        (id(engine, &event["seq"]), event.take())
    });
    streamed.collect()
}

/// How places are written.
fn id(engine: &Fixture, number: &Value) -> String {
    format!("{}:{number}", engine.store.epoch())
}

/// An event of the journal as a stream has it, or what is said of the stream.
fn of_block(block: Block) -> (String, Value) {
    let id = block.id.unwrap_or_default();
    match &*block.name {
        "message" => (id, block.data),
        name => (id, json!({name: true})),
    }
}

/// The same as a socket has it.
fn of_message(mut message: Value) -> (String, Value) {
    let id = message.as_object_mut().unwrap().remove("id");
    let id = id.map(|id| id.as_str().unwrap().to_owned());
    (id.unwrap_or_default(), message)
}

/// All that a stream says, and all that a socket does, which must be the same.
async fn told(engine: &Fixture, path: &str, last: Option<&str>) -> Vec<(String, Value)> {
    let sse = Sse::open(engine, path, last).await.rest().await;
    let after = last.map_or(String::new(), |last| format!("?after={last}"));
    let socket = Socket::open(engine, &format!("{path}/socket{after}")).await;
    let (messages, code) = socket.rest().await;
    assert_eq!(code, Some(1000));
    let of_sse: Vec<_> = sse.into_iter().map(of_block).collect();
    let of_socket: Vec<_> = messages.into_iter().map(of_message).collect();
    assert_eq!(of_sse, of_socket);
    of_sse
}

fn said(id: &str, what: &str) -> (String, Value) {
    (id.to_owned(), json!({what: true}))
}

async fn asked_again(engine: &Fixture, path: &str, last: &str) -> Answer {
    let ask = |it: reqwest::RequestBuilder| {
        it.header("accept", "text/event-stream")
            .header("last-event-id", last)
    };
    engine.send(Method::GET, path, ask).await
}

#[tokio::test]
async fn all_of_one_deployment_from_the_first_to_the_last() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    // More than is read at once.
    deployment.toggle(450).await;
    let mut sse = Sse::open(&engine, &deployment.events(), None).await;
    let path = format!("{}/socket", deployment.events());
    let mut socket = Socket::open(&engine, &path).await;
    let before = paged(&engine, &deployment).await;
    for event in &before {
        assert_eq!(of_block(sse.block().await.unwrap()), *event);
        assert_eq!(of_message(socket.message().await.unwrap()), *event);
    }
    let live = said(&before.last().unwrap().0, "live");
    assert_eq!(of_block(sse.block().await.unwrap()), live);
    assert_eq!(of_message(socket.message().await.unwrap()), live);
    // What a client says means nothing.
    let said_to_it = Message::text("{\"type\":6}");
    futures_util::SinkExt::send(&mut socket.0, said_to_it)
        .await
        .unwrap();
    deployment.toggle(1).await;
    deployment.end().await;
    let mut rest = paged(&engine, &deployment).await.split_off(before.len());
    let last = rest.last().unwrap().0.clone();
    rest.push(said(&last, "end"));
    let blocks = sse.rest().await.into_iter().map(of_block);
    assert_eq!(blocks.collect::<Vec<_>>(), rest);
    let (messages, code) = socket.rest().await;
    let messages = messages.into_iter().map(of_message);
    assert_eq!((messages.collect::<Vec<_>>(), code), (rest, Some(1000)));
    engine.stop().await;
}

#[tokio::test]
async fn whoever_was_cut_off_goes_on_after_what_they_have() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    deployment.toggle(3).await;
    deployment.end().await;
    let events = deployment.events();
    let all = paged(&engine, &deployment).await;
    let end = &all.last().unwrap().0;
    let whole: Vec<_> = [&all[..], &[said(end, "live"), said(end, "end")]].concat();
    assert_eq!(told(&engine, &events, None).await, whole);
    for seen in 0..all.len() - 1 {
        let rest = told(&engine, &events, Some(&all[seen].0)).await;
        assert_eq!(rest, whole[seen + 1..]);
        let by_number = format!("{events}?after={seen}");
        let rest = Sse::open(&engine, &by_number, None).await.rest().await;
        let rest: Vec<_> = rest.into_iter().map(of_block).collect();
        assert_eq!(rest, whole[seen + 1..]);
        // The id is newer than the number, which stays in the URL for ever.
        let rest = Sse::open(&engine, &by_number, Some(&all[0].0))
            .await
            .rest()
            .await;
        let rest: Vec<_> = rest.into_iter().map(of_block).collect();
        assert_eq!(rest, whole[1..]);
    }
    // At the end a browser has to be told not to come again.
    let over = asked_again(&engine, &events, end).await;
    assert_eq!((over.status, over.body.len()), (204, 0));
    let over = Socket::open(&engine, &format!("{events}/socket?after={end}")).await;
    let (messages, code) = over.rest().await;
    assert_eq!(messages.last().unwrap()["end"], true);
    assert_eq!((messages.len(), code), (2, Some(1000)));
    engine.stop().await;
}

#[tokio::test]
async fn an_id_of_another_store_begins_anew_and_says_so() {
    let engine = start().await;
    let mut deployment = Written::begin(&engine).await;
    deployment.end().await;
    let events = deployment.events();
    let mut anew = vec![said("", "reset")];
    anew.extend(told(&engine, &events, None).await);
    for last in ["0123456789abcdef:1", "garbage", ":", "1", "x:y"] {
        assert_eq!(told(&engine, &events, Some(last)).await, anew, "{last}");
    }
    let sse = Sse::open(&engine, EVENTS, Some("another:7")).await;
    let mut sse = Box::pin(sse);
    assert_eq!(sse.block().await.unwrap().name, "reset");
    assert_eq!(sse.block().await.unwrap().name, "live");
    // A place of this store that nobody can have been told, too.
    let future = format!("{}:999", engine.store.epoch());
    let mut socket = Socket::open(&engine, &format!("{SOCKET}?after={future}")).await;
    assert_eq!(socket.message().await.unwrap(), json!({"reset": true}));
    assert_eq!(socket.message().await.unwrap()["live"], true);
    engine.stop().await;
}

#[tokio::test]
async fn what_is_not_there_or_no_websocket_is_a_problem() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    let nobody = format!("/api/v1/deployments/{}/events", DeploymentId::generate());
    let stream = asked_again(&engine, &nobody, "x:1").await;
    stream.problem(404, "unknown-deployment");
    let socket = refused(&engine, &format!("{nobody}/socket")).await;
    socket.problem(404, "unknown-deployment");
    for path in [SOCKET, &format!("{}/socket", deployment.events())] {
        let detail = engine.get(path).await.problem(400, "bad-request")["detail"].clone();
        let detail = detail.as_str().unwrap();
        assert!(detail.contains("Upgrade: websocket"), "{detail}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn all_deployments_from_now_on_or_after_a_place() {
    let engine = start().await;
    let mut first = Written::begin(&engine).await;
    first.toggle(3).await;
    let mut sse = Sse::open(&engine, EVENTS, None).await;
    let mut socket = Socket::open(&engine, SOCKET).await;
    let (block, message) = (sse.block().await.unwrap(), socket.message().await.unwrap());
    let live = of_block(block);
    assert_eq!(live.1, json!({"live": true}));
    assert_eq!(of_message(message), live);
    let mut second = Written::begin(&engine).await;
    first.toggle(1).await;
    second.end().await;
    let mut events = Vec::new();
    for _ in 0..4 {
        let event = of_block(sse.block().await.unwrap());
        assert_eq!(of_message(socket.message().await.unwrap()), event);
        assert_eq!(event.0, id(&engine, &event.1["position"]));
        events.push(event);
    }
    let whose = events
        .iter()
        .map(|(_, event)| event["executionId"].as_str().unwrap());
    let (one, two) = (first.id.to_string(), second.id.to_string());
    let expected = [&two, &one, &two, &two];
    assert!(whose.eq(expected.map(|id| id.as_str())), "{events:?}");
    assert!(events.is_sorted_by_key(|(_, event)| event["position"].as_u64()));
    for (place, rest) in [(&live.0, &events[..]), (&events[1].0, &events[2..])] {
        let mut sse = Sse::open(&engine, EVENTS, Some(place)).await;
        let mut socket = Socket::open(&engine, &format!("{SOCKET}?after={place}")).await;
        for event in rest {
            assert_eq!(of_block(sse.block().await.unwrap()), *event);
            assert_eq!(of_message(socket.message().await.unwrap()), *event);
        }
        let live = said(&events[3].0, "live");
        assert_eq!(of_block(sse.block().await.unwrap()), live);
        assert_eq!(of_message(socket.message().await.unwrap()), live);
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_shutdown_is_no_end() {
    let engine = configured(|config| {
        config.limits.grace = std::time::Duration::from_secs(10);
    })
    .await;
    let mut deployment = Written::begin(&engine).await;
    deployment.toggle(1).await;
    let mut readers = Vec::new();
    for path in [EVENTS, &deployment.events()] {
        let mut sse = Sse::open(&engine, path, None).await;
        let mut socket = Socket::open(&engine, &format!("{path}/socket")).await;
        while sse.block().await.unwrap().name != "live" {}
        while socket.message().await.unwrap().get("live").is_none() {}
        readers.push((sse, socket));
    }
    let rest = async {
        for (sse, socket) in readers {
            assert_eq!(sse.rest().await, []);
            assert_eq!(socket.rest().await, (vec![], Some(1012)));
        }
    };
    tokio::join!(engine.stop(), rest);
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    for path in [EVENTS, &deployment.events()] {
        let request = reqwest::Client::new()
            .get(format!("{}{path}", engine.base))
            .header("accept", "text/event-stream")
            .bearer_auth(engine.token().unwrap());
        let mut sse = request.send().await.unwrap();
        let mut socket = Socket::open(&engine, &format!("{path}/socket")).await;
        while socket.message().await.unwrap().get("live").is_none() {}
        // From here on the time goes as fast as nothing happens.
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let ping = socket.0.next().await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
        let mut text = String::new();
        while !text.ends_with("\n:\n\n") {
            let chunk = sse.chunk().await.unwrap().unwrap();
            text += std::str::from_utf8(&chunk).unwrap();
        }
        assert!(begun.elapsed() >= std::time::Duration::from_secs(14));
        tokio::time::resume();
    }
    engine.stop().await;
}
