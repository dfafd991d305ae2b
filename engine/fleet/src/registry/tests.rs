use std::sync::atomic::Ordering;

use tokio::sync::broadcast::error::TryRecvError;

use hotswap_protocol::{Heartbeat, NodeHealth, Registered, Registration};

use super::*;
use crate::discovery::Discovery;
use crate::fixture::{ManualClock, MemoryCatalogue, node, registration};

mod found;
mod identity;
mod selectors;
mod silence;

struct Fixture {
    store: Arc<MemoryCatalogue>,
    clock: Arc<ManualClock>,
    registry: Registry,
}

async fn load(store: &Arc<MemoryCatalogue>, clock: &Arc<ManualClock>) -> Registry {
    let (store, clock) = (Arc::clone(store), Arc::clone(clock));
    let loaded = Registry::load(store, clock, Registry::DEFAULT_INTERVAL).await;
    loaded.expect("it loads")
}

async fn fixture() -> Fixture {
    let (store, clock) = (Arc::default(), Arc::default());
    let registry = load(&store, &clock).await;
    Fixture {
        store,
        clock,
        registry,
    }
}

impl Fixture {
    async fn register(&self, id: &str) -> Registered {
        let registration = registration("production", "http://127.0.0.1:1");
        let registered = self.registry.register(node(id), registration).await;
        registered.expect("it registers")
    }

    /// Sends a heartbeat. Returns whether the node is known.
    fn beat(&self, id: &str, heartbeat: Heartbeat) -> bool {
        let answer = self.registry.heartbeat(&node(id), heartbeat);
        answer.expect("it is accepted").is_some()
    }

    fn health(&self, id: &str) -> (Health, String) {
        let member = self.registry.member(&node(id)).expect("it is known");
        (member.health, member.reason.unwrap_or_default())
    }
}

fn heartbeat(health: NodeHealth, reason: Option<&str>) -> Heartbeat {
    Heartbeat {
        health,
        reason: reason.map(str::to_owned),
        highest_fence: 0,
        boot: None,
        control_url: None,
        data_url: None,
        modules: None,
        readiness: None,
        traffic: None,
    }
}

#[tokio::test]
async fn health_follows_the_heartbeats() {
    let fixture = fixture().await;
    assert_eq!(fixture.register("a").await.heartbeat_millis, 2000);
    assert_eq!(fixture.health("a"), (Health::Passing, String::new()));
    for (seconds, health) in [
        (5, Health::Passing),
        (1, Health::Warning),
        (5, Health::Warning),
        (1, Health::Critical),
    ] {
        fixture.clock.advance(Duration::from_secs(seconds));
        assert_eq!(fixture.health("a").0, health);
    }
    assert_eq!(
        fixture.health("a").1,
        "it was last heard of 12.0 s ago; a heartbeat is due every 2.0 s"
    );
    assert!(fixture.beat("a", heartbeat(NodeHealth::Passing, None)));
    assert_eq!(fixture.health("a").0, Health::Passing);
    let warning = heartbeat(NodeHealth::Warning, Some("the disk is nearly full"));
    assert!(fixture.beat("a", warning));
    assert_eq!(
        fixture.health("a"),
        (Health::Warning, "the disk is nearly full".to_owned())
    );
    let unknown = heartbeat(NodeHealth::Passing, None);
    assert!(!fixture.beat("b", unknown));
}

#[tokio::test]
async fn a_step_of_the_wall_clock_changes_no_health() {
    let fixture = fixture().await;
    fixture.register("a").await;
    for step in [60, -3600, 86_400] {
        fixture.clock.step(step);
        fixture.registry.check_heartbeats();
        assert_eq!(fixture.health("a").0, Health::Passing, "{step} s");
    }
    fixture.clock.step(-86_400);
    fixture.clock.advance(Duration::from_secs(12));
    assert_eq!(fixture.health("a").0, Health::Critical);
}

#[tokio::test]
async fn after_a_stall_nobody_counts_as_gone_for_one_heartbeat() {
    let fixture = fixture().await;
    fixture.register("alive").await;
    fixture.register("silent").await;
    fixture.clock.advance(Duration::from_secs(1));
    fixture.registry.tick();
    // One second from being gone before the stall.
    for _ in 0..5 {
        fixture.clock.advance(Duration::from_secs(2));
        fixture.registry.tick();
    }
    assert_eq!(fixture.health("silent").0, Health::Warning);
    fixture.clock.advance(Duration::from_secs(3600));
    assert_eq!(
        fixture.health("silent").0,
        Health::Warning,
        "not ticked yet"
    );
    fixture.registry.tick();
    fixture.clock.advance(Duration::from_millis(1999));
    for id in ["alive", "silent"] {
        assert_eq!(fixture.health(id).0, Health::Warning, "{id}");
    }
    let passing = heartbeat(NodeHealth::Passing, None);
    assert!(fixture.beat("alive", passing));
    fixture.clock.advance(Duration::from_millis(1));
    fixture.registry.tick();
    assert_eq!(fixture.health("alive").0, Health::Passing);
    assert_eq!(fixture.health("silent").0, Health::Critical);
}

