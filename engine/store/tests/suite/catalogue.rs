//! The catalogue of modules, strategies, discovery backends and nodes.

use hotswap_core::{Digest, ModuleVersion};
use hotswap_store::{
    BackendRecord, BackendSecret, Catalogue, ModuleRecord, NodeRecord, StrategyRecord,
};
use semver::Version;
use tokio::task::JoinSet;

use super::{StoreFixture, at};

pub fn module(name: &str, version: &str) -> ModuleRecord {
    ModuleRecord {
        module: ModuleVersion {
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
        },
        size: 1 << 40,
        uploaded_at: at(5),
        uploaded_by: "ada".to_owned(),
    }
}

pub async fn modules<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    for (name, version) in [
        ("search", "1.0.0"),
        ("checkout", "1.9.0"),
        ("checkout", "1.10.0-rc.1"),
        ("checkout", "1.10.0"),
        ("checkout", "1.10.0-rc.1+build.7"),
    ] {
        let record = module(name, version);
        assert_eq!(store.put_module(record.clone()).await.unwrap(), record);
    }
    let mut other = module("checkout", "1.9.0");
    other.module.digest = Digest::of(b"something else");
    assert_eq!(
        store.put_module(other).await.unwrap(),
        module("checkout", "1.9.0"),
        "the first record stays"
    );
    fixture.close(store).await;

    let store = fixture.open().await;
    let name = "checkout".parse().unwrap();
    let found = store.module(&name, &Version::new(1, 10, 0)).await.unwrap();
    assert_eq!(found, Some(module("checkout", "1.10.0")));
    let none = store.module(&name, &Version::new(2, 0, 0)).await.unwrap();
    assert_eq!(none, None);
    let versions = |records: Vec<ModuleRecord>| {
        let versions = records.iter().map(|record| record.module.to_string());
        versions.collect::<Vec<_>>()
    };
    let checkout = [
        "checkout 1.10.0",
        "checkout 1.10.0-rc.1+build.7",
        "checkout 1.10.0-rc.1",
        "checkout 1.9.0",
    ];
    assert_eq!(
        versions(store.modules(Some(&name)).await.unwrap()),
        checkout
    );
    let all = versions(store.modules(None).await.unwrap());
    assert_eq!(all[..4], checkout);
    assert_eq!(all[4..], ["search 1.0.0"]);
    fixture.close(store).await;
}

pub fn strategy(name: &str, version: &str) -> StrategyRecord {
    StrategyRecord {
        name: name.parse().unwrap(),
        version: version.to_owned(),
        summary: "bit by bit".to_owned(),
        config_schema: serde_json::json!({ "type": "object", "properties": { "steps": {} } }),
        digest: Digest::of(version.as_bytes()),
        wit: Version::new(0, 1, 0),
        built_in: name == "canary",
        uploaded_at: at(6),
        uploaded_by: "ada".to_owned(),
    }
}

pub async fn strategies<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let (slow, canary) = (strategy("slow", "1"), strategy("canary", "1"));
    assert!(store.put_strategy(slow.clone(), None).await.unwrap());
    assert!(store.put_strategy(canary.clone(), None).await.unwrap());
    let newer = strategy("slow", "2");
    let put = store.put_strategy(newer.clone(), Some(&slow)).await;
    assert!(put.unwrap());
    fixture.close(store).await;

    let store = fixture.open().await;
    assert_eq!(
        store.strategy(&newer.name).await.unwrap(),
        Some(newer.clone())
    );
    assert_eq!(
        store.strategies().await.unwrap(),
        [canary.clone(), newer.clone()]
    );
    assert!(store.delete_strategy(&newer).await.unwrap());
    assert!(!store.delete_strategy(&newer).await.unwrap());
    assert_eq!(store.strategy(&newer.name).await.unwrap(), None);
    assert_eq!(store.strategies().await.unwrap(), [canary]);
    fixture.close(store).await;
}

pub async fn a_strategy_that_others_changed_is_not_replaced_or_deleted<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let [first, second, third] = ["1", "2", "3"].map(|version| strategy("slow", version));
    let built_in = StrategyRecord {
        built_in: true,
        ..first.clone()
    };
    let stored = async || store.strategy(&first.name).await.unwrap();
    // There is nothing that it could replace.
    let put = store.put_strategy(second.clone(), Some(&first)).await;
    assert!(!put.unwrap());
    assert_eq!(stored().await, None);
    assert!(store.put_strategy(first.clone(), None).await.unwrap());
    // The same request again, as after a lost answer.
    assert!(store.put_strategy(first.clone(), None).await.unwrap());
    for replaces in [None, Some(&third), Some(&built_in)] {
        let put = store.put_strategy(second.clone(), replaces).await;
        assert!(!put.unwrap(), "{replaces:?}");
    }
    for other in [&second, &built_in] {
        assert!(!store.delete_strategy(other).await.unwrap(), "{other:?}");
    }
    assert_eq!(stored().await, Some(first.clone()));
    // The same bytes, as the engine's own.
    let put = store.put_strategy(built_in.clone(), Some(&first)).await;
    assert!(put.unwrap());
    assert!(!store.delete_strategy(&first).await.unwrap());
    let put = store.put_strategy(second, Some(&first)).await;
    assert!(!put.unwrap());
    assert_eq!(stored().await, Some(built_in));
    fixture.close(store).await;
}

