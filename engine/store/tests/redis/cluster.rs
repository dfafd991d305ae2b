//! A store on a cluster of three nodes, and what happens when its keys move.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hotswap_core::Deployment;
use hotswap_store::redis::{Error, Tls};
use hotswap_store::{Journal, Redis, RedisConfig};
use tokio::time::{Instant, sleep};

use crate::access::{client_tls, tls_arguments, write_certificates};
use crate::kind;
use crate::redis_server::{RedisKind, RedisServer, free_port};
use crate::suite::{StoreFixture, all, append, create, log, must_append, planned};

/// The key prefix of an installation, another one each time.
pub fn new_prefix() -> String {
    static PREFIXES: AtomicUsize = AtomicUsize::new(0);
    let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
    format!("installation-{number}")
}

/// How long a cluster may take to agree. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

const SLOTS: [(u16, u16); 3] = [(0, 5461), (5462, 10922), (10923, 16383)];

/// Nodes on loopback. Each of the first three has a third of the slots.
pub struct Cluster {
    nodes: Vec<RedisServer>,
    /// Where clients reach each, and the nodes each other: over TLS, if it has that.
    ports: Vec<u16>,
    has_tls: bool,
}

impl Cluster {
    fn start(kind: RedisKind, count: usize) -> Self {
        Self::start_with(kind, count, None)
    }

