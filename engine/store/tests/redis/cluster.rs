//! A store on a cluster of three nodes, and what happens when its keys move.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hotswap_core::Deployment;
use hotswap_store::redis::{Error, Tls};
use hotswap_store::{Journal, Redis, RedisConfig};
use tokio::time::{Instant, sleep};

use crate::access::client_tls;
use crate::kind;
use crate::redis_cluster::{RedisCluster, accepted};
use crate::redis_server::{RedisKind, RedisServer};
use crate::server_certificates::write_certificates;
use crate::suite::{StoreFixture, all, append, create, log, must_append, planned};

/// The key prefix of an installation, another one each time.
pub fn new_prefix() -> String {
    static PREFIXES: AtomicUsize = AtomicUsize::new(0);
    let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
    format!("installation-{number}")
}

/// How long a cluster may take to agree. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

fn node_id(cluster: &RedisCluster, node: usize) -> String {
    let answer = must(&cluster.nodes[node], &["CLUSTER", "MYID"]);
    answer.lines().nth(1).unwrap().trim().to_owned()
}

fn set_slot(cluster: &RedisCluster, node: usize, slot: u16, what: &[&str]) {
    let slot = slot.to_string();
    must(
        &cluster.nodes[node],
        &[&["CLUSTER", "SETSLOT", &slot], what].concat(),
    );
}

/// The slot of all keys, and the node that has it.
fn place(cluster: &RedisCluster) -> (u16, usize) {
    cluster.place("{hotswap}:meta").unwrap()
}

fn must(node: &RedisServer, command: &[&str]) -> String {
    accepted(node, command).unwrap()
}

/// All tests of the suite share a cluster of each kind. Each has keys of its own, on any of the
/// nodes.
pub struct ClusterFixture<const IS_VALKEY: bool> {
    prefix: String,
}

/// That of Redis, and that of Valkey.
static SHARED: [OnceLock<RedisCluster>; 2] = [OnceLock::new(), OnceLock::new()];

impl<const IS_VALKEY: bool> StoreFixture for ClusterFixture<IS_VALKEY> {
    type Store = Redis;

    fn new() -> Self {
        let prefix = new_prefix();
        Self { prefix }
    }

    async fn open(&self) -> Redis {
        let shared = &SHARED[usize::from(IS_VALKEY)];
        let cluster = shared.get_or_init(|| RedisCluster::start(kind(IS_VALKEY), 3).unwrap());
        let config = RedisConfig {
            key_prefix: self.prefix.clone(),
            ..RedisConfig::new(cluster.url(&[0]))
        };
        Redis::open(&config).await.unwrap()
    }

    async fn close(&self, store: Redis) {
        store.close().await;
    }
}

