use std::time::Duration;

use hotswap_signalr::{Config, Event, Refusal};
use serde_json::json;

use crate::chat::{Client, service};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_forgotten() {
    let service = service(Config::default());
    let silent = Client::negotiate(&service).await;
    assert_eq!(service.connections(), 1);
    tokio::time::sleep(16 * SECOND).await;
    assert_eq!(service.connections(), 0, "no handshake came");
    let gone = silent.request(poem::http::Method::GET, "*/*", "").await;
    assert_eq!(gone.unwrap_err(), Refusal::Unknown);
    let polled = Client::negotiate(&service).await.greeted().await;
    tokio::time::sleep(25 * SECOND).await;
    assert_eq!(polled.call("Echo", json!(["still here"])).await.len(), 1);
    tokio::time::sleep(32 * SECOND).await;
    assert_eq!(service.connections(), 0, "nobody polls");
    assert_eq!(service.hub().gone.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_ends_the_connection_and_a_fresh_one_prolongs_it() {
    let service = service(Config::default());
    let minute = Some(60 * SECOND);
    let client = Client::negotiate_as(&service, "ada", minute).await.unwrap();
    let mut client = client.greeted().await;
    tokio::time::sleep(20 * SECOND).await;
    // The same token: no later end.
    client.expires = Some(40 * SECOND);
    let (status, told) = client.poll().await;
    assert_eq!(status, 200);
    assert_eq!(told[0]["type"], 7);
    assert_eq!(told[0]["allowReconnect"], true);
    assert_eq!(client.poll().await.0, 204);
    let client = Client::negotiate_as(&service, "ada", minute).await.unwrap();
    let mut client = client.greeted().await;
    client.expires = Some(300 * SECOND);
    for _ in 0..3 {
        assert_eq!(
            client.poll().await,
            (200, vec![]),
            "a poll that waited long enough"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_too_slow_is_told_to_come_back_and_others_go_on() {
    let mut config = Config::default();
    config.capacity.records = 4;
    let service = service(config);
    let slow = Client::negotiate(&service).await.greeted().await;
    let quick = Client::negotiate(&service).await.greeted().await;
    for client in [&slow, &quick] {
        client.call("Join", json!([])).await;
    }
    let peers = service.hub().peers.lock().unwrap().clone();
    for number in 0..10 {
        let event = Event::new("Said", json!(number));
        peers.iter().for_each(|peer| {
            peer.send(&event);
        });
        let (_, told) = quick.poll().await;
        assert_eq!(told[0]["arguments"], json!([number]));
    }
    let (_, told) = slow.poll().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["allowReconnect"], true);
    assert!(told[0]["error"].as_str().unwrap().contains("too slowly"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_everybody_to_come_back() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    let other = service.clone();
    let shutdown = tokio::spawn(async move { other.shutdown(5 * SECOND).await });
    let (_, told) = client.poll().await;
    assert_eq!(told, [json!({"type": 7, "allowReconnect": true})]);
    shutdown.await.unwrap();
    let refused = Client::negotiate_as(&service, "ada", None).await;
    assert_eq!(refused.err(), Some(Refusal::Closing));
}

#[tokio::test]
async fn what_is_no_record_ends_the_connection_for_good() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await.greeted().await;
    client.say(&[json!("not a record")]).await;
    let (_, told) = client.poll().await;
    assert_eq!(
        told,
        [json!({"type": 7, "error": "Connection closed with an error."})]
    );
    assert_eq!(client.poll().await.0, 204);
}

#[tokio::test]
async fn a_handshake_that_cannot_be_agreed_to_is_answered() {
    let service = service(Config::default());
    let client = Client::negotiate(&service).await;
    client.poll().await;
    client
        .say(&[json!({"protocol": "xml", "version": 1})])
        .await;
    let (_, told) = client.poll().await;
    assert_eq!(
        told,
        [json!({"error": "The protocol 'xml' is not supported."})]
    );
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    let config = Config {
        connections: 3,
        connections_per_user: 2,
        ..Config::default()
    };
    let service = service(config);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::negotiate(&service).await);
    }
    let refused = |owner| Client::negotiate_as(&service, owner, None);
    assert_eq!(
        refused("ada").await.err(),
        Some(Refusal::TooMany { count: 2 })
    );
    clients.push(refused("bob").await.unwrap());
    assert_eq!(refused("eve").await.err(), Some(Refusal::Full));
    let first = clients.remove(0).greeted().await;
    let ended = first.request(poem::http::Method::DELETE, "*/*", "").await;
    assert_eq!(ended.unwrap().status(), 202);
    assert!(refused("ada").await.is_ok(), "there is room again");
}
