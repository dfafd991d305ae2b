use std::time::Duration;

use hotswap_signalr::{Config, OutboundMessage, Rejection};
use serde_json::json;

use crate::chat::{Client, service};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn silent_clients_time_out() {
    let service = service(Config::default());
    let silent = Client::negotiate(&service).await;
    assert_eq!(service.connections(), 1);
    tokio::time::sleep(16 * SECOND).await;
    assert_eq!(service.connections(), 0, "there was no handshake");
    let response = silent.request(poem::http::Method::GET, "*/*", "").await;
    assert_eq!(response.unwrap_err(), Rejection::UnknownConnection);
    let polled = Client::negotiate(&service).await.handshaken().await;
    tokio::time::sleep(25 * SECOND).await;
    assert_eq!(polled.invoke("Echo", json!(["still here"])).await.len(), 1);
    tokio::time::sleep(32 * SECOND).await;
    assert_eq!(service.connections(), 0, "there was no poll");
    assert_eq!(service.hub().disconnected.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_token_and_a_fresh_token_extends_it() {
    let service = service(Config::default());
    let minute = Some(60 * SECOND);
    let client = Client::negotiate_as(&service, "ada", minute).await.unwrap();
    let mut client = client.handshaken().await;
    tokio::time::sleep(20 * SECOND).await;
    // A token that expires no later does not extend the connection.
    client.expires_in = Some(40 * SECOND);
    let (status, messages) = client.poll().await;
    assert_eq!(status, 200);
    assert_eq!(messages[0]["type"], 7);
    assert_eq!(messages[0]["allowReconnect"], true);
    assert_eq!(client.poll().await.0, 204);
    let client = Client::negotiate_as(&service, "ada", minute).await.unwrap();
    let mut client = client.handshaken().await;
    client.expires_in = Some(300 * SECOND);
    for _ in 0..3 {
        assert_eq!(client.poll().await, (200, vec![]), "the poll timed out");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_has_to_reconnect_and_others_are_not_affected() {
    let mut config = Config::default();
    config.queue_capacity.messages = 4;
    let service = service(config);
    let slow = Client::negotiate(&service).await.handshaken().await;
    let fast = Client::negotiate(&service).await.handshaken().await;
    for client in [&slow, &fast] {
        client.invoke("Join", json!([])).await;
    }
    let connections = service.hub().connections.lock().unwrap().clone();
    for number in 0..10 {
        let message = OutboundMessage::new("Said", json!(number));
        connections.iter().for_each(|connection| {
            connection.send(&message);
        });
        let (_, messages) = fast.poll().await;
        assert_eq!(messages[0]["arguments"], json!([number]));
    }
    let (_, messages) = slow.poll().await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["allowReconnect"], true);
    assert!(
        messages[0]["error"]
            .as_str()
            .unwrap()
            .contains("too slowly")
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_asks_clients_to_reconnect() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.handshaken().await;
    let other = service.clone();
    let shutdown = tokio::spawn(async move { other.shutdown(5 * SECOND).await });
    let (_, messages) = client.poll().await;
    assert_eq!(messages, [json!({"type": 7, "allowReconnect": true})]);
    shutdown.await.unwrap();
    let rejected = Client::negotiate_as(&service, "ada", None).await;
    assert_eq!(rejected.err(), Some(Rejection::ShuttingDown));
}

#[tokio::test]
async fn an_invalid_message_closes_the_connection_for_good() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.handshaken().await;
    client.send(&[json!("not a message")]).await;
    let (_, messages) = client.poll().await;
    assert_eq!(
        messages,
        [json!({"type": 7, "error": "Connection closed with an error."})]
    );
    assert_eq!(client.poll().await.0, 204);
}

#[tokio::test]
async fn a_rejected_handshake_is_answered_with_the_reason() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    client.poll().await;
    client
        .send(&[json!({"protocol": "xml", "version": 1})])
        .await;
    let (_, messages) = client.poll().await;
    assert_eq!(
        messages,
        [json!({"error": "The protocol 'xml' is not supported."})]
    );
}

#[tokio::test]
async fn the_number_of_connections_is_limited() {
    let config = Config {
        max_connections: 3,
        max_connections_per_user: 2,
        ..Config::default()
    };
    let service = service(config);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::negotiate(&service).await);
    }
    let negotiate = |user| Client::negotiate_as(&service, user, None);
    assert_eq!(
        negotiate("ada").await.err(),
        Some(Rejection::TooManyConnections { count: 2 })
    );
    clients.push(negotiate("bob").await.unwrap());
    assert_eq!(negotiate("eve").await.err(), Some(Rejection::ServerFull));
    let first = clients.remove(0).handshaken().await;
    let response = first.request(poem::http::Method::DELETE, "*/*", "").await;
    assert_eq!(response.unwrap().status(), 202);
    assert!(negotiate("ada").await.is_ok(), "a connection was released");
}
