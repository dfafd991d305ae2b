//! Servers and connections that fail.

use std::error::Error as _;
use std::time::Duration;

use hotswap_core::{Deployment, EventBody};
use hotswap_store::redis::Error;
use hotswap_store::{AppendError, Journal, LeaseError, NewSnapshot, Redis, RedisConfig};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::access::wait_until;
use crate::redis_proxy::RedisProxy;
use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::{all, append, append_at_end, create, failure, log, must_append, planned};

fn message(error: &AppendError) -> String {
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_takes_effect_once() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let proxy = RedisProxy::start(server.port()).await.unwrap();
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
    let proxy = RedisProxy::start(server.port()).await.unwrap();
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

async fn until_another_epoch(store: &Redis, before: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while *store.epoch() == *before {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_store_that_is_shorter_than_what_was_seen_gets_a_new_epoch() {
    // Also where no connection breaks: behind it may be another server.
    for breaks in [true, false] {
        let server = RedisServer::start(RedisKind::Redis).unwrap();
        let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
        let mut appended = store.subscribe();
        for module in ["a", "b", "c"] {
            create(&store, module, "production").await;
        }
        while appended.recv().await.unwrap().position < 3 {}
        assert_eq!(store.session().unwrap().last_loss(), None);
        let before = store.epoch();
        // As after a failover to a replica that had only the first event.
        let position = ["HSET", "{hotswap}:meta", "position", "1"];
        server.command(&position).unwrap();
        server.command(&["DEL", "{hotswap}:log"]).unwrap();
        if breaks {
            let kill = ["CLIENT", "KILL", "TYPE", "normal"];
            server.command(&kill).unwrap();
        }
        until_another_epoch(&store, &before).await;
        let id = create(&store, "d", "production").await;
        let next = appended.recv().await.unwrap();
        assert_eq!(
            (next.deployment, next.position),
            (id, 4),
            "no position has two meanings"
        );
        // Also an engine that is started later knows of it.
        let later = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
        let noticed = later.session().unwrap().last_loss().unwrap();
        let session = store.session().unwrap();
        wait_until(|| session.last_loss() == Some(noticed)).await;
        assert!(noticed <= session.server_time().0);
        later.close().await;
        store.close().await;
    }
}

#[tokio::test]
async fn what_others_wrote_in_place_of_lost_writes_is_noticed() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let mut appended = store.subscribe();
    for module in ["a", "b", "c"] {
        create(&store, module, "production").await;
    }
    while appended.recv().await.unwrap().position < 3 {}
    let before = store.epoch();
    // As if the third event was lost, and an engine that never saw it had appended two others.
    let log = "{hotswap}:log";
    for command in [
        &["XDEL", log, "3-0"][..],
        &["XSETID", log, "2-0"],
        &["XADD", log, "3-0", "v", "production", "f", "0"],
        &["XADD", log, "4-0", "v", "production", "f", "0"],
        &["HSET", "{hotswap}:meta", "position", "4"],
    ] {
        let answer = server.command(command).unwrap();
        assert!(!answer.starts_with('-'), "{command:?}: {answer}");
    }
    until_another_epoch(&store, &before).await;
    store.close().await;
}

#[tokio::test]
async fn after_a_loss_leases_from_before_are_void_and_later_ones_say_so() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let mut appended = store.subscribe();
    let id = create(&store, "checkout", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    let lease = store.acquire_lease(id).await.unwrap();
    assert_eq!(lease.lost_at, 0);
    while appended.recv().await.unwrap().position < 2 {}
    let before = store.epoch();
    let mut epochs = store.epochs();
    // As if the plan was lost, and a person's request then came in its place: the journal has the
    // length that the driver expects.
    for command in [
        &["RPOP", &format!("{{hotswap}}:e:{id}")][..],
        &["HSET", &format!("{{hotswap}}:d:{id}"), "seq", "1"],
        &["HSET", "{hotswap}:meta", "position", "1"],
        &["DEL", "{hotswap}:log"],
    ] {
        let answer = server.command(command).unwrap();
        assert!(!answer.starts_with('-'), "{command:?}: {answer}");
    }
    epochs.changed().await.unwrap();
    assert_ne!(*epochs.borrow(), before);
    let paused = EventBody::Paused {
        by: "ada".to_owned(),
        reason: None,
    };
    must_append(&store, id, 1, &[paused]).await;
    let late = append(id, 2, Some(lease.fence), &[log(0, "late")]);
    let error = store.append(late).await.unwrap_err();
    assert!(matches!(error, AppendError::Fenced(_)), "{error:?}");
    let session = store.session().unwrap();
    let undriven = session.undriven_deployments().await.unwrap();
    assert_eq!(undriven[0].deployment, id);
    let again = store.acquire_lease(id).await.unwrap();
    assert!(again.fence > lease.fence);
    assert_eq!(again.lost_at, 2);
    store.close().await;
}

#[tokio::test]
async fn a_fence_that_a_node_told_of_is_not_handed_out_twice() {
    let server = RedisServer::start(RedisKind::Valkey).unwrap();
    let open = async || Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let (store, other) = (open().await, open().await);
    let id = create(&other, "checkout", "production").await;
    let mut highest = other.acquire_lease(id).await.unwrap().fence;
    for _ in 0..5 {
        highest = other.acquire_lease(id).await.unwrap().fence;
    }
    // The engine that had these leases is gone. Of the last one a node tells.
    assert!(!store.raise_fence(highest).await.unwrap());
    other.close().await;
    let before = store.epoch();
    server
        .command(&["HSET", "{hotswap}:meta", "fence", "1"])
        .unwrap();
    server
        .command(&["CLIENT", "KILL", "TYPE", "normal"])
        .unwrap();
    until_another_epoch(&store, &before).await;
    let lease = loop {
        match store.acquire_lease(id).await {
            Ok(lease) => break lease,
            Err(LeaseError::Store(_)) => sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(lease.fence > highest, "{:?} {highest:?}", lease.fence);
    store.close().await;
}

#[tokio::test]
async fn a_snapshot_of_an_end_that_is_lost_is_not_taken() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let snapshot = |next_seq, ended| NewSnapshot {
        deployment: id,
        format: 1,
        next_seq,
        ended,
        summary: b"{}".to_vec(),
        state: b"{}".to_vec(),
    };
    store.put_snapshot(snapshot(7, true)).await.unwrap();
    assert_eq!(store.snapshot(id).await.unwrap(), None);
    // One of events that are lost gives way to that of the end.
    store.put_snapshot(snapshot(7, false)).await.unwrap();
    append_at_end(&store, id, &failure()).await;
    store.put_snapshot(snapshot(3, true)).await.unwrap();
    assert_eq!(store.snapshot(id).await.unwrap().unwrap().next_seq, 3);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_was_emptied_is_no_store_that_goes_on() {
    let server = RedisServer::start(RedisKind::Valkey).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let fence = loop {
        match store.acquire_lease(id).await {
            Ok(lease) => break lease.fence,
            Err(LeaseError::Store(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    let before = store.epoch();
    server.command(&["FLUSHALL"]).unwrap();
    until_another_epoch(&store, &before).await;
    let id = create(&store, "checkout", "production").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let again = loop {
        match store.acquire_lease(id).await {
            Ok(lease) => break lease.fence,
            // Its session is gone too, and it begins another.
            Err(LeaseError::Store(_)) => assert!(Instant::now() < deadline),
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(again > fence, "no fence has two meanings");
    assert_eq!(store.last_position().await.unwrap(), 2);
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

/// Tries to append while the server is as `spoil` leaves it, and then again. Returns why the first
/// attempt failed.
async fn append_while(
    server: &RedisServer,
    spoil: impl AsyncFnOnce(),
    repair: impl AsyncFnOnce(),
) -> String {
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(server.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    spoil().await;
    let error = store.append(append(id, 1, None, &[planned()])).await;
    repair().await;
    assert_eq!(store.head(id).await.unwrap().next_seq, 1);
    must_append(&store, id, 1, &[planned()]).await;
    store.close().await;
    message(&error.unwrap_err())
}

fn must(server: &RedisServer, command: &[&str]) {
    let answer = server.command(command).unwrap();
    assert!(!answer.starts_with('-'), "{command:?}: {answer}");
}

#[tokio::test]
async fn a_full_memory_is_told_in_words_and_nothing_is_written() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let limit = |bytes: &'static str| {
        let server = &server;
        async move || must(server, &["CONFIG", "SET", "maxmemory", bytes])
    };
    let error = append_while(&server, limit("1"), limit("0")).await;
    assert!(
        error.contains("maxmemory") && error.contains("[retention]"),
        "{error}"
    );
}

#[tokio::test]
async fn a_replica_refuses_writes_in_words() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let follow = |host: &'static str, port: &'static str| {
        let server = &server;
        async move || must(server, &["REPLICAOF", host, port])
    };
    let error = append_while(&server, follow("127.0.0.1", "1"), follow("NO", "ONE")).await;
    assert!(error.contains("it is a replica"), "{error}");
}

#[tokio::test]
async fn a_primary_that_lacks_replicas_is_told_in_words() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let require = |count: &'static str| {
        let server = &server;
        async move || must(server, &["CONFIG", "SET", "min-replicas-to-write", count])
    };
    let error = append_while(&server, require("1"), require("0")).await;
    assert!(error.contains("min-replicas-to-write"), "{error}");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_told_in_words() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start(kind).unwrap();
        let save = async |result: &str| {
            must(&server, &["BGSAVE"]);
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let info = server.command(&["INFO", "persistence"]).unwrap();
                if info.contains(&format!("rdb_last_bgsave_status:{result}"))
                    && info.contains("rdb_bgsave_in_progress:0")
                {
                    break;
                }
                assert!(Instant::now() < deadline, "{info}");
                sleep(Duration::from_millis(10)).await;
            }
        };
        // No file can take the place of a folder.
        let snapshot = server.folder().join("dump.rdb");
        let spoil = async || {
            std::fs::create_dir_all(snapshot.join("a")).unwrap();
            must(&server, &["CONFIG", "SET", "save", "3600 1000000"]);
            save("err").await;
        };
        let repair = async || {
            std::fs::remove_dir_all(&snapshot).unwrap();
            save("ok").await;
        };
        let error = append_while(&server, spoil, repair).await;
        assert!(error.contains("cannot save to its disk"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    // It takes its time for each key, and answers meanwhile.
    let arguments = [
        &RedisServer::DURABLE[..],
        &["--key-load-delay", "1000"],
        &["--loading-process-events-interval-bytes", "1024"],
    ];
    let mut server = RedisServer::start_with(RedisKind::Redis, &arguments.concat()).unwrap();
    let config = RedisConfig::new(server.url());
    let patient = RedisConfig {
        patience: Duration::from_secs(60),
        ..config.clone()
    };
    let store = Redis::open(&patient).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let fill = "for i = 1, 5000 do redis.call('SET', 'key' .. i, string.rep('x', 100)) end";
    must(&server, &["EVAL", fill, "0"]);
    must(&server, &["BGREWRITEAOF"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while let info = server.command(&["INFO", "persistence"]).unwrap()
        && !(info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrites:1"))
    {
        assert!(Instant::now() < deadline, "{info}");
        sleep(Duration::from_millis(10)).await;
    }
    server.kill();
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    });
    let impatient = RedisConfig {
        patience: Duration::from_secs(1),
        ..config
    };
    // Until it has begun to load, it does not answer at all.
    let error = loop {
        assert!(Instant::now() < deadline);
        match Redis::open(&impatient).await.unwrap_err() {
            Error::Unavailable { .. } => {}
            error => break error.to_string(),
        }
    };
    assert!(error.contains("still loads its data"), "{error}");
    must_append(&store, id, 1, &[planned()]).await;
    let server = restarting.await.unwrap();
    store.close().await;
    drop(server);
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
async fn many_reads_that_wait_for_a_connection_are_all_given_up_after_the_same_time() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let proxy = RedisProxy::start(server.port()).await.unwrap();
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(proxy.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    // New connections are taken, and get no answer.
    proxy.stall(true);
    proxy.disconnect();
    let began = Instant::now();
    let mut reads = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        reads.spawn(async move { store.events_after(0, 9).await.map(drop) });
    }
    for read in reads.join_all().await {
        let error = read.unwrap_err().source().unwrap().to_string();
        assert!(error.contains("does not answer"), "{error}");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    proxy.stall(false);
    assert_eq!(store.head(id).await.unwrap().next_seq, 1);
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
