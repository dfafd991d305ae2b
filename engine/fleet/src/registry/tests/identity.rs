//! Who may have a node's id, and what counts as its heartbeat.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hotswap_core::{Cordon, Digest, ModuleName, ModuleVersion, Timestamp};
use hotswap_protocol::{ModuleReport, Slot, SlotFault, Version};
use hotswap_store::NodeRecord;

use super::*;
use crate::{DesiredVersion, DesiredVersions};

/// The registration of the start `boot` of the data folder `instance`, at a port.
fn start(boot: &str, instance: &str, port: u16) -> Registration {
    Registration {
        boot: Some(boot.to_owned()),
        instance: Some(instance.to_owned()),
        ..registration("production", &format!("http://127.0.0.1:{port}"))
    }
}

fn beat(boot: &str, health: NodeHealth) -> Heartbeat {
    Heartbeat {
        boot: Some(boot.to_owned()),
        ..heartbeat(health, None)
    }
}

impl Fixture {
    async fn start(&self, boot: &str, instance: &str, port: u16) -> Result<Registered, Error> {
        let registration = start(boot, instance, port);
        self.registry.register(node("a"), registration).await
    }

    fn url(&self) -> String {
        let member = self.registry.member(&node("a")).expect("it is known");
        member.record.control_url.clone()
    }

    fn passing(&self, boot: &str) -> Result<Option<HeartbeatAnswer>, Error> {
        self.registry
            .heartbeat(&node("a"), beat(boot, NodeHealth::Passing))
    }
}

use hotswap_protocol::HeartbeatAnswer;

