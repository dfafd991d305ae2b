//! The journal's events, as an event stream and over a plain WebSocket.

use futures_util::StreamExt;
use hotswap_core::DeploymentId;
use hotswap_store::Journal;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::support::{ManualDeployment, SocketClient, SseClient, SseEvent, rejected_upgrade};
use super::{start, start_with};
use crate::client::Answer;
use crate::fixture::Fixture;

const EVENTS: &str = "/api/v1/events";
const SOCKET: &str = "/api/v1/events/socket";

/// The events of a deployment from the paged API, each with the id it has in a stream.
async fn list_events(engine: &Fixture, deployment: &ManualDeployment) -> Vec<(String, Value)> {
    let page = engine
        .get(&format!("{}?limit=1000", deployment.events_path()))
        .await;
    let mut page = page.ok();
    let events = page["events"].as_array_mut().unwrap();
    let streamed = events.iter_mut().map(|event| {
        event["executionId"] = deployment.id.to_string().into();
        (event_id(engine, &event["seq"]), event.take())
    });
    streamed.collect()
}

/// The id of the event with this number.
fn event_id(engine: &Fixture, number: &Value) -> String {
    format!("{}:{number}", engine.store.epoch())
}

/// The id and content of a server-sent event. The content of a marker is as in a WebSocket.
fn from_sse(event: SseEvent) -> (String, Value) {
    let id = event.id.unwrap_or_default();
    match &*event.name {
        "message" => (id, event.data),
        name => (id, json!({name: true})),
    }
}

/// The id and content of a WebSocket message.
fn from_message(mut message: Value) -> (String, Value) {
    let id = message.as_object_mut().unwrap().remove("id");
    let id = id.map(|id| id.as_str().unwrap().to_owned());
    (id.unwrap_or_default(), message)
}

/// All that a stream sends. Asserts that a WebSocket sends the same.
async fn read_all(engine: &Fixture, path: &str, last: Option<&str>) -> Vec<(String, Value)> {
    let sse = SseClient::open(engine, path, last)
        .await
        .until_closed()
        .await;
    let after = last.map_or(String::new(), |last| format!("?after={last}"));
    let socket = SocketClient::open(engine, &format!("{path}/socket{after}")).await;
    let (messages, code) = socket.until_closed().await;
    assert_eq!(code, Some(1000));
    let of_sse: Vec<_> = sse.into_iter().map(from_sse).collect();
    let of_socket: Vec<_> = messages.into_iter().map(from_message).collect();
    assert_eq!(of_sse, of_socket);
    of_sse
}

/// A marker: `live`, `reset` or `end`.
fn marker(id: &str, name: &str) -> (String, Value) {
    (id.to_owned(), json!({name: true}))
}

async fn request_stream(engine: &Fixture, path: &str, last: &str) -> Answer {
    let ask = |it: reqwest::RequestBuilder| {
        it.header("accept", "text/event-stream")
            .header("last-event-id", last)
    };
    engine.send(Method::GET, path, ask).await
}

