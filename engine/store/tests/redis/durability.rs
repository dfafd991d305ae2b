//! What the server promises is read at the start.

use std::time::Duration;

use hotswap_store::redis::{Error, Fsync, RequiredDurability};
use hotswap_store::{Journal, LeaseError, Redis, RedisConfig};
use tokio::time::sleep;

use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::{append, create, must_append, planned};

const EVERY_SECOND: [&str; 4] = RedisServer::EVERY_SECOND;

/// How many writes the server has let wait for disks.
pub fn waits(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).unwrap();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_waitaof:calls="));
    let count = line.and_then(|line| line.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
}

async fn refusal(config: &RedisConfig) -> String {
    match Redis::open(config).await.unwrap_err() {
        Error::NotDurable { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_keeps_its_data_in_memory_is_refused_unless_that_is_wanted() {
    let server = RedisServer::start_with(RedisKind::Redis, &[]).unwrap();
    let mut config = RedisConfig::new(server.url());
    let reason = refusal(&config).await;
    assert!(reason.contains("set appendonly to yes"), "{reason}");
    config.durability = RequiredDurability::Anything;
    let store = Redis::open(&config).await.unwrap();
    assert_eq!(store.durability().fsync, None);
    create(&store, "checkout", "production").await;
    store.close().await;
}

#[tokio::test]
async fn a_server_that_deletes_keys_once_it_is_full_is_refused() {
    let arguments = [
        &RedisServer::DURABLE[..],
        &["--maxmemory-policy", "allkeys-lru"],
    ];
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start_with(kind, &arguments.concat()).unwrap();
        let reason = refusal(&RedisConfig::new(server.url())).await;
        assert!(reason.contains("noeviction"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_writes_every_second_is_accepted_with_a_warning() {
    let server = RedisServer::start_with(RedisKind::Redis, &EVERY_SECOND).unwrap();
    let config = RedisConfig::new(server.url());
    let store = Redis::open(&config).await.unwrap();
    let durability = store.durability();
    assert_eq!(durability.fsync, Some(Fsync::EverySecond));
    let warnings = durability.warnings(&config);
    assert!(warnings[0].contains("two seconds"), "{warnings:?}");
    // Its memory has no limit either.
    assert!(warnings[1].contains("maxmemory 0"), "{warnings:?}");
    assert_eq!(warnings.len(), 2);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_write_while_it_rewrites_its_file_is_accepted_with_a_warning() {
    let skips = ["--no-appendfsync-on-rewrite", "yes"];
    let memory = ["--maxmemory", "64mb"];
    let arguments = [&RedisServer::DURABLE[..], &skips, &memory].concat();
    let server = RedisServer::start_with(RedisKind::Valkey, &arguments).unwrap();
    let mut config = RedisConfig::new(server.url());
    let store = Redis::open(&config).await.unwrap();
    let durability = store.durability();
    let warnings = durability.warnings(&config);
    assert!(
        warnings[0].contains("no-appendfsync-on-rewrite"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1);
    let crash = |config: &RedisConfig| durability.losses(config)[3].what;
    assert!(crash(&config).contains("rewrite"), "{}", crash(&config));
    // The server tells what is on its disk.
    config.wait_for_disk = true;
    assert_eq!(durability.warnings(&config), Vec::<&str>::new());
    assert_eq!(crash(&config), "nothing");
    store.close().await;
}

#[tokio::test]
async fn appends_wait_for_the_disk_where_the_server_can_tell() {
    let config = |server: &RedisServer| RedisConfig {
        wait_for_disk: true,
        ..RedisConfig::new(server.url())
    };
    let old = RedisServer::start_with(RedisKind::Redis, &EVERY_SECOND).unwrap();
    let reason = refusal(&config(&old)).await;
    assert!(reason.contains("cannot tell"), "{reason}");

    let server = RedisServer::start_with(RedisKind::Valkey, &EVERY_SECOND).unwrap();
    let config = config(&server);
    let store = Redis::open(&config).await.unwrap();
    assert!(store.durability().has_waitaof);
    let warnings = store.durability().warnings(&config);
    assert!(
        !warnings.iter().any(|warning| warning.contains("seconds")),
        "{warnings:?}"
    );
    let id = create(&store, "checkout", "production").await;
    let before = waits(&server);
    must_append(&store, id, 1, &[planned()]).await;
    assert!(waits(&server) > before);
    // What is acknowledged is on the disk: nothing is lost, whatever the second it falls into.
    let mut server = server;
    server.kill();
    server.restart().unwrap();
    assert_eq!(store.head(id).await.unwrap().next_seq, 2);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_has_no_file_cannot_be_waited_for() {
    let server = RedisServer::start_with(RedisKind::Valkey, &[]).unwrap();
    let config = RedisConfig {
        wait_for_disk: true,
        durability: RequiredDurability::Anything,
        ..RedisConfig::new(server.url())
    };
    let reason = refusal(&config).await;
    assert!(reason.contains("set appendonly to yes"), "{reason}");

    // Nor where it gives up its file later: nothing is acknowledged that it may lose.
    server
        .command(&["CONFIG", "SET", "appendonly", "yes"])
        .unwrap();
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    server
        .command(&["CONFIG", "SET", "appendonly", "no"])
        .unwrap();
    let error = store.append(append(id, 1, None, &[planned()])).await;
    assert!(error.is_err(), "{error:?}");
    drop(store);
}

#[tokio::test]
async fn the_first_append_to_a_server_that_takes_over_waits_for_its_disk() {
    // Each write is on its disk before it answers. The next primary may promise less.
    let mut server = RedisServer::start(RedisKind::Valkey).unwrap();
    let config = RedisConfig {
        wait_for_disk: true,
        patience: Duration::from_secs(60),
        ..RedisConfig::new(server.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    assert!(waits(&server) > 0);
    server.restart_with(&EVERY_SECOND).unwrap();
    assert_eq!(waits(&server), 0);
    must_append(&store, id, 1, &[planned()]).await;
    assert!(waits(&server) > 0);
    store.close().await;
}

#[tokio::test]
async fn what_a_server_promises_no_more_is_noticed_while_it_runs() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start(kind).unwrap();
        let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
        let session = store.session().unwrap();
        assert_eq!(session.lost_durability(), None);
        for (name, value, expected) in [
            ("appendfsync", "everysec", Some("up to two seconds")),
            ("appendonly", "no", Some("set appendonly to yes")),
            ("appendonly", "yes", Some("up to two seconds")),
            ("appendfsync", "always", None),
            ("maxmemory-policy", "allkeys-lru", Some("noeviction")),
        ] {
            let set = server.command(&["CONFIG", "SET", name, value]).unwrap();
            assert_eq!(set, "+OK\r\n");
            let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
            loop {
                let lost = session.lost_durability();
                let is_as_expected = match (&lost, expected) {
                    (Some(lost), Some(expected)) => lost.contains(expected),
                    (None, None) => true,
                    _ => false,
                };
                if is_as_expected {
                    break;
                }
                assert!(tokio::time::Instant::now() < deadline, "{name}: {lost:?}");
                sleep(Duration::from_millis(50)).await;
            }
        }
        store.close().await;
    }
}

#[tokio::test]
async fn what_a_crash_takes_from_a_server_that_writes_every_second_is_noticed() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let mut server = RedisServer::start_with(kind, &EVERY_SECOND).unwrap();
        let config = RedisConfig {
            patience: Duration::from_secs(60),
            ..RedisConfig::new(server.url())
        };
        let store = Redis::open(&config).await.unwrap();
        let id = create(&store, "checkout", "production").await;
        let length = server.log_length().unwrap();
        must_append(&store, id, 1, &[planned()]).await;
        let lease = store.acquire_lease(id).await.unwrap();
        let before = store.epoch();
        // What the machine had not written to its disk yet is gone.
        server.kill();
        server.cut_log(length).unwrap();
        server.restart().unwrap();
        assert_eq!(store.head(id).await.unwrap().next_seq, 1);
        assert_ne!(store.epoch(), before);
        must_append(&store, id, 1, &[planned()]).await;
        let last = store.last_position().await.unwrap();
        assert_eq!(last, 3, "no position has two meanings");
        let again = loop {
            match store.acquire_lease(id).await {
                Ok(lease) => break lease,
                // Its session is gone too, and it begins another.
                Err(LeaseError::Store(_)) => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error:?}"),
            }
        };
        assert!(again.fence > lease.fence, "no fence has two meanings");
        assert_eq!(again.lost_at, 2);
        store.close().await;
    }
}

#[tokio::test]
async fn what_the_store_loses_while_no_engine_runs_is_noticed_by_the_next_one() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let mut server = RedisServer::start_with(kind, &EVERY_SECOND).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = RedisConfig {
            patience: Duration::from_secs(60),
            witness_file: Some(folder.path().join("seen.json")),
            ..RedisConfig::new(server.url())
        };
        let store = Redis::open(&config).await.unwrap();
        let id = create(&store, "checkout", "production").await;
        let length = server.log_length().unwrap();
        must_append(&store, id, 1, &[planned()]).await;
        let lease = store.acquire_lease(id).await.unwrap();
        let before = store.epoch();
        store.close().await;
        // Engine and server stood on machines that lost their power together.
        server.kill();
        server.cut_log(length).unwrap();
        server.restart().unwrap();
        let store = Redis::open(&config).await.unwrap();
        let epoch = store.epoch();
        assert_ne!(epoch, before);
        assert_eq!(store.head(id).await.unwrap().next_seq, 1);
        must_append(&store, id, 1, &[planned()]).await;
        let last = store.last_position().await.unwrap();
        assert_eq!(last, 3, "no position has two meanings");
        let again = store.acquire_lease(id).await.unwrap();
        assert!(again.fence > lease.fence, "no fence has two meanings");
        assert_eq!(again.lost_at, 2);
        store.close().await;
        // What the engine has seen since is all there.
        let store = Redis::open(&config).await.unwrap();
        assert_eq!(store.epoch(), epoch);
        store.close().await;
    }
}

#[tokio::test]
async fn what_others_wrote_in_place_of_lost_writes_is_noticed_after_a_restart() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = RedisConfig {
        witness_file: Some(folder.path().join("seen.json")),
        ..RedisConfig::new(server.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let mut appended = store.subscribe();
    create(&store, "checkout", "production").await;
    while appended.recv().await.unwrap().position < 1 {}
    let before = store.epoch();
    store.close().await;
    // Another engine has appended up to the same position.
    server.command(&["DEL", "{hotswap}:log"]).unwrap();
    let other = ["XADD", "{hotswap}:log", "1-0", "d", "another"];
    server.command(&other).unwrap();
    let store = Redis::open(&config).await.unwrap();
    assert_ne!(store.epoch(), before);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_what_was_seen_that_is_damaged_or_cannot_be_written_stops_nothing() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("seen.json");
    std::fs::write(&damaged, "{\"epoch\": 7").unwrap();
    let unwritable = damaged.join("seen.json");
    let other = folder.path().join("other.json");
    let open = async |path: &std::path::Path, url: String| {
        let config = RedisConfig {
            witness_file: Some(path.to_owned()),
            ..RedisConfig::new(url)
        };
        let store = Redis::open(&config).await.unwrap();
        let epoch = store.epoch();
        store.close().await;
        epoch
    };
    let epoch = open(&unwritable, server.url()).await;
    assert_eq!(open(&damaged, server.url()).await, epoch);
    let text = std::fs::read_to_string(&damaged).unwrap();
    assert!(text.contains(&*epoch), "{text}");
    // What was seen of another store says nothing about this one.
    let seen = text.replace("127.0.0.1", "another").replace(":0", ":9");
    std::fs::write(&other, seen).unwrap();
    assert_eq!(open(&other, server.url()).await, epoch);
}

#[tokio::test]
async fn an_append_that_too_few_replicas_have_is_not_acknowledged() {
    let server = RedisServer::start(RedisKind::Valkey).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    store.close().await;
    let config = RedisConfig {
        wait_for_replicas: 1,
        ..RedisConfig::new(server.url())
    };
    let error = Redis::open(&config).await.unwrap_err();
    assert!(
        matches!(error, Error::Unconfirmed { replicas: 0, .. }),
        "{error:?}"
    );
}
