use std::sync::atomic::Ordering;

use tokio::sync::broadcast::error::TryRecvError;

use super::*;
use crate::fixture::{HandClock, Memory, node, registration};

struct Bench {
    store: Arc<Memory>,
    clock: Arc<HandClock>,
    registry: Registry,
}

async fn load(store: &Arc<Memory>, clock: &Arc<HandClock>) -> Registry {
    let (store, clock) = (Arc::clone(store), Arc::clone(clock));
    let loaded = Registry::load(store, clock, Registry::DEFAULT_INTERVAL).await;
    loaded.expect("it loads")
}

async fn bench() -> Bench {
    let (store, clock) = (Arc::default(), Arc::default());
    let registry = load(&store, &clock).await;
    Bench {
        store,
        clock,
        registry,
    }
}

impl Bench {
    async fn register(&self, id: &str) -> Registered {
        let registration = registration("production", "http://127.0.0.1:1");
        let registered = self.registry.register(node(id), registration).await;
        registered.expect("it registers")
    }

    fn health(&self, id: &str) -> (Health, String) {
        let member = self.registry.member(&node(id)).expect("it is known");
        (member.health, member.reason.unwrap_or_default())
    }
}

fn beat(health: NodeHealth, reason: Option<&str>) -> Heartbeat {
    Heartbeat {
        health,
        reason: reason.map(str::to_owned),
    }
}

#[tokio::test]
async fn health_follows_the_heartbeats() {
    let bench = bench().await;
    assert_eq!(bench.register("a").await.heartbeat_millis, 2000);
    assert_eq!(bench.health("a"), (Health::Passing, String::new()));
    for (seconds, health) in [
        (5, Health::Passing),
        (1, Health::Warning),
        (5, Health::Warning),
        (1, Health::Critical),
    ] {
        bench.clock.advance(Duration::from_secs(seconds));
        assert_eq!(bench.health("a").0, health);
    }
    assert_eq!(
        bench.health("a").1,
        "the last heartbeat came 12.0 s ago, and one is due every 2.0 s"
    );
    assert!(
        bench
            .registry
            .heartbeat(&node("a"), beat(NodeHealth::Passing, None))
    );
    assert_eq!(bench.health("a").0, Health::Passing);
    let complaint = beat(NodeHealth::Warning, Some("the disk is nearly full"));
    bench.registry.heartbeat(&node("a"), complaint);
    assert_eq!(
        bench.health("a"),
        (Health::Warning, "the disk is nearly full".to_owned())
    );
    let stranger = beat(NodeHealth::Passing, None);
    assert!(!bench.registry.heartbeat(&node("b"), stranger));
}