#[tokio::test]
async fn one_deployment_is_streamed_from_its_first_to_its_last_event() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    // More than one page of the reader.
    deployment.toggle(450).await;
    let mut sse = SseClient::open(&engine, &deployment.events_path(), None).await;
    let path = format!("{}/socket", deployment.events_path());
    let mut socket = SocketClient::open(&engine, &path).await;
    let before = list_events(&engine, &deployment).await;
    for event in &before {
        assert_eq!(from_sse(sse.event().await.unwrap()), *event);
        assert_eq!(from_message(socket.message().await.unwrap()), *event);
    }
    let live = marker(&before.last().unwrap().0, "live");
    assert_eq!(from_sse(sse.event().await.unwrap()), live);
    assert_eq!(from_message(socket.message().await.unwrap()), live);
    // Messages from clients are ignored.
    let ignored = Message::text("{\"type\":6}");
    futures_util::SinkExt::send(&mut socket.0, ignored)
        .await
        .unwrap();
    deployment.toggle(1).await;
    deployment.end().await;
    let mut rest = list_events(&engine, &deployment)
        .await
        .split_off(before.len());
    let last = rest.last().unwrap().0.clone();
    rest.push(marker(&last, "end"));
    let events = sse.until_closed().await.into_iter().map(from_sse);
    assert_eq!(events.collect::<Vec<_>>(), rest);
    let (messages, code) = socket.until_closed().await;
    let messages = messages.into_iter().map(from_message);
    assert_eq!((messages.collect::<Vec<_>>(), code), (rest, Some(1000)));
    engine.stop().await;
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_id() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    deployment.toggle(3).await;
    deployment.end().await;
    let events = deployment.events_path();
    let all = list_events(&engine, &deployment).await;
    let end = &all.last().unwrap().0;
    let whole: Vec<_> = [&all[..], &[marker(end, "live"), marker(end, "end")]].concat();
    assert_eq!(read_all(&engine, &events, None).await, whole);
    for seen in 0..all.len() - 1 {
        let rest = read_all(&engine, &events, Some(&all[seen].0)).await;
        assert_eq!(rest, whole[seen + 1..]);
        let by_number = format!("{events}?after={seen}");
        let rest = SseClient::open(&engine, &by_number, None)
            .await
            .until_closed()
            .await;
        let rest: Vec<_> = rest.into_iter().map(from_sse).collect();
        assert_eq!(rest, whole[seen + 1..]);
        // Last-Event-ID wins over `after`, which an EventSource repeats forever.
        let rest = SseClient::open(&engine, &by_number, Some(&all[0].0))
            .await
            .until_closed()
            .await;
        let rest: Vec<_> = rest.into_iter().map(from_sse).collect();
        assert_eq!(rest, whole[1..]);
    }
    // After the end, 204 keeps an EventSource from reconnecting.
    let response = request_stream(&engine, &events, end).await;
    assert_eq!((response.status, response.body.len()), (204, 0));
    let socket = SocketClient::open(&engine, &format!("{events}/socket?after={end}")).await;
    let (messages, code) = socket.until_closed().await;
    assert_eq!(messages.last().unwrap()["end"], true);
    assert_eq!((messages.len(), code), (2, Some(1000)));
    engine.stop().await;
}

#[tokio::test]
async fn an_id_of_another_store_resets_the_stream() {
    let engine = start().await;
    let mut deployment = ManualDeployment::start(&engine).await;
    deployment.end().await;
    let events = deployment.events_path();
    let mut expected = vec![marker("", "reset")];
    expected.extend(read_all(&engine, &events, None).await);
    for last in ["0123456789abcdef:1", "garbage", ":", "1", "x:y"] {
        assert_eq!(
            read_all(&engine, &events, Some(last)).await,
            expected,
            "{last}"
        );
    }
    let sse = SseClient::open(&engine, EVENTS, Some("another:7")).await;
    let mut sse = Box::pin(sse);
    assert_eq!(sse.event().await.unwrap().name, "reset");
    assert_eq!(sse.event().await.unwrap().name, "live");
    // The same for an id of this store that is in the future.
    let future = format!("{}:999", engine.store.epoch());
    let mut socket = SocketClient::open(&engine, &format!("{SOCKET}?after={future}")).await;
    assert_eq!(socket.message().await.unwrap(), json!({"reset": true}));
    assert_eq!(socket.message().await.unwrap()["live"], true);
    engine.stop().await;
}

