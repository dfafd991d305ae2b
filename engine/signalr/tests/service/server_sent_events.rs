use futures_util::{Stream, StreamExt};
use hotswap_signalr::{Config, Refusal};
use poem::http::Method;
use serde_json::{Value, json};

use crate::chat::{Client, records, service};

type Events = std::pin::Pin<Box<dyn Stream<Item = String> + Send>>;

async fn events(client: &Client) -> Events {
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
        "headers go out at once"
    );
    events
}

async fn told(events: &mut Events) -> Vec<Value> {
    let text = events.next().await.unwrap();
    let data = text.split_terminator("\r\n\r\n");
    data.flat_map(|it| records(it.strip_prefix("data: ").unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn tells_what_is_told_and_pings_when_nothing_is() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    let mut events = events(&client).await;
    client
        .say(&[json!({"protocol": "json", "version": 1})])
        .await;
    assert_eq!(told(&mut events).await, [json!({})]);
    client
        .say(&[json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]})])
        .await;
    assert_eq!(told(&mut events).await[0]["result"], "ada: x");
    let before = tokio::time::Instant::now();
    assert_eq!(told(&mut events).await, [json!({"type": 6})]);
    let waited = before.elapsed().as_secs();
    assert!((14..=17).contains(&waited), "{waited}");
    // A client that does not ping is given up.
    let last = loop {
        let told = told(&mut events).await;
        if told[0]["type"] == 7 {
            break told;
        }
    };
    assert_eq!(last[0]["allowReconnect"], true);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_connection_ends_with_its_response() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    let first = events(&client).await;
    let second = client.request(Method::GET, "text/event-stream", "").await;
    assert_eq!(second.unwrap_err(), Refusal::InUse);
    let ended = client.request(Method::DELETE, "*/*", "").await;
    assert_eq!(ended.unwrap_err(), Refusal::OnlyPolling);
    drop(first);
    assert_eq!(service.connections(), 0);
}