#[tokio::test]
async fn a_node_that_was_gone_before_a_stall_stays_gone() {
    let fixture = fixture().await;
    fixture.register("a").await;
    for _ in 0..7 {
        fixture.registry.tick();
        fixture.clock.advance(Duration::from_secs(2));
    }
    assert_eq!(fixture.health("a").0, Health::Critical);
    fixture.clock.advance(Duration::from_secs(3600));
    fixture.registry.tick();
    assert_eq!(fixture.health("a").0, Health::Critical);
}

#[tokio::test]
async fn once_the_ticks_end_all_time_counts_again() {
    let fixture = fixture().await;
    fixture.register("a").await;
    {
        let mut run = Box::pin(fixture.registry.run());
        assert!(futures_util::poll!(&mut run).is_pending());
    }
    fixture.clock.advance(Duration::from_secs(12));
    assert_eq!(fixture.health("a").0, Health::Critical);
}

#[tokio::test]
async fn a_node_that_answers_a_request_is_alive() {
    let fixture = fixture().await;
    fixture.register("a").await;
    let mut changes = fixture.registry.subscribe();
    fixture.clock.advance(Duration::from_secs(12));
    fixture.registry.check_heartbeats();
    assert_eq!(fixture.health("a").0, Health::Critical);
    fixture.registry.answered(&node("a"));
    assert_eq!(fixture.health("a").0, Health::Passing);
    for health in [Some(Health::Critical), Some(Health::Passing)] {
        let node = node("a");
        assert_eq!(changes.try_recv(), Ok(HealthChange { node, health }));
    }
    let member = fixture.registry.member(&node("a")).expect("known");
    assert_eq!(member.last_seen, Some(fixture.clock.now()));
    fixture.registry.answered(&node("unknown"));
    assert!(fixture.registry.member(&node("unknown")).is_none());
}