#[tokio::test]
async fn unknown_deployments_and_invalid_upgrades_are_rejected() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    let unknown = format!("/api/v1/deployments/{}/events", DeploymentId::generate());
    let stream = request_stream(&engine, &unknown, "x:1").await;
    stream.problem(404, "unknown-deployment");
    let socket = rejected_upgrade(&engine, &format!("{unknown}/socket")).await;
    socket.problem(404, "unknown-deployment");
    for path in [SOCKET, &format!("{}/socket", deployment.events_path())] {
        let detail = engine.get(path).await.problem(400, "bad-request")["detail"].clone();
        let detail = detail.as_str().unwrap();
        assert!(detail.contains("Upgrade: websocket"), "{detail}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn all_deployments_are_streamed_from_now_on_or_after_an_id() {
    let engine = start().await;
    let mut first = ManualDeployment::start(&engine).await;
    first.toggle(3).await;
    let mut sse = SseClient::open(&engine, EVENTS, None).await;
    let mut socket = SocketClient::open(&engine, SOCKET).await;
    let (event, message) = (sse.event().await.unwrap(), socket.message().await.unwrap());
    let live = from_sse(event);
    assert_eq!(live.1, json!({"live": true}));
    assert_eq!(from_message(message), live);
    let mut second = ManualDeployment::start(&engine).await;
    first.toggle(1).await;
    second.end().await;
    let mut events = Vec::new();
    for _ in 0..4 {
        let event = from_sse(sse.event().await.unwrap());
        assert_eq!(from_message(socket.message().await.unwrap()), event);
        assert_eq!(event.0, event_id(&engine, &event.1["position"]));
        events.push(event);
    }
    let ids = events
        .iter()
        .map(|(_, event)| event["executionId"].as_str().unwrap());
    let (one, two) = (first.id.to_string(), second.id.to_string());
    let expected = [&two, &one, &two, &two];
    assert!(ids.eq(expected.map(|id| id.as_str())), "{events:?}");
    assert!(events.is_sorted_by_key(|(_, event)| event["position"].as_u64()));
    for (cursor, rest) in [(&live.0, &events[..]), (&events[1].0, &events[2..])] {
        let mut sse = SseClient::open(&engine, EVENTS, Some(cursor)).await;
        let mut socket = SocketClient::open(&engine, &format!("{SOCKET}?after={cursor}")).await;
        for event in rest {
            assert_eq!(from_sse(sse.event().await.unwrap()), *event);
            assert_eq!(from_message(socket.message().await.unwrap()), *event);
        }
        let live = marker(&events[3].0, "live");
        assert_eq!(from_sse(sse.event().await.unwrap()), live);
        assert_eq!(from_message(socket.message().await.unwrap()), live);
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_shutdown_closes_streams_without_an_end_event() {
    let engine = start_with(|config| {
        config.limits.grace = std::time::Duration::from_secs(10);
    })
    .await;
    let mut deployment = ManualDeployment::start(&engine).await;
    deployment.toggle(1).await;
    let mut readers = Vec::new();
    for path in [EVENTS, &deployment.events_path()] {
        let mut sse = SseClient::open(&engine, path, None).await;
        let mut socket = SocketClient::open(&engine, &format!("{path}/socket")).await;
        while sse.event().await.unwrap().name != "live" {}
        while socket.message().await.unwrap().get("live").is_none() {}
        readers.push((sse, socket));
    }
    let rest = async {
        for (sse, socket) in readers {
            assert_eq!(sse.until_closed().await, []);
            assert_eq!(socket.until_closed().await, (vec![], Some(1012)));
        }
    };
    tokio::join!(engine.stop(), rest);
}

#[tokio::test]
async fn an_idle_stream_sends_heartbeats() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    for path in [EVENTS, &deployment.events_path()] {
        let request = reqwest::Client::new()
            .get(format!("{}{path}", engine.base))
            .header("accept", "text/event-stream")
            .bearer_auth(engine.token().unwrap());
        let mut sse = request.send().await.unwrap();
        let mut socket = SocketClient::open(&engine, &format!("{path}/socket")).await;
        while socket.message().await.unwrap().get("live").is_none() {}
        // From here on, the clock skips the time in which nothing happens.
        tokio::time::pause();
        let started = tokio::time::Instant::now();
        let ping = socket.0.next().await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
        let mut text = String::new();
        while !text.ends_with("\n:\n\n") {
            let chunk = sse.chunk().await.unwrap().unwrap();
            text += std::str::from_utf8(&chunk).unwrap();
        }
        assert!(started.elapsed() >= std::time::Duration::from_secs(14));
        tokio::time::resume();
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_stream_that_resumes_before_a_deleted_event_is_reset() {
    let engine = start().await;
    let mut deleted = ManualDeployment::start(&engine).await;
    let position = engine.store.last_position().await.unwrap();
    let before = event_id(&engine, &json!(position));
    deleted.end().await;
    let end = event_id(&engine, &json!(engine.store.last_position().await.unwrap()));
    let other = ManualDeployment::start(&engine).await;
    let missed = || async { SseClient::open(&engine, EVENTS, Some(&before)).await };
    // Until it is deleted, nothing is missing.
    let first = missed().await.event().await.unwrap();
    assert_eq!(first.data["executionId"], deleted.id.to_string());
    assert_eq!(engine.delete(&deleted.path()).await.status, 204);

    let mut sse = missed().await;
    assert_eq!(from_sse(sse.event().await.unwrap()), marker("", "reset"));
    let mut socket = SocketClient::open(&engine, &format!("{SOCKET}?after={before}")).await;
    let message = from_message(socket.message().await.unwrap());
    assert_eq!(message, marker("", "reset"));
    // After the last event that was deleted, everything is there.
    let mut sse = SseClient::open(&engine, EVENTS, Some(&end)).await;
    let next = sse.event().await.unwrap();
    assert_eq!(next.data["executionId"], other.id.to_string());
    // The stream of the deployment itself is gone.
    let gone = request_stream(&engine, &deleted.events_path(), &before).await;
    let problem = gone.problem(404, "unknown-deployment");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("was deleted"), "{detail}");
    engine.stop().await;
}
