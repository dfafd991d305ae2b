//! Servers and connections that fail.

use std::error::Error as _;
use std::time::Duration;

use hotswap_core::{Deployment, EventBody};
use hotswap_store::redis::Error;
use hotswap_store::{AppendError, Journal, Redis, RedisConfig};
use tokio::task::JoinSet;

use crate::proxy::Proxy;
use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::{all, append, create, log, must_append, planned};

fn message(error: &AppendError) -> String {
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_takes_effect_once() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let proxy = Proxy::start(server.port()).await;
    let store = Redis::open(&RedisConfig::new(proxy.url())).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let mut next = must_append(&store, id, 1, &[planned()]).await.next_seq;
    for number in 0..20 {
        // The server carries out what is under way, and its answer is cut off.
        proxy.cut_answers();
        let bodies = [log(2 * number, "a"), log(2 * number + 1, "b")];
        next = must_append(&store, id, next, &bodies).await.next_seq;
    }
    assert_eq!(next, 42);
    let events = all(&store, id).await;
    Deployment::fold(&events).unwrap();
    assert!(proxy.cuts() >= 10, "{} answers were lost", proxy.cuts());
    store.close().await;
}

#[tokio::test]
async fn an_append_that_others_have_continued_is_still_known_as_its_own() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let proxy = Proxy::start(server.port()).await;
    let store = Redis::open(&RedisConfig::new(proxy.url())).await.unwrap();
    let other = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    // The server knows the script from here on, and carries out the next append at once.
    let first = create(&store, "search", "production").await;
    must_append(&store, first, 1, &[planned()]).await;
    let id = create(&store, "checkout", "production").await;
    let mut appended = other.subscribe();
    proxy.cut_answers();
    proxy.refuse(true);
    let planning = tokio::spawn({
        let store = store.clone();
        async move { store.append(append(id, 1, None, &[planned()])).await }
    });
    loop {
        let appended = appended.recv().await.unwrap();
        if appended.deployment == id && appended.head.next_seq == 2 {
            break;
        }
    }
    let paused = EventBody::Paused {
        by: "ada".to_owned(),
        reason: None,
    };
    must_append(&other, id, 2, &[paused]).await;
    proxy.refuse(false);
    assert_eq!(planning.await.unwrap().unwrap().next_seq, 2);
    assert_eq!(all(&other, id).await.len(), 3);
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_killed_server_has_everything_it_acknowledged() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let mut server = RedisServer::start(kind).unwrap();
        let mut config = RedisConfig::new(server.url());
        config.patience = Duration::from_secs(60);
        let store = Redis::open(&config).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let store = store.clone();
            tasks.spawn(async move {
                let id = create(&store, &format!("m{number}"), "production").await;
                let mut head = must_append(&store, id, 1, &[planned()]).await;
                for call in 0..150 {
                    let bodies = [log(2 * call, "a"), log(2 * call + 1, &"b".repeat(500))];
                    head = must_append(&store, id, head.next_seq, &bodies).await;
                }
                (id, head)
            });
        }
        let mut appended = store.subscribe();
        for _ in 0..3 {
            for _ in 0..200 {
                appended.recv().await.unwrap();
            }
            server.kill();
            server.restart().unwrap();
        }
        for (id, head) in tasks.join_all().await {
            assert_eq!(store.head(id).await.unwrap(), head);
            let folded = Deployment::fold(&all(&store, id).await).unwrap();
            assert_eq!((folded.next_seq, head.next_seq), (302, 302));
        }
        store.close().await;
    }
}

#[tokio::test]
async fn a_store_that_is_shorter_than_what_was_seen_gets_a_new_epoch() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let mut appended = store.subscribe();
    for module in ["a", "b", "c"] {
        create(&store, module, "production").await;
    }
    while appended.recv().await.unwrap().position < 3 {}
    let before = store.epoch();
    // As after a failover to a replica that had only the first event.
    for command in [
        &["HSET", "{hotswap}:meta", "position", "1"][..],
        &["DEL", "{hotswap}:log"],
        &["CLIENT", "KILL", "TYPE", "normal"],
    ] {
        server.command(command).unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while store.epoch() == before {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let id = create(&store, "d", "production").await;
    let next = appended.recv().await.unwrap();
    assert_eq!(
        (next.deployment, next.position),
        (id, 4),
        "no position has two meanings"
    );
    store.close().await;
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let server = RedisServer::start(RedisKind::Valkey).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    for next in 1..4 {
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
        let body = if next == 1 { planned() } else { log(0, "a") };
        must_append(&store, id, next, &[body]).await;
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
        assert_eq!(store.head(id).await.unwrap().next_seq, next + 1);
    }
    store.close().await;
}

#[tokio::test]
async fn a_full_memory_is_told_in_words_and_nothing_is_written() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .unwrap();
    let error = store.append(append(id, 1, None, &[planned()])).await;
    let error = message(&error.unwrap_err());
    assert!(
        error.contains("maxmemory") && error.contains("[retention]"),
        "{error}"
    );
    server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .unwrap();
    assert_eq!(store.head(id).await.unwrap().next_seq, 1);
    must_append(&store, id, 1, &[planned()]).await;
    store.close().await;
}

#[tokio::test]
async fn a_replica_refuses_writes_in_words() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(server.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let error = store.append(append(id, 1, None, &[planned()])).await;
    let error = message(&error.unwrap_err());
    assert!(error.contains("it is a replica"), "{error}");
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    must_append(&store, id, 1, &[planned()]).await;
    store.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_after_a_time() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(server.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    server.pause().unwrap();
    let error = store.append(append(id, 1, None, &[planned()])).await;
    let error = message(&error.unwrap_err());
    assert!(error.contains("does not answer"), "{error}");
    server.resume().unwrap();
    // It may have been carried out since: the number tells.
    let head = store.head(id).await.unwrap();
    if head.next_seq == 1 {
        let appended = store.append(append(id, 1, None, &[planned()])).await;
        assert!(
            matches!(appended, Ok(_) | Err(AppendError::Conflict(_))),
            "{appended:?}"
        );
    }
    assert_eq!(store.head(id).await.unwrap().next_seq, 2);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_without_its_password() {
    let mut server = RedisServer::start(RedisKind::Redis).unwrap();
    server.kill();
    let config = RedisConfig {
        password: Some(hotswap_common::Secret::new("swordfish")),
        patience: Duration::from_secs(1),
        ..RedisConfig::new(server.url())
    };
    let error = Redis::open(&config).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
    assert!(
        text.contains(&server.url()) && !text.contains("swordfish"),
        "{text}"
    );
}