// The Valkey of the tests is built without TLS.
#[tokio::test]
async fn a_cluster_is_reached_over_tls_with_certificates_of_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path()).unwrap();
    let cluster = RedisCluster::start_with(RedisKind::Redis, 3, Some(folder.path())).unwrap();
    let (_, owner) = place(&cluster);
    // Another node names the one that has the keys, with its port for TLS.
    let with = |tls: Tls| RedisConfig {
        tls,
        patience: Duration::from_secs(2),
        ..RedisConfig::new(cluster.url(&[(owner + 1) % 3]))
    };
    let tls = client_tls(folder.path());
    let store = Redis::open(&with(tls.clone())).await.unwrap();
    let mut appended = store.subscribe();
    let id = create(&store, "checkout", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    while appended.recv().await.unwrap().head.next_seq < 2 {}
    assert_eq!(all(&store, id).await.len(), 2);
    store.close().await;
    let nameless = Tls {
        client: None,
        ..tls.clone()
    };
    let strangers = Tls {
        ca_file: None,
        ..tls
    };
    for tls in [nameless, strangers] {
        let error = Redis::open(&with(tls)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn nothing_is_written_while_the_keys_move_and_their_new_node_is_found() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let cluster = RedisCluster::start(kind, 3).unwrap();
        let config = RedisConfig {
            patience: TIMEOUT,
            ..RedisConfig::new(cluster.url(&[1, 2]))
        };
        let store = Redis::open(&config).await.unwrap();
        let id = create(&store, "checkout", "production").await;
        must_append(&store, id, 1, &[planned()]).await;
        let epoch = store.epoch();
        let mut appended = store.subscribe();

        let (slot, from) = place(&cluster);
        let to = (from + 1) % 3;
        let (from_id, to_id) = (node_id(&cluster, from), node_id(&cluster, to));
        set_slot(&cluster, to, slot, &["IMPORTING", &from_id]);
        set_slot(&cluster, from, slot, &["MIGRATING", &to_id]);
        let port = cluster.nodes[to].port().to_string();
        let move_key = |key: &str| {
            let from = &cluster.nodes[from];
            must(from, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        };
        // The journal has moved, and what says where it ends has not.
        move_key(&format!("{{hotswap}}:e:{id}"));
        let impatient = RedisConfig {
            patience: Duration::from_secs(1),
            ..config.clone()
        };
        let error = Redis::open(&impatient).await.unwrap_err().to_string();
        assert!(error.contains("the cluster moves the keys"), "{error}");
        let adding = tokio::spawn({
            let store = store.clone();
            async move { store.append(append(id, 2, None, &[log(0, "a")])).await }
        });
        // It is tried now, and again and again.
        sleep(Duration::from_millis(300)).await;
        assert!(!adding.is_finished());
        let keys = loop {
            let slot = slot.to_string();
            let keys = must(
                &cluster.nodes[from],
                &["CLUSTER", "GETKEYSINSLOT", &slot, "100"],
            );
            let keys = keys.lines().filter(|line| line.starts_with("{hotswap}"));
            let keys: Vec<_> = keys.map(|key| key.trim().to_owned()).collect();
            if keys.is_empty() {
                break keys;
            }
            keys.iter().for_each(|key| move_key(key));
        };
        drop(keys);
        for node in [to, from, 3 - to - from] {
            set_slot(&cluster, node, slot, &["NODE", &to_id]);
        }
        assert_eq!(adding.await.unwrap().unwrap().next_seq, 3);
        must_append(&store, id, 3, &[log(1, "b")]).await;
        Deployment::fold(&all(&store, id).await).unwrap();
        assert_eq!(store.epoch(), epoch, "nothing was lost");
        while appended.recv().await.unwrap().head.next_seq < 4 {}
        store.close().await;
    }
}

#[tokio::test]
async fn a_replica_takes_over_from_a_node_that_dies() {
    let mut cluster = RedisCluster::start(RedisKind::Redis, 4).unwrap();
    let (_, owner) = place(&cluster);
    let id = node_id(&cluster, owner);
    must(&cluster.nodes[3], &["CLUSTER", "REPLICATE", &id]);
    let config = RedisConfig {
        patience: TIMEOUT,
        wait_for_replicas: 1,
        // The one that dies is asked first.
        ..RedisConfig::new(cluster.url(&[owner, (owner + 1) % 3]))
    };
    // Until the replica has joined, appends are not acknowledged.
    let deadline = Instant::now() + TIMEOUT;
    let store = loop {
        match Redis::open(&config).await {
            Ok(store) => break store,
            Err(Error::Unconfirmed { .. }) => assert!(Instant::now() < deadline),
            Err(error) => panic!("{error:?}"),
        }
    };
    let id = create(&store, "checkout", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    let epoch = store.epoch();
    cluster.nodes[owner].kill();
    // Reads wait for the failover.
    assert_eq!(store.head(id).await.unwrap().next_seq, 2);
    cluster.nodes[owner].restart().unwrap();
    let deadline = Instant::now() + TIMEOUT;
    // What too few replicas have may be there nevertheless.
    while store.head(id).await.unwrap().next_seq < 3 {
        assert!(Instant::now() < deadline);
        let _ = store.append(append(id, 2, None, &[log(0, "a")])).await;
    }
    Deployment::fold(&all(&store, id).await).unwrap();
    assert_eq!(store.epoch(), epoch, "nothing was lost");
    store.close().await;
}

#[tokio::test]
async fn a_node_of_a_cluster_that_is_taken_for_a_single_server_says_what_to_change() {
    let cluster = RedisCluster::start(RedisKind::Valkey, 3).unwrap();
    let other = (place(&cluster).1 + 1) % 3;
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(cluster.nodes[other].url())
    };
    let error = Redis::open(&config).await.unwrap_err().to_string();
    assert!(error.contains("redis+cluster://"), "{error}");
}

#[tokio::test]
async fn a_cluster_without_the_slots_of_the_keys_is_down() {
    let cluster = RedisCluster::start(RedisKind::Redis, 3).unwrap();
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(cluster.url(&[0, 1, 2]))
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let (slot, owner) = place(&cluster);
    let text = slot.to_string();
    for node in &cluster.nodes {
        must(node, &["CLUSTER", "DELSLOTS", &text]);
    }
    let error = store.append(append(id, 1, None, &[planned()])).await;
    let error = std::error::Error::source(&error.unwrap_err())
        .unwrap()
        .to_string();
    assert!(error.contains("CLUSTER INFO"), "{error}");
    must(&cluster.nodes[owner], &["CLUSTER", "ADDSLOTS", &text]);
    let deadline = Instant::now() + TIMEOUT;
    while store
        .append(append(id, 1, None, &[planned()]))
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(store.head(id).await.unwrap().next_seq, 2);
    store.close().await;
}
