//! A primary with replicas, which sentinels watch.

use std::time::Duration;

use hotswap_common::Secret;
use hotswap_core::{Deployment, DeploymentId, EventBody};
use hotswap_store::redis::{Error, Tls};
use hotswap_store::{AppendError, Journal, Redis, RedisConfig};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::new_prefix;
use crate::kind;
use crate::redis_server::{RedisKind, RedisServer, free_port};
use crate::server_certificates::write_certificates;
use crate::suite::{StoreFixture, all, append, create, log, must_append, planned};
use crate::watched_servers::WatchedServers;

/// How long a failover may take. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(90);

/// All tests of the suite share a primary with a replica and sentinels of each kind. Each has keys
/// of its own.
pub struct SentinelFixture<const IS_VALKEY: bool> {
    prefix: String,
}

/// Those of Redis, and those of Valkey.
static SHARED: [OnceCell<WatchedServers>; 2] = [OnceCell::const_new(), OnceCell::const_new()];

impl<const IS_VALKEY: bool> StoreFixture for SentinelFixture<IS_VALKEY> {
    type Store = Redis;

    fn new() -> Self {
        let prefix = new_prefix();
        Self { prefix }
    }

    async fn open(&self) -> Redis {
        // However busy the machine is, the primary stays the same: the suite loses nothing.
        let start = || WatchedServers::start_with(kind(IS_VALKEY), 1, 10 * TIMEOUT);
        let shared = SHARED[usize::from(IS_VALKEY)].get_or_try_init(start);
        let config = RedisConfig {
            key_prefix: self.prefix.clone(),
            ..RedisConfig::new(shared.await.unwrap().url().unwrap())
        };
        Redis::open(&config).await.unwrap()
    }

    async fn close(&self, store: Redis) {
        store.close().await;
    }
}

