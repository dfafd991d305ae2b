//! The store on a server: the suite of every store against Redis 7.0 and Valkey, each alone, as a
//! primary that sentinels watch and as a cluster, and tests of what servers do.

#[path = "redis/access.rs"]
mod access;
#[path = "redis/cluster.rs"]
mod cluster;
#[path = "redis/durability.rs"]
mod durability;
#[path = "redis/faults.rs"]
mod faults;
#[allow(dead_code)]
#[path = "../../../tests/src/reaper.rs"]
mod reaper;
#[path = "../../../tests/src/redis_cluster.rs"]
mod redis_cluster;
#[path = "../../../tests/src/redis_proxy.rs"]
#[allow(dead_code)]
mod redis_proxy;
#[path = "../../../tests/src/redis_server.rs"]
#[allow(dead_code)]
mod redis_server;
#[path = "redis/sentinel.rs"]
mod sentinel;
#[path = "../../../tests/src/server_certificates.rs"]
mod server_certificates;
#[path = "redis/sharing.rs"]
mod sharing;
mod suite;
#[path = "redis/transfer.rs"]
mod transfer;
#[path = "redis/unreadable_records.rs"]
mod unreadable_records;
#[allow(dead_code)]
#[path = "../../../tests/src/venv.rs"]
mod venv;

#[path = "../../../tests/src/watched_servers.rs"]
mod watched_servers;

use hotswap_store::{Redis, RedisConfig};

use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::StoreFixture;

/// The kind of a fixture, which is a parameter of its type.
const fn kind(is_valkey: bool) -> RedisKind {
    match is_valkey {
        true => RedisKind::Valkey,
        false => RedisKind::Redis,
    }
}

struct RedisFixture<const IS_VALKEY: bool> {
    server: RedisServer,
}

impl<const IS_VALKEY: bool> StoreFixture for RedisFixture<IS_VALKEY> {
    type Store = Redis;

    fn new() -> Self {
        let server = RedisServer::start(kind(IS_VALKEY)).unwrap();
        Self { server }
    }

    async fn open(&self) -> Redis {
        Redis::open(&RedisConfig::new(self.server.url()))
            .await
            .unwrap()
    }

    async fn close(&self, store: Redis) {
        store.close().await;
    }
}

mod on_redis {
    use crate::suite::suite;

    suite!(crate::RedisFixture<false>);
}

mod on_valkey {
    use crate::suite::suite;

    suite!(crate::RedisFixture<true>);
}

mod on_a_cluster_of_redis {
    use crate::suite::suite;

    suite!(crate::cluster::ClusterFixture<false>);
}

mod on_a_cluster_of_valkey {
    use crate::suite::suite;

    suite!(crate::cluster::ClusterFixture<true>);
}

mod on_redis_with_sentinels {
    use crate::suite::suite;

    suite!(crate::sentinel::SentinelFixture<false>);
}

mod on_valkey_with_sentinels {
    use crate::suite::suite;

    suite!(crate::sentinel::SentinelFixture<true>);
}