    /// With a folder of certificates, it speaks TLS with clients and among its nodes.
    fn start_with(kind: RedisKind, count: usize, certificates: Option<&Path>) -> Self {
        let node = || {
            let bus = free_port().unwrap().to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let timeout = ["--cluster-node-timeout", "2000"];
            let arguments = [&RedisServer::DURABLE[..], &arguments, &timeout].concat();
            let tls_port = free_port().unwrap();
            let tls = certificates.map(|folder| tls_arguments(folder, tls_port));
            let tls = tls.iter().flatten().map(String::as_str);
            let tls_bus = ["--tls-cluster", "yes"];
            let tls_bus = tls_bus.iter().copied().filter(|_| certificates.is_some());
            let arguments: Vec<_> = arguments.into_iter().chain(tls).chain(tls_bus).collect();
            let server = RedisServer::start_with(kind, &arguments).unwrap();
            let port = match certificates {
                Some(_) => tls_port,
                None => server.port(),
            };
            (server, port, bus)
        };
        let nodes: Vec<_> = (0..count).map(|_| node()).collect();
        let (_, first_port, first_bus) = &nodes[0];
        let port = first_port.to_string();
        for (node, ..) in &nodes[1..] {
            must(node, &["CLUSTER", "MEET", "127.0.0.1", &port, first_bus]);
        }
        for ((node, ..), (from, to)) in nodes.iter().zip(SLOTS) {
            let (from, to) = (from.to_string(), to.to_string());
            must(node, &["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        }
        let nodes = nodes.into_iter().map(|(node, port, _)| (node, port));
        let (nodes, ports) = nodes.unzip();
        let cluster = Self {
            nodes,
            ports,
            has_tls: certificates.is_some(),
        };
        cluster.wait(|node| {
            let info = node.command(&["CLUSTER", "INFO"]).unwrap();
            let known = format!("cluster_known_nodes:{count}\r");
            info.contains("cluster_state:ok") && info.contains(&known)
        });
        cluster
    }

    fn wait(&self, is_done: impl Fn(&RedisServer) -> bool) {
        let deadline = std::time::Instant::now() + TIMEOUT;
        while !self.nodes.iter().all(&is_done) {
            assert!(std::time::Instant::now() < deadline, "no agreement");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// An address that names some of the nodes.
    fn url(&self, nodes: &[usize]) -> String {
        let hosts = nodes.iter().map(|node| self.ports[*node]);
        let hosts: Vec<_> = hosts.map(|port| format!("127.0.0.1:{port}")).collect();
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        format!("{scheme}+cluster://{}", hosts.join(","))
    }

    fn slot(&self, key: &str) -> u16 {
        let answer = must(&self.nodes[0], &["CLUSTER", "KEYSLOT", key]);
        answer.trim_start_matches(':').trim().parse().unwrap()
    }

    /// The node that has a slot.
    fn owner(&self, slot: u16) -> usize {
        let owner = SLOTS
            .iter()
            .position(|(from, to)| (*from..=*to).contains(&slot));
        owner.unwrap()
    }

    fn id(&self, node: usize) -> String {
        let answer = must(&self.nodes[node], &["CLUSTER", "MYID"]);
        answer.lines().nth(1).unwrap().trim().to_owned()
    }

    fn set_slot(&self, node: usize, slot: u16, what: &[&str]) {
        let slot = slot.to_string();
        must(
            &self.nodes[node],
            &[&["CLUSTER", "SETSLOT", &slot], what].concat(),
        );
    }
}

fn must(node: &RedisServer, command: &[&str]) -> String {
    let answer = node.command(command).unwrap();
    assert!(!answer.starts_with('-'), "{command:?}: {answer}");
    answer
}

/// All tests of the suite share a cluster of each kind. Each has keys of its own, on any of the
/// nodes.
pub struct ClusterFixture<const IS_VALKEY: bool> {
    prefix: String,
}

/// That of Redis, and that of Valkey.
static SHARED: [OnceLock<Cluster>; 2] = [OnceLock::new(), OnceLock::new()];

impl<const IS_VALKEY: bool> StoreFixture for ClusterFixture<IS_VALKEY> {
    type Store = Redis;

    fn new() -> Self {
        let prefix = new_prefix();
        Self { prefix }
    }

    async fn open(&self) -> Redis {
        let shared = &SHARED[usize::from(IS_VALKEY)];
        let cluster = shared.get_or_init(|| Cluster::start(kind(IS_VALKEY), 3));
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
    write_certificates(folder.path());
    let cluster = Cluster::start_with(RedisKind::Redis, 3, Some(folder.path()));
    let owner = cluster.owner(cluster.slot("{hotswap}:meta"));
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
        let cluster = Cluster::start(kind, 3);
        let config = RedisConfig {
            patience: TIMEOUT,
            ..RedisConfig::new(cluster.url(&[1, 2]))
        };
        let store = Redis::open(&config).await.unwrap();
        let id = create(&store, "checkout", "production").await;
        must_append(&store, id, 1, &[planned()]).await;
        let epoch = store.epoch();
        let mut appended = store.subscribe();

        let slot = cluster.slot("{hotswap}:meta");
        let from = cluster.owner(slot);
        let to = (from + 1) % 3;
        let (from_id, to_id) = (cluster.id(from), cluster.id(to));
        cluster.set_slot(to, slot, &["IMPORTING", &from_id]);
        cluster.set_slot(from, slot, &["MIGRATING", &to_id]);
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
            cluster.set_slot(node, slot, &["NODE", &to_id]);
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
    let mut cluster = Cluster::start(RedisKind::Redis, 4);
    let slot = cluster.slot("{hotswap}:meta");
    let owner = cluster.owner(slot);
    let id = cluster.id(owner);
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
    let cluster = Cluster::start(RedisKind::Valkey, 3);
    let other = (cluster.owner(cluster.slot("{hotswap}:meta")) + 1) % 3;
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(cluster.nodes[other].url())
    };
    let error = Redis::open(&config).await.unwrap_err().to_string();
    assert!(error.contains("redis+cluster://"), "{error}");
}

#[tokio::test]
async fn a_cluster_without_the_slots_of_the_keys_is_down() {
    let cluster = Cluster::start(RedisKind::Redis, 3);
    let config = RedisConfig {
        patience: Duration::from_secs(1),
        ..RedisConfig::new(cluster.url(&[0, 1, 2]))
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    let slot = cluster.slot("{hotswap}:meta");
    let text = slot.to_string();
    for node in &cluster.nodes {
        must(node, &["CLUSTER", "DELSLOTS", &text]);
    }
    let error = store.append(append(id, 1, None, &[planned()])).await;
    let error = std::error::Error::source(&error.unwrap_err())
        .unwrap()
        .to_string();
    assert!(error.contains("CLUSTER INFO"), "{error}");
    let owner = cluster.owner(slot);
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