#[tokio::test]
async fn a_second_node_under_a_living_id_is_refused() {
    let fixture = fixture().await;
    fixture.start("a1", "a", 1).await.expect("it registers");
    for seconds in [0, 5, 6] {
        fixture.clock.advance(Duration::from_secs(seconds));
        let error = fixture.start("b1", "b", 2).await.expect_err("taken");
        assert!(matches!(error, Error::Taken { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("http://127.0.0.1:1"), "{error}");
        assert!(error.contains("--id"), "{error}");
    }
    assert_eq!(fixture.url(), "http://127.0.0.1:1");
    // A node that says nothing of itself is another one, too.
    let anonymous = registration("production", "http://127.0.0.1:2");
    let refused = fixture.registry.register(node("a"), anonymous).await;
    assert!(matches!(refused, Err(Error::Taken { .. })), "{refused:?}");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.start("b1", "b", 2).await.expect("the id is free");
    assert_eq!(fixture.url(), "http://127.0.0.1:2");
    let back = fixture.start("a1", "a", 1).await;
    assert!(matches!(back, Err(Error::Taken { .. })), "{back:?}");
}

#[tokio::test]
async fn a_restarted_node_is_accepted_at_once() {
    let fixture = fixture().await;
    fixture.start("a1", "a", 1).await.expect("it registers");
    fixture.start("a2", "a", 2).await.expect("it was restarted");
    assert_eq!(fixture.url(), "http://127.0.0.1:2");
    let member = fixture.registry.member(&node("a")).expect("known");
    assert_eq!(member.boot.as_deref(), Some("a2"));
}

#[tokio::test]
async fn the_heartbeat_of_another_node_does_not_keep_a_dead_one_alive() {
    let fixture = fixture().await;
    fixture.start("a1", "a", 1).await.expect("it registers");
    // Two nodes on copies of one data folder: the first is told that it was replaced.
    fixture.start("a2", "a", 2).await.expect("a copy");
    let error = fixture.passing("a1").expect_err("replaced");
    assert!(matches!(error, Error::Taken { .. }), "{error:?}");
    let again = fixture.start("a1", "a", 1).await;
    assert!(
        matches!(again, Err(Error::Taken { .. })),
        "they do not take turns"
    );
    // The second dies, and the first goes on.
    for _ in 0..6 {
        fixture.clock.advance(Duration::from_secs(2));
        let _ = fixture.passing("a1");
    }
    assert_eq!(fixture.health("a").0, Health::Critical);
    assert!(
        fixture.passing("a1").expect("no error").is_none(),
        "register again"
    );
    fixture.start("a1", "a", 1).await.expect("the id is free");
    assert!(fixture.passing("a1").expect("accepted").is_some());
}

#[tokio::test]
async fn a_node_that_stops_frees_its_id() {
    let fixture = fixture().await;
    fixture.start("a1", "a", 1).await.expect("it registers");
    let mut changes = fixture.registry.subscribe();
    let stopping = fixture
        .registry
        .heartbeat(&node("a"), beat("a1", NodeHealth::Stopping));
    assert!(stopping.expect("accepted").is_some());
    assert_eq!(
        fixture.health("a"),
        (Health::Critical, "it has stopped".to_owned())
    );
    assert!(changes.try_recv().is_ok());
    // It still answers what has begun, and what it has sent before may arrive.
    fixture.registry.answered(&node("a"));
    assert!(fixture.passing("a1").expect("accepted").is_some());
    assert_eq!(fixture.health("a").0, Health::Critical);
    fixture.start("b1", "b", 2).await.expect("the id is free");
    assert_eq!(fixture.health("a").0, Health::Passing);
}

#[tokio::test]
async fn after_a_restart_of_the_engine_an_id_still_belongs_to_its_node() {
    let mut fixture = fixture().await;
    fixture.start("a1", "a", 1).await.expect("it registers");
    fixture.registry = load(&fixture.store, &fixture.clock).await;
    let other = fixture.start("b1", "b", 2).await;
    assert!(matches!(other, Err(Error::Taken { .. })), "{other:?}");
    assert!(
        fixture.passing("a1").expect("no error").is_none(),
        "who is it?"
    );
    fixture.start("a1", "a", 1).await.expect("the same node");
    assert!(fixture.passing("a1").expect("accepted").is_some());
    // A node that never comes back does not keep its id for ever.
    fixture.registry = load(&fixture.store, &fixture.clock).await;
    fixture.clock.advance(Duration::from_secs(12));
    fixture.start("b1", "b", 2).await.expect("the id is free");
}

#[tokio::test]
async fn a_node_that_has_moved_must_register_again() {
    let fixture = fixture().await;
    fixture.start("a1", "a", 1).await.expect("it registers");
    let mut moved = beat("a1", NodeHealth::Passing);
    moved.control_url = Some("http://127.0.0.1:1".to_owned());
    assert!(fixture.beat("a", moved.clone()));
    moved.control_url = Some("http://127.0.0.1:2".to_owned());
    assert!(!fixture.beat("a", moved));
}

#[test]
fn an_address_of_the_engines_own_machine_is_rejected_from_another_machine() {
    let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
    for host in [
        "127.0.0.1",
        "127.1.2.3",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        let registration = registration("qa", &format!("http://{host}:1"));
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(
                Registry::check_peer(&registration, ip(peer)).is_ok(),
                "{host}"
            );
        }
        let error = Registry::check_peer(&registration, ip("10.0.0.7")).expect_err(host);
        assert!(error.to_string().contains("--advertise"), "{error}");
    }
    let reachable = registration("qa", "http://10.0.0.7:1");
    assert!(Registry::check_peer(&reachable, ip("10.0.0.7")).is_ok());
}

fn version(number: u64) -> ModuleVersion {
    ModuleVersion {
        name: "shop".parse().expect("a name"),
        version: semver::Version::new(number, 0, 0),
        digest: Digest::of(&number.to_be_bytes()),
    }
}

fn wire(version: &ModuleVersion) -> Version {
    crate::wire::to_wire_version(version)
}

#[tokio::test]
async fn a_node_reports_what_it_runs() {
    let fixture = fixture().await;
    let mut registration = start("a1", "a", 1);
    registration.modules = Some(Vec::new());
    let registered = fixture.registry.register(node("a"), registration).await;
    registered.expect("it registers");
    let modules = || {
        let member = fixture.registry.member(&node("a")).expect("known");
        member.modules.expect("it reports them")
    };
    assert!(modules().is_empty());
    let mut report = beat("a1", NodeHealth::Warning);
    report.modules = Some(vec![ModuleReport {
        module: "shop".to_owned(),
        active: Some(wire(&version(1))),
        staged: None,
        previous: Some(wire(&version(2))),
        percent: 0,
        faults: vec![SlotFault {
            slot: Slot::Previous,
            version: wire(&version(2)),
            reason: "x".repeat(10_000),
        }],
    }]);
    assert!(fixture.beat("a", report.clone()));
    let shop: ModuleName = "shop".parse().expect("a name");
    let state = &modules()[&shop];
    assert_eq!(state.serving(), Some(&version(1)));
    assert_eq!(state.previous, Some(version(2)));
    assert!(state.faults[0].reason.len() < 600);
    if let Some(modules) = &mut report.modules {
        modules[0].module = "Not A Name".to_owned();
    }
    let invalid = fixture.registry.heartbeat(&node("a"), report);
    assert!(matches!(invalid, Err(Error::Invalid(_))), "{invalid:?}");
}

/// Wants `shop` 2.0.0 in production, and accepts 1.0.0.
struct Decided;

impl DesiredVersions for Decided {
    fn desired(&self, node: &NodeRecord) -> Option<BTreeMap<ModuleName, DesiredVersion>> {
        (node.environment.as_str() == "production").then(|| {
            let desired = DesiredVersion {
                version: version(2),
                accepted: vec![version(1)],
            };
            BTreeMap::from([(version(2).name, desired)])
        })
    }

    fn cordon(&self, _: &NodeId, _: &Environment) -> Option<Cordon> {
        Some(Cordon {
            drained: true,
            by: "ada".to_owned(),
            reason: Some("its disk is replaced".to_owned()),
            since: Timestamp::from_millis(1),
        })
    }
}

#[tokio::test]
async fn nodes_are_told_what_they_should_run_and_that_they_are_drained() {
    let fixture = fixture().await;
    let registered = fixture.start("a1", "a", 1).await.expect("it registers");
    assert_eq!(registered.desired, None, "nothing is decided");
    fixture.registry.set_desired_versions(Arc::new(Decided));
    let answer = fixture.passing("a1").expect("accepted").expect("known");
    let cordon = answer.cordon.expect("it is drained");
    assert!(cordon.drained);
    assert_eq!(cordon.reason, "drained by ada: its disk is replaced");
    let desired = answer.desired.expect("decided");
    assert_eq!(desired["shop"].version, wire(&version(2)));
    assert_eq!(desired["shop"].accepted, [wire(&version(1))]);
    let registered = fixture.start("a1", "a", 1).await.expect("it registers");
    assert_eq!(registered.desired, Some(desired));
}