/// Appends `count` messages, whatever fails meanwhile. Returns those that were acknowledged.
async fn append_messages(store: &Redis, id: DeploymentId, count: u32) -> Vec<String> {
    let (mut next, mut acknowledged) = (2, Vec::new());
    let deadline = Instant::now() + 2 * TIMEOUT;
    for call in 0..count {
        let message = format!("message {call}");
        loop {
            assert!(Instant::now() < deadline);
            match store
                .append(append(id, next, None, &[log(call, &message)]))
                .await
            {
                Ok(head) => {
                    next = head.next_seq;
                    acknowledged.push(message);
                    break;
                }
                // It may have been appended, or be lost.
                Err(AppendError::Store(_) | AppendError::Conflict(_)) => {
                    let Ok(head) = store.head(id).await else {
                        continue;
                    };
                    if head.next_seq > next {
                        next = head.next_seq;
                        break;
                    }
                    next = head.next_seq;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    acknowledged
}

fn messages(events: &[hotswap_core::Event]) -> Vec<String> {
    let message = |event: &hotswap_core::Event| match &event.body {
        EventBody::Called {
            request: hotswap_core::Call::Log { message, .. },
            ..
        } => Some(message.clone()),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

#[tokio::test]
async fn nothing_that_a_replica_has_is_lost_in_a_failover() {
    const MESSAGES: u32 = 30;
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let mut watched = WatchedServers::start(kind, 2).await.unwrap();
        let config = RedisConfig {
            patience: TIMEOUT,
            wait_for_replicas: 1,
            ..RedisConfig::new(watched.url().unwrap())
        };
        let store = Redis::open(&config).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..4 {
            let store = store.clone();
            tasks.spawn(async move {
                let id = create(&store, &format!("m{number}"), "production").await;
                must_append(&store, id, 1, &[planned()]).await;
                (id, append_messages(&store, id, MESSAGES).await)
            });
        }
        let mut appended = store.subscribe();
        for _ in 0..50 {
            appended.recv().await.unwrap();
        }
        // In the middle of appends.
        watched.servers[0].kill();
        for (id, acknowledged) in tasks.join_all().await {
            let events = all(&store, id).await;
            Deployment::fold(&events).unwrap();
            let found = messages(&events);
            let unique: std::collections::BTreeSet<_> = found.iter().collect();
            assert_eq!(unique.len(), found.len(), "a message is there twice");
            let lost = acknowledged.iter().find(|one| !unique.contains(one));
            assert_eq!(lost, None);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn what_a_failover_loses_is_noticed_and_no_position_or_fence_has_two_meanings() {
    let mut watched = WatchedServers::start(RedisKind::Redis, 1).await.unwrap();
    let config = |engine: &str| RedisConfig {
        patience: TIMEOUT,
        engine: engine.to_owned(),
        ..RedisConfig::new(watched.url().unwrap())
    };
    let store = Redis::open(&config("one")).await.unwrap();
    let other = Redis::open(&config("other")).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let mut next = must_append(&store, id, 1, &[planned()]).await.next_seq;
    let port = watched.servers[0].port();
    WatchedServers::isolate(&watched.servers[0], &watched.servers[1])
        .await
        .unwrap();
    let mut last = 0;
    let mut appended = other.subscribe();
    for call in 0..5 {
        let head = must_append(&store, id, next, &[log(call, "lost")]).await;
        next = head.next_seq;
    }
    let lease = store.acquire_lease(id).await.unwrap();
    while last < 7 {
        last = appended.recv().await.unwrap().position;
    }
    let epochs = (store.epoch(), other.epoch());
    watched.servers[0].kill();
    watched.servers[1].resume().unwrap();
    watched.failover(port).await.unwrap();
    assert_ne!(watched.servers[1].port(), port);

    // Whichever engine writes first: nothing is appended as if nothing had happened.
    let head = store.head(id).await.unwrap();
    assert_eq!(head.next_seq, 2, "the test lost nothing");
    assert_ne!(store.epoch(), epochs.0);
    let after = must_append(&store, id, 2, &[log(0, "after")]).await;
    assert_eq!(after.next_seq, 3);
    let entries = store.events_after(0, 99).await.unwrap();
    let positions: Vec<_> = entries.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [1, 2, 8], "a position has two meanings");
    let again = loop {
        match store.acquire_lease(id).await {
            Ok(lease) => break lease,
            Err(hotswap_store::LeaseError::Store(_)) => sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(again.fence > lease.fence, "a fence has two meanings");
    // The other engine goes on with the same epoch, and misses nothing.
    loop {
        let notified = appended.recv().await.unwrap();
        if notified.position == 8 {
            assert_eq!((notified.deployment, notified.head), (id, after));
            break;
        }
    }
    assert_eq!(other.epoch(), store.epoch());
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let server = RedisServer::start(RedisKind::Valkey).unwrap();
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1", server.port());
    let lines = [monitor.as_str(), "requirepass mackerel"];
    let sentinel = RedisServer::start_sentinel(RedisKind::Valkey, &lines).unwrap();
    server
        .command(&["CONFIG", "SET", "requirepass", "swordfish"])
        .unwrap();
    let with = |password: &str, sentinel_password: &str, name: &str| RedisConfig {
        password: Some(Secret::new(password)),
        sentinel_password: Some(Secret::new(sentinel_password)),
        patience: Duration::from_secs(1),
        ..RedisConfig::new(format!(
            "redis+sentinel://127.0.0.1:{}/{name}",
            sentinel.port()
        ))
    };
    let store = Redis::open(&with("swordfish", "mackerel", "main"))
        .await
        .unwrap();
    create(&store, "checkout", "production").await;
    store.close().await;
    for (config, expected) in [
        (with("swordfish", "herring", "main"), "password is wrong"),
        (with("herring", "mackerel", "main"), "password is wrong"),
        (
            with("swordfish", "mackerel", "other"),
            "no primary of this name",
        ),
    ] {
        let error = Redis::open(&config).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, Error::Refused { .. }), "{text}");
        assert!(text.contains(expected), "{text}");
        for secret in ["swordfish", "mackerel", "herring"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn sentinels_and_the_server_are_reached_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path()).unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let (certificate, key, ca) = (text("server.pem"), text("server.key"), text("ca.pem"));
    let (port, sentinel_port) = (free_port().unwrap(), free_port().unwrap());
    let arguments = |port: u16| {
        let pairs = [
            ("tls-port", port.to_string()),
            ("tls-cert-file", certificate.clone()),
            ("tls-key-file", key.clone()),
            ("tls-ca-cert-file", ca.clone()),
            ("tls-replication", "yes".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value))
    };
    let server: Vec<_> = arguments(port)
        .into_iter()
        .flat_map(|(name, value)| [format!("--{name}"), value])
        .collect();
    let server: Vec<_> = server.iter().map(String::as_str).collect();
    let server = [&RedisServer::DURABLE[..], &server].concat();
    let _server = RedisServer::start_with(RedisKind::Redis, &server).unwrap();
    let lines = arguments(sentinel_port).map(|(name, value)| format!("{name} {value}"));
    let mut lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let monitor = format!("sentinel monitor main 127.0.0.1 {port} 1");
    lines.push(&monitor);
    let _sentinel = RedisServer::start_sentinel(RedisKind::Redis, &lines).unwrap();
    let config = RedisConfig {
        tls: Tls {
            ca_file: Some(path("ca.pem")),
            client: Some((path("client.pem"), path("client.key"))),
        },
        ..RedisConfig::new(format!("rediss+sentinel://localhost:{sentinel_port}/main"))
    };
    let store = Redis::open(&config).await.unwrap();
    create(&store, "checkout", "production").await;
    store.close().await;
}
