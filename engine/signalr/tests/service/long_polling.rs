use std::time::Duration;

use hotswap_signalr::{Config, Rejection};
use poem::http::Method;
use serde_json::json;

use crate::chat::{Client, service};

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_messages_until_the_time_out() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.handshaken().await;
    let before = tokio::time::Instant::now();
    assert_eq!(client.poll().await, (200, vec![]));
    assert_eq!(before.elapsed().as_secs(), 90);
    let (polled, ()) = tokio::join!(client.poll(), async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        client
            .send(&[json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]})])
            .await;
    });
    assert_eq!(polled.1[0]["result"], "ada: x");
}

#[tokio::test]
async fn a_second_poll_replaces_the_first() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.handshaken().await;
    let (first, second) = tokio::join!(client.poll(), async {
        let (second, ()) = tokio::join!(client.poll(), async {
            client
                .send(&[
                    json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]}),
                ])
                .await;
        });
        second
    });
    assert_eq!(first.0, 204);
    assert_eq!(second.1[0]["result"], "ada: x");
}

#[tokio::test]
async fn messages_posted_before_the_first_poll_are_answered_by_the_second() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    client
        .send(&[
            json!({"protocol": "json", "version": 1}),
            json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]}),
        ])
        .await;
    assert_eq!(client.poll().await, (200, vec![]));
    let mut messages = Vec::new();
    while messages.len() < 2 {
        messages.extend(client.poll().await.1);
    }
    assert_eq!(
        (&messages[0], &messages[1]["result"]),
        (&json!({}), &json!("ada: x"))
    );
}

#[tokio::test]
async fn requests_that_match_no_connection_are_rejected() {
    let service = service(Config::default());
    let mut client = Client::negotiate(&service).await;
    let with_user = |client: Client, user| Client { user, ..client };
    client = with_user(client, "eve");
    let other = client.request(Method::GET, "*/*", "").await;
    assert_eq!(
        other.unwrap_err(),
        Rejection::UnknownConnection,
        "it belongs to another user"
    );
    client = with_user(client, "ada");
    client.poll().await;
    let events = client.request(Method::GET, "text/event-stream", "").await;
    assert_eq!(events.unwrap_err(), Rejection::TransportMismatch);
    let long = "x".repeat(100_000);
    let posted = client.request(Method::POST, "*/*", long).await;
    assert!(matches!(
        posted.unwrap_err(),
        Rejection::BodyTooLarge { .. }
    ));
    let put = client.request(Method::PUT, "*/*", "").await;
    assert_eq!(put.unwrap_err(), Rejection::MethodNotAllowed);
    client.connection_token = "unknown".to_owned();
    let deleted = client.request(Method::DELETE, "*/*", "").await;
    assert_eq!(deleted.unwrap_err(), Rejection::UnknownConnection);
}