#[tokio::test]
async fn after_a_restart_nodes_are_known_and_not_yet_heard_of() {
    let bench = bench().await;
    bench.register("b").await;
    bench.register("a").await;
    let again = load(&bench.store, &bench.clock).await;
    let members = again.members();
    let ids: Vec<_> = members
        .iter()
        .map(|member| member.record.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(members[0].health, Health::Unknown);
    assert_eq!(members[0].last_seen, None);
    assert!(again.heartbeat(&node("a"), beat(NodeHealth::Passing, None)));
    assert_eq!(
        again.member(&node("a")).map(|member| member.health),
        Some(Health::Passing)
    );
}

#[tokio::test]
async fn registering_again_writes_only_what_has_changed() {
    let bench = bench().await;
    bench.register("a").await;
    let first = bench.registry.member(&node("a")).expect("known").record;
    bench.clock.advance(Duration::from_secs(60));
    bench.register("a").await;
    assert_eq!(bench.store.writes.load(Ordering::Relaxed), 1);
    let moved = registration("production", "http://127.0.0.1:2");
    bench
        .registry
        .register(node("a"), moved)
        .await
        .expect("it registers");
    assert_eq!(bench.store.writes.load(Ordering::Relaxed), 2);
    let member = bench.registry.member(&node("a")).expect("known");
    assert_eq!(member.record.registered_at, first.registered_at);
    assert_eq!(member.record.control_url, "http://127.0.0.1:2");
}

#[tokio::test]
async fn a_store_that_fails_changes_nothing() {
    let bench = bench().await;
    bench.register("a").await;
    bench.store.broken.store(true, Ordering::Relaxed);
    let other = registration("production", "http://127.0.0.1:2");
    let error = bench
        .registry
        .register(node("b"), other)
        .await
        .expect_err("broken");
    assert!(matches!(error, Error::Save { .. }), "{error:?}");
    assert!(bench.registry.member(&node("b")).is_none());
    let error = bench
        .registry
        .deregister(&node("a"))
        .await
        .expect_err("broken");
    assert!(matches!(error, Error::Delete { .. }), "{error:?}");
    assert!(bench.registry.member(&node("a")).is_some());
    let loaded = Registry::load(bench.store, bench.clock, Registry::DEFAULT_INTERVAL).await;
    assert!(matches!(loaded, Err(Error::Load(_))));
}

#[tokio::test]
async fn a_deregistered_node_is_gone_for_good() {
    let bench = bench().await;
    bench.register("a").await;
    assert!(
        bench
            .registry
            .deregister(&node("a"))
            .await
            .expect("deleted")
    );
    assert!(
        !bench
            .registry
            .deregister(&node("a"))
            .await
            .expect("no error")
    );
    assert!(load(&bench.store, &bench.clock).await.members().is_empty());
}

#[tokio::test]
async fn environments_are_those_of_the_nodes() {
    let bench = bench().await;
    for (id, environment) in [("a", "qa"), ("b", "production"), ("c", "qa")] {
        let registration = registration(environment, "http://127.0.0.1:1");
        let done = bench.registry.register(node(id), registration).await;
        done.expect("it registers");
    }
    let names: Vec<_> = bench
        .registry
        .environments()
        .into_iter()
        .map(String::from)
        .collect();
    assert_eq!(names, ["production", "qa"]);
    let qa = bench.registry.members_of(&"qa".parse().expect("a name"));
    assert_eq!(qa.len(), 2);
}

#[tokio::test]
async fn subscribers_hear_of_each_change_once() {
    let bench = bench().await;
    let mut changes = bench.registry.subscribe();
    bench.register("a").await;
    bench.register("a").await;
    bench
        .registry
        .heartbeat(&node("a"), beat(NodeHealth::Passing, None));
    bench.clock.advance(Duration::from_secs(7));
    bench.registry.sweep();
    bench.registry.sweep();
    bench.clock.advance(Duration::from_secs(7));
    bench.registry.sweep();
    bench
        .registry
        .deregister(&node("a"))
        .await
        .expect("deleted");
    for health in [
        Some(Health::Passing),
        Some(Health::Warning),
        Some(Health::Critical),
        None,
    ] {
        let node = node("a");
        assert_eq!(changes.try_recv(), Ok(Change { node, health }));
    }
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_with_what_to_change() {
    let bench = bench().await;
    let good = || registration("production", "http://127.0.0.1:1");
    let control = |url: &str| registration("production", url);
    let data = |url: &str| Registration {
        data_url: url.to_owned(),
        ..good()
    };
    let labelled = |key: &str, value: String| Registration {
        labels: [(key.to_owned(), value)].into(),
        ..good()
    };
    for (registration, expected) in [
        (
            registration("Production!", "http://a:1"),
            "lower-case letters",
        ),
        (control("127.0.0.1:80"), "controlUrl: it is no URL"),
        (control("ftp://a:1"), "controlUrl: the scheme 'ftp'"),
        (control("https://a:1"), "write it as http://host:port"),
        (control("http://me:secret@a:1"), "a user name or a password"),
        (control("http://a:1/?q=1"), "a query or a fragment"),
        (
            control(&format!("http://{}:1", "a".repeat(600))),
            "at most 512",
        ),
        (data("file:///etc/passwd"), "dataUrl: the scheme 'file'"),
        (labelled("", String::new()), "a key is empty"),
        (labelled("tier", "x".repeat(1000)), "at most 256"),
    ] {
        let refused = bench.registry.register(node("a"), registration).await;
        let error = refused.expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(bench.registry.members().is_empty());
    let over_tls = data("https://a.example:443");
    assert!(bench.registry.register(node("a"), over_tls).await.is_ok());
}

#[tokio::test]
async fn a_long_complaint_is_cut() {
    let bench = bench().await;
    bench.register("a").await;
    let long = "ä".repeat(100_000);
    bench
        .registry
        .heartbeat(&node("a"), beat(NodeHealth::Warning, Some(&long)));
    assert!(bench.health("a").1.len() < 600);
}
