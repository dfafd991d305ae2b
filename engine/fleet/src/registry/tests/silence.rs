//! Nodes that are not heard of, and what nodes say of their readiness.

use hotswap_core::{Digest, ModuleName};
use hotswap_protocol::{ModuleReport, Slot, SlotFault, Version};

use super::*;

/// A removal that is recorded nowhere.
async fn unrecorded(_: Silence) -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn only_a_node_that_is_silent_for_long_expires() {
    let fixture = fixture().await;
    for id in ["alive", "silent", "stopped"] {
        fixture.register(id).await;
    }
    fixture.clock.advance(Duration::from_secs(11));
    let silent = fixture.registry.silent_members();
    assert!(silent.is_empty(), "not silent for long: {silent:?}");
    assert!(fixture.beat("alive", heartbeat(NodeHealth::Passing, None)));
    assert!(fixture.beat("stopped", heartbeat(NodeHealth::Stopping, None)));
    fixture.clock.advance(Duration::from_secs(1));
    // A step of the wall-clock is no silence.
    fixture.clock.step(1_000_000);
    let silences = || {
        let silent = fixture.registry.silent_members().into_iter();
        let silent = silent.map(|(member, silence)| {
            let id = member.record.id.to_string();
            (id, silence.lasted.as_secs(), silence.stopped)
        });
        silent.collect::<Vec<_>>()
    };
    let expected = [
        ("silent".to_owned(), 12, false),
        ("stopped".to_owned(), 1, true),
    ];
    assert_eq!(silences(), expected);
    let expire = async |id: &str, seconds: u64| {
        let is_over = |silence: Silence| silence.lasted >= Duration::from_secs(seconds);
        let id = node(id);
        let expired = fixture.registry.expire(&id, is_over, unrecorded);
        expired.await.expect("it can be removed")
    };
    assert!(!expire("alive", 0).await, "it reports in");
    assert!(!expire("nobody", 0).await);
    assert!(!expire("silent", 13).await);
    assert!(expire("silent", 12).await);
    assert!(expire("stopped", 1).await);
    let restarted = load(&fixture.store, &fixture.clock).await;
    assert_eq!(restarted.members().len(), 1);
    // Silent for long before, but not since this engine started.
    fixture.clock.advance(Duration::from_secs(100_000));
    let restarted = load(&fixture.store, &fixture.clock).await;
    assert!(restarted.silent_members().is_empty());
    fixture.clock.advance(Duration::from_secs(100));
    let silent = restarted.silent_members();
    assert_eq!(silent[0].1.lasted, Duration::from_secs(100));
    fixture.register("silent").await;
}

#[tokio::test]
async fn a_node_whose_end_cannot_be_recorded_does_not_expire() {
    let fixture = fixture().await;
    fixture.register("a").await;
    fixture.clock.advance(Duration::from_secs(60));
    let failing = async |_: Silence| Err(Error::Load("the disk is full".into()));
    let id = node("a");
    let expired = fixture.registry.expire(&id, |_| true, failing).await;
    assert!(matches!(expired, Err(Error::Load(_))), "{expired:?}");
    assert!(fixture.registry.member(&node("a")).is_some());
}

#[tokio::test]
async fn what_a_node_says_of_its_readiness_is_known_until_it_says_otherwise() {
    let fixture = fixture().await;
    fixture.register("a").await;
    let readiness = || {
        let member = fixture.registry.member(&node("a")).expect("known");
        member.readiness
    };
    assert_eq!(readiness(), None);
    let drained = hotswap_protocol::Readiness {
        ready: false,
        reason: Some("the node was drained by ada".to_owned()),
        in_flight: 7,
    };
    let beat = Heartbeat {
        readiness: Some(drained.clone()),
        ..heartbeat(NodeHealth::Passing, None)
    };
    assert!(fixture.beat("a", beat));
    assert_eq!(readiness(), Some(drained));
    fixture.register("a").await;
    assert_eq!(readiness(), None, "it was restarted");
}

#[tokio::test]
async fn an_engine_that_has_started_awaits_its_nodes_as_long_as_they_may_be_silent() {
    let fixture = fixture().await;
    fixture.register("quiet").await;
    let quiet = node("quiet");
    assert!(!fixture.registry.is_awaited(&quiet), "it has registered");
    let restarted = load(&fixture.store, &fixture.clock).await;
    let found = || (restarted.is_awaited(&quiet), restarted.is_unheard(&quiet));
    assert_eq!(found(), (true, false));
    fixture.clock.advance(Duration::from_secs(12));
    assert_eq!(found(), (false, true));
    restarted.answered(&quiet);
    assert_eq!(found(), (false, false));
    assert!(!restarted.is_awaited(&node("nobody")));
}

#[tokio::test]
async fn a_node_that_reports_no_version_or_cannot_load_it_serves_nothing() {
    let fixture = fixture().await;
    fixture.register("reporting").await;
    let (id, shop): (_, ModuleName) = (node("reporting"), "shop".parse().expect("a name"));
    let serves_nothing = || fixture.registry.serves_nothing(&id, &shop);
    assert!(!serves_nothing(), "it has reported no modules");
    let version = Version {
        version: "1.0.0".to_owned(),
        digest: Digest::of(b"shop").to_string(),
    };
    let module = |faults| ModuleReport {
        module: "shop".to_owned(),
        active: Some(version.clone()),
        staged: None,
        previous: None,
        percent: 0,
        faults,
    };
    let fault = |slot| SlotFault {
        slot,
        version: version.clone(),
        reason: "no memory".to_owned(),
    };
    for (modules, expected) in [
        (vec![module(vec![])], false),
        (vec![module(vec![fault(Slot::Previous)])], false),
        (vec![module(vec![fault(Slot::Active)])], true),
        (vec![], true),
    ] {
        let mut reported = heartbeat(NodeHealth::Passing, None);
        reported.modules = Some(modules);
        assert!(fixture.beat("reporting", reported));
        assert_eq!(serves_nothing(), expected);
    }
}
