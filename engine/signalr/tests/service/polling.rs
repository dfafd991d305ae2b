use std::time::Duration;

use hotswap_signalr::{Config, Refusal};
use poem::http::Method;
use serde_json::json;

use crate::chat::{Client, service};

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_something_and_not_for_ever() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    let before = tokio::time::Instant::now();
    assert_eq!(client.poll().await, (200, vec![]));
    assert_eq!(before.elapsed().as_secs(), 90);
    let (polled, ()) = tokio::join!(client.poll(), async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        client
            .say(&[json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]})])
            .await;
    });
    assert_eq!(polled.1[0]["result"], "ada: x");
}

#[tokio::test]
async fn a_second_poll_takes_the_place_of_the_first() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    let (first, second) = tokio::join!(client.poll(), async {
        let (second, ()) = tokio::join!(client.poll(), async {
            client
                .say(&[
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
async fn what_is_posted_before_the_first_poll_is_answered_by_the_second() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    client
        .say(&[
            json!({"protocol": "json", "version": 1}),
            json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["x"]}),
        ])
        .await;
    assert_eq!(client.poll().await, (200, vec![]));
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(client.poll().await.1);
    }
    assert_eq!(
        (&told[0], &told[1]["result"]),
        (&json!({}), &json!("ada: x"))
    );
}

#[tokio::test]
async fn requests_that_fit_no_connection_are_refused() {
    let service = service(Config::default());
    let mut client = Client::negotiate(&service).await;
    let client_of = |client: Client, owner| Client { owner, ..client };
    client = client_of(client, "eve");
    let other = client.request(Method::GET, "*/*", "").await;
    assert_eq!(other.unwrap_err(), Refusal::Unknown, "it is another user's");
    client = client_of(client, "ada");
    client.poll().await;
    let events = client.request(Method::GET, "text/event-stream", "").await;
    assert_eq!(events.unwrap_err(), Refusal::OtherTransport);
    let long = "x".repeat(100_000);
    let posted = client.request(Method::POST, "*/*", long).await;
    assert!(matches!(posted.unwrap_err(), Refusal::TooLarge { .. }));
    let put = client.request(Method::PUT, "*/*", "").await;
    assert_eq!(put.unwrap_err(), Refusal::Method);
    client.id = "unknown".to_owned();
    let gone = client.request(Method::DELETE, "*/*", "").await;
    assert_eq!(gone.unwrap_err(), Refusal::Unknown);
}
