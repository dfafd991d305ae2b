use futures_util::{Stream, StreamExt};
use hotswap_signalr::{Config, Rejection};
use poem::http::Method;
use serde_json::{Value, json};

use crate::chat::{Client, parse, service};

type Events = std::pin::Pin<Box<dyn Stream<Item = String> + Send>>;

async fn open(client: &Client) -> Events {
    let response = client
        .request(Method::GET, "text/event-stream", "")
        .await
        .unwrap();
    assert_eq!(response.content_type(), Some("text/event-stream"));
    let bytes = response.into_body().into_bytes_stream();
    let mut events: Events = bytes
        .map(|it| String::from_utf8(it.unwrap().to_vec()).unwrap())
        .boxed();
    assert_eq!(
        events.next().await.as_deref(),
        Some(":\r\n\r\n"),
        "the headers are sent at once"
    );
    events
}

async fn next_messages(events: &mut Events) -> Vec<Value> {
    let text = events.next().await.unwrap();
    let data = text.split_terminator("\r\n\r\n");
    data.flat_map(|it| parse(it.strip_prefix("data: ").unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn messages_are_sent_as_events_with_pings_when_idle() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    let mut events = open(&client).await;
    client
        .send(&[json!({"protocol": "json", "version": 1})])
        .await;
    assert_eq!(next_messages(&mut events).await, [json!({})]);
    client
        .send(&[json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]})])
        .await;
    assert_eq!(next_messages(&mut events).await[0]["result"], "ada: x");
    let before = tokio::time::Instant::now();
    assert_eq!(next_messages(&mut events).await, [json!({"type": 6})]);
    let waited = before.elapsed().as_secs();
    assert!((14..=17).contains(&waited), "{waited}");
    // A client that does not ping times out.
    let close = loop {
        let messages = next_messages(&mut events).await;
        if messages[0]["type"] == 7 {
            break messages;
        }
    };
    assert_eq!(close[0]["allowReconnect"], true);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_connection_ends_with_its_response() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    let first = open(&client).await;
    let second = client.request(Method::GET, "text/event-stream", "").await;
    assert_eq!(second.unwrap_err(), Rejection::ConnectionInUse);
    let ended = client.request(Method::DELETE, "*/*", "").await;
    assert_eq!(ended.unwrap_err(), Rejection::NotLongPolling);
    drop(first);
    assert_eq!(service.connections(), 0);
}
