//! Records of the catalogue that cannot be read.

use hotswap_store::{Catalogue, NodeRecord, Redis, RedisConfig};

use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::at;
use crate::suite::catalogue::module;

fn node(id: &str) -> NodeRecord {
    NodeRecord {
        id: id.parse().unwrap(),
        environment: "production".parse().unwrap(),
        zone: None,
        labels: Default::default(),
        control_url: "http://127.0.0.1:1".to_owned(),
        data_url: "http://127.0.0.1:2".to_owned(),
        registered_at: at(1),
        instance: Some(id.to_owned()),
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out_and_gives_way() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    for id in ["a", "b"] {
        store.put_node(node(id), None).await.unwrap();
    }
    for version in ["1.0.0", "2.0.0"] {
        store.put_module(module("hello", version)).await.unwrap();
    }
    assert_eq!(store.unreadable_records().await.unwrap(), []);
    let tear = |key: &str, field: &str| {
        let set = ["HSET", key, field, "{"];
        assert_eq!(server.command(&set).unwrap().trim(), ":0");
    };
    tear("{hotswap}:nodes", "a");
    tear("{hotswap}:module:hello", "1.0.0");
    let found = store.unreadable_records().await.unwrap();
    let keys: Vec<_> = found.iter().map(|one| (one.kind, &*one.key)).collect();
    assert_eq!(keys, [("module", "hello 1.0.0"), ("node", "a")]);
    assert_eq!(store.nodes().await.unwrap(), [node("b")]);
    let hello = "hello".parse().unwrap();
    for name in [None, Some(&hello)] {
        assert_eq!(
            store.modules(name).await.unwrap(),
            [module("hello", "2.0.0")]
        );
    }
    let version = "1.0.0".parse().unwrap();
    assert_eq!(store.module(&hello, &version).await.unwrap(), None);
    assert!(store.delete_module(&hello, &version).await.unwrap());
    assert_eq!(store.put_node(node("a"), None).await.unwrap(), node("a"));
    assert_eq!(store.nodes().await.unwrap(), [node("a"), node("b")]);
    assert_eq!(store.unreadable_records().await.unwrap(), []);
    store.close().await;
}

/// Such as one of a newer engine, or one that somebody has edited.
#[tokio::test]
async fn a_record_of_a_node_that_is_json_and_no_record_gives_way_too() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = Redis::open(&RedisConfig::new(server.url())).await.unwrap();
    for torn in [
        r#"{"instance":"another"}"#,
        r#"{"instance":5}"#,
        r#"{"instance":null}"#,
        r#"{"id":"a","instance":"another","labels":7}"#,
        "[1]",
        "7",
    ] {
        let set = ["HSET", "{hotswap}:nodes", "a", torn];
        assert!(server.command(&set).unwrap().starts_with(':'), "{torn}");
        let found = store.unreadable_records().await.unwrap();
        assert_eq!(found.len(), 1, "{torn}");
        assert_eq!(store.put_node(node("a"), None).await.unwrap(), node("a"));
        assert_eq!(store.nodes().await.unwrap(), [node("a")], "{torn}");
    }
    // One that can be read does not.
    let mut other = node("a");
    other.instance = Some("another".to_owned());
    assert_eq!(store.put_node(other, None).await.unwrap(), node("a"));
    store.close().await;
}