#[tokio::test]
async fn after_a_restart_nodes_are_known_and_their_health_is_unknown() {
    let fixture = fixture().await;
    fixture.register("b").await;
    fixture.register("a").await;
    let restarted = load(&fixture.store, &fixture.clock).await;
    let members = restarted.members();
    let ids: Vec<_> = members
        .iter()
        .map(|member| member.record.id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(members[0].health, Health::Unknown);
    assert_eq!(members[0].last_seen, None);
    let answer = restarted.heartbeat(&node("a"), heartbeat(NodeHealth::Passing, None));
    assert!(answer.expect("it is accepted").is_some());
    assert_eq!(
        restarted.member(&node("a")).map(|member| member.health),
        Some(Health::Passing)
    );
}

#[tokio::test]
async fn registering_again_writes_only_changes() {
    let fixture = fixture().await;
    fixture.register("a").await;
    let first = fixture.registry.member(&node("a")).expect("known").record;
    fixture.clock.advance(Duration::from_secs(60));
    fixture.register("a").await;
    assert_eq!(fixture.store.writes.load(Ordering::Relaxed), 1);
    let changed = registration("production", "http://127.0.0.1:2");
    fixture
        .registry
        .register(node("a"), changed)
        .await
        .expect("it registers");
    assert_eq!(fixture.store.writes.load(Ordering::Relaxed), 2);
    let member = fixture.registry.member(&node("a")).expect("known");
    assert_eq!(member.record.registered_at, first.registered_at);
    assert_eq!(member.record.control_url, "http://127.0.0.1:2");
}

#[tokio::test]
async fn a_failing_store_changes_nothing() {
    let fixture = fixture().await;
    fixture.register("a").await;
    fixture.store.fails.store(true, Ordering::Relaxed);
    let other = registration("production", "http://127.0.0.1:2");
    let error = fixture
        .registry
        .register(node("b"), other)
        .await
        .expect_err("the store fails");
    assert!(matches!(error, Error::Save { .. }), "{error:?}");
    assert!(fixture.registry.member(&node("b")).is_none());
    let error = fixture
        .registry
        .deregister(&node("a"))
        .await
        .expect_err("the store fails");
    assert!(matches!(error, Error::Delete { .. }), "{error:?}");
    assert!(fixture.registry.member(&node("a")).is_some());
    let loaded = Registry::load(fixture.store, fixture.clock, Registry::DEFAULT_INTERVAL).await;
    assert!(matches!(loaded, Err(Error::Load(_))));
}

#[tokio::test]
async fn a_deregistered_node_is_gone_after_a_restart_too() {
    let fixture = fixture().await;
    fixture.register("a").await;
    assert!(
        fixture
            .registry
            .deregister(&node("a"))
            .await
            .expect("deleted")
    );
    assert!(
        !fixture
            .registry
            .deregister(&node("a"))
            .await
            .expect("no error")
    );
    assert!(
        load(&fixture.store, &fixture.clock)
            .await
            .members()
            .is_empty()
    );
}

#[tokio::test]
async fn environments_are_listed_once_and_sorted() {
    let fixture = fixture().await;
    for (id, environment) in [("a", "qa"), ("b", "production"), ("c", "qa")] {
        let registration = registration(environment, "http://127.0.0.1:1");
        let registered = fixture.registry.register(node(id), registration).await;
        registered.expect("it registers");
    }
    let names: Vec<_> = fixture
        .registry
        .environments()
        .into_iter()
        .map(String::from)
        .collect();
    assert_eq!(names, ["production", "qa"]);
    let qa = fixture.registry.members_of(&"qa".parse().expect("a name"));
    assert_eq!(qa.len(), 2);
}

#[tokio::test]
async fn subscribers_are_notified_of_each_change_once() {
    let fixture = fixture().await;
    let mut changes = fixture.registry.subscribe();
    fixture.register("a").await;
    fixture.register("a").await;
    assert!(fixture.beat("a", heartbeat(NodeHealth::Passing, None)));
    fixture.clock.advance(Duration::from_secs(7));
    fixture.registry.check_heartbeats();
    fixture.registry.check_heartbeats();
    fixture.clock.advance(Duration::from_secs(7));
    fixture.registry.check_heartbeats();
    fixture
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
        assert_eq!(changes.try_recv(), Ok(HealthChange { node, health }));
    }
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test]
async fn an_invalid_registration_is_rejected_with_what_to_change() {
    let fixture = fixture().await;
    let good = || registration("production", "http://127.0.0.1:1");
    let control = |url: &str| registration("production", url);
    let data = |url: &str| Registration {
        data_url: url.to_owned(),
        ..good()
    };
    let booted = |boot: &str| Registration {
        boot: Some(boot.to_owned()),
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
        (control("127.0.0.1:80"), "controlUrl: it is not a URL"),
        (control("ftp://a:1"), "controlUrl: the scheme 'ftp'"),
        (control("http://me:secret@a:1"), "a user name or a password"),
        (control("http://a:1/?q=1"), "a query or a fragment"),
        (control("http://0.0.0.0:1"), "--advertise"),
        (control("http://[::]:1"), "--advertise"),
        (data("http://0.0.0.0:1"), "dataUrl"),
        (
            control(&format!("http://{}:1", "a".repeat(600))),
            "at most 512",
        ),
        (data("file:///etc/passwd"), "dataUrl: the scheme 'file'"),
        (booted("two\nlines"), "boot: it is not visible ASCII"),
        (booted(&"x".repeat(200)), "at most 128"),
        (labelled("", String::new()), "not a valid label key"),
        (labelled("tier", "x".repeat(1000)), "at most 63"),
        (labelled("zone", "b".to_owned()), "give one of them"),
    ] {
        let rejected = fixture.registry.register(node("a"), registration).await;
        let error = rejected.expect_err("it is invalid").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(fixture.registry.members().is_empty());
    for over_tls in [
        control("https://a.example:443"),
        data("https://a.example:443"),
    ] {
        let registered = fixture.registry.register(node("a"), over_tls).await;
        assert!(registered.is_ok());
    }
}

#[tokio::test]
async fn a_long_reason_is_truncated() {
    let fixture = fixture().await;
    fixture.register("a").await;
    let long = "ä".repeat(100_000);
    assert!(fixture.beat("a", heartbeat(NodeHealth::Warning, Some(&long))));
    assert!(fixture.health("a").1.len() < 600);
}

#[tokio::test]
async fn a_silent_node_may_answer_again_after_a_delay_that_grows_to_a_minute_at_most() {
    let fixture = fixture().await;
    fixture.register("a").await;
    let (registry, id) = (&fixture.registry, node("a"));
    assert!(registry.may_answer(&id));
    for _ in 0..20 {
        registry.did_not_answer(&id);
        assert!(!registry.may_answer(&id));
        fixture.clock.advance(Duration::from_secs(60));
        assert!(registry.may_answer(&id));
    }
    registry.did_not_answer(&id);
    fixture.clock.advance(Duration::from_secs(3));
    assert!(!registry.may_answer(&id), "the delay has grown");
    registry.answered(&id);
    assert!(registry.may_answer(&id));
    registry.did_not_answer(&id);
    fixture.register("a").await;
    assert!(registry.may_answer(&id), "it may have got another address");
    assert!(registry.may_answer(&node("b")), "it is not known");
}

#[tokio::test]
async fn the_registry_is_a_source_of_what_nodes_report() {
    let fixture = fixture().await;
    let mut changes = fixture.registry.changes();
    fixture.register("a").await;
    assert!(changes.has_changed().expect("it lives"));
    changes.mark_unchanged();
    let found = fixture.registry.instances();
    assert_eq!(found[0].id, node("a"));
    assert_eq!(found[0].health, Health::Passing);
    assert_eq!(found[0].control_url.as_deref(), Some("http://127.0.0.1:1"));
    let environment = found[0].environment.clone().expect("it has one");
    assert_eq!(fixture.registry.instances_of(&environment).len(), 1);
    let state = Discovery::state(&fixture.registry);
    assert_eq!((state.instances, state.passing), (1, 1));
    fixture.registry.deregister(&node("a")).await.expect("gone");
    assert!(changes.has_changed().expect("it lives"));
    // Explicit: nothing is held.
    assert!(fixture.registry.instances().is_empty());
}