pub async fn one_of_many_concurrent_uploads_replaces_a_strategy<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let mut current = None;
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        for number in 0..20 {
            let (store, replaces) = (store.clone(), current.clone());
            let record = strategy("slow", &format!("{round}.{number}"));
            tasks.spawn(async move {
                let put = store.put_strategy(record.clone(), replaces.as_ref()).await;
                put.unwrap().then_some(record)
            });
        }
        let put: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(put.len(), 1, "{put:?}");
        current = put.into_iter().next();
        let name = "slow".parse().unwrap();
        assert_eq!(store.strategy(&name).await.unwrap(), current);
    }
    fixture.close(store).await;
}

pub fn backend(name: &str, version: &str) -> BackendRecord {
    BackendRecord {
        name: name.parse().unwrap(),
        version: version.to_owned(),
        summary: "a list".to_owned(),
        config_schema: serde_json::json!({ "type": "object", "properties": { "url": {} } }),
        can_register: name == "list",
        secrets: vec![BackendSecret {
            name: "token".to_owned(),
            summary: "The \"token\".".to_owned(),
            place: "header authorization".to_owned(),
        }],
        digest: Digest::of(version.as_bytes()),
        wit: Version::new(0, 1, 0),
        uploaded_at: at(8),
        uploaded_by: "ada".to_owned(),
    }
}

pub async fn backends<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    store.put_backend(backend("list", "1")).await.unwrap();
    store.put_backend(backend("a-list", "1")).await.unwrap();
    store.put_backend(backend("list", "2")).await.unwrap();
    fixture.close(store).await;

    let store = fixture.open().await;
    let both = [backend("a-list", "1"), backend("list", "2")];
    assert_eq!(store.backends().await.unwrap(), both);
    let name = &both[0].name;
    assert!(store.delete_backend(name).await.unwrap());
    assert!(!store.delete_backend(name).await.unwrap());
    assert_eq!(store.backends().await.unwrap(), [backend("list", "2")]);
    fixture.close(store).await;
}

pub fn node(id: &str, zone: Option<&str>) -> NodeRecord {
    NodeRecord {
        id: id.parse().unwrap(),
        environment: "production".parse().unwrap(),
        zone: zone.map(str::to_owned),
        labels: [("rack".to_owned(), "7 \"b\"".to_owned())].into(),
        control_url: format!("http://{id}:1"),
        data_url: format!("http://{id}:2"),
        instance: zone.map(|zone| format!("key of {zone}")),
        registered_at: at(7),
    }
}

pub async fn nodes<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let put = async |record: NodeRecord, replaces: Option<&NodeRecord>| {
        store.put_node(record, replaces).await.unwrap()
    };
    assert_eq!(put(node("b", None), None).await, node("b", None));
    assert_eq!(
        put(node("a", Some("eu")), None).await,
        node("a", Some("eu"))
    );
    // A node that has no key cannot be told from another.
    let changed = node("b", Some("us"));
    assert_eq!(put(changed.clone(), None).await, changed);
    fixture.close(store).await;

    let store = fixture.open().await;
    assert_eq!(
        store.nodes().await.unwrap(),
        [node("a", Some("eu")), changed.clone()]
    );
    assert!(store.delete_node(&changed.id).await.unwrap());
    assert!(!store.delete_node(&changed.id).await.unwrap());
    assert_eq!(store.nodes().await.unwrap(), [node("a", Some("eu"))]);
    another_node_does_not_get_the_id(&store).await;
    one_of_many_nodes_gets_the_id(&store).await;
    fixture.close(store).await;
}

async fn another_node_does_not_get_the_id(store: &impl Catalogue) {
    let [eu, us, asia] = ["eu", "us", "asia"].map(|zone| node("a", Some(zone)));
    let put = async |record: &NodeRecord, replaces: Option<&NodeRecord>| {
        store.put_node(record.clone(), replaces).await.unwrap()
    };
    for replaces in [None, Some(&us), Some(&asia), Some(&node("a", None))] {
        assert_eq!(put(&us, replaces).await, eu, "{replaces:?}");
    }
    assert_eq!(put(&node("a", None), None).await, eu);
    // The same node at another address, whatever the caller knew of it.
    let moved = NodeRecord {
        control_url: "http://elsewhere:1".to_owned(),
        ..eu.clone()
    };
    for replaces in [None, Some(&us), Some(&eu)] {
        assert_eq!(put(&moved, replaces).await, moved, "{replaces:?}");
    }
    // Only the key of what the caller has read is compared.
    assert_eq!(put(&us, Some(&eu)).await, us);
    assert_eq!(store.nodes().await.unwrap(), std::slice::from_ref(&us));
    // One that is gone gives way, too.
    assert!(store.delete_node(&us.id).await.unwrap());
    assert_eq!(put(&asia, Some(&us)).await, asia);
}

async fn one_of_many_nodes_gets_the_id(store: &(impl Catalogue + Clone)) {
    for id in ["x", "y", "z"] {
        let mut tasks = JoinSet::new();
        for number in 0..20 {
            let store = store.clone();
            let record = node(id, Some(&format!("zone {number}")));
            tasks.spawn(async move {
                let stored = store.put_node(record.clone(), None).await.unwrap();
                (stored == record, stored)
            });
        }
        let put = tasks.join_all().await;
        assert_eq!(put.iter().filter(|(is_own, _)| *is_own).count(), 1);
        // The others learn who has it.
        assert!(put.iter().all(|(_, stored)| *stored == put[0].1), "{put:?}");
    }
}
