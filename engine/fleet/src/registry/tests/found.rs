//! Nodes that the engine asks.

use hotswap_protocol::PollAnswer;

use super::*;

fn answer(boot: &str, health: NodeHealth) -> PollAnswer {
    PollAnswer {
        registration: Registration {
            boot: Some(boot.to_owned()),
            instance: Some("key".to_owned()),
            ..registration("production", "http://127.0.0.1:1")
        },
        heartbeat: heartbeat(health, Some("why")),
    }
}

impl Fixture {
    async fn found(&self, answer: PollAnswer) -> Result<bool, Error> {
        let source = Arc::from("main");
        let record = async |_: Move| Ok(());
        let registry = &self.registry;
        registry
            .report_found(&node("a"), answer, &source, record)
            .await
    }
}

#[tokio::test]
async fn a_node_that_is_asked_counts_like_one_that_reports_in() {
    let fixture = fixture().await;
    let warning = answer("first", NodeHealth::Warning);
    assert!(fixture.found(warning.clone()).await.unwrap(), "it is new");
    assert_eq!(fixture.health("a"), (Health::Warning, "why".to_owned()));
    assert!(!fixture.found(warning).await.unwrap());
    assert_eq!(fixture.store.writes.load(Ordering::Relaxed), 1);
    let passing = answer("first", NodeHealth::Passing);
    assert!(!fixture.found(passing.clone()).await.unwrap());
    assert_eq!(fixture.health("a").0, Health::Passing);
    let member = fixture.registry.member(&node("a")).unwrap();
    assert_eq!(member.found_in.as_deref(), Some("main"));
    assert!(fixture.registry.told_to(&node("a"), "first").is_some());
    assert!(fixture.registry.told_to(&node("a"), "second").is_none());
    fixture.clock.advance(Registry::DEFAULT_INTERVAL * 7);
    assert_eq!(fixture.health("a").0, Health::Critical);
    assert!(!fixture.found(passing).await.unwrap());
    assert_eq!(fixture.health("a").0, Health::Passing);
    let restarted = answer("second", NodeHealth::Passing);
    assert!(fixture.found(restarted).await.unwrap());
    let mut other_labels = answer("second", NodeHealth::Passing);
    other_labels.registration.labels.clear();
    assert!(fixture.found(other_labels).await.unwrap());
}

#[tokio::test]
async fn a_node_that_reports_in_by_itself_is_not_asked() {
    let fixture = fixture().await;
    let (registry, id) = (&fixture.registry, node("a"));
    assert!(!registry.reports_by_itself(&id));
    fixture.register("a").await;
    assert!(registry.reports_by_itself(&id));
    assert!(!registry.was_deregistered(&id), "it needs no registry");
    fixture.clock.advance(Registry::DEFAULT_INTERVAL * 7);
    assert!(!registry.reports_by_itself(&id), "it has fallen silent");
    assert!(
        fixture
            .found(answer("first", NodeHealth::Passing))
            .await
            .unwrap()
    );
    assert!(!registry.reports_by_itself(&id));
    // It reaches the engine again.
    let own = answer("first", NodeHealth::Passing).registration;
    registry.register(id.clone(), own).await.unwrap();
    assert!(registry.reports_by_itself(&id));
}

#[tokio::test]
async fn a_node_that_was_deregistered_has_stopped_until_it_is_found_again() {
    let fixture = fixture().await;
    let passing = || answer("first", NodeHealth::Passing);
    fixture.found(passing()).await.unwrap();
    assert!(fixture.registry.was_deregistered(&node("a")));
    assert!(!fixture.registry.was_deregistered(&node("a")));
    assert_eq!(fixture.health("a").0, Health::Critical);
    fixture.found(passing()).await.unwrap();
    assert_eq!(fixture.health("a").0, Health::Passing);
    fixture
        .found(answer("first", NodeHealth::Stopping))
        .await
        .unwrap();
    assert_eq!(fixture.health("a").0, Health::Critical);
    assert!(
        !fixture
            .found(answer("first", NodeHealth::Stopping))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn an_id_that_another_node_holds_is_not_taken_by_one_that_was_found() {
    let fixture = fixture().await;
    fixture
        .found(answer("first", NodeHealth::Passing))
        .await
        .unwrap();
    let mut other = answer("other", NodeHealth::Passing);
    other.registration.instance = Some("another-key".to_owned());
    let error = fixture.found(other).await.unwrap_err();
    assert!(matches!(error, Error::Taken { .. }), "{error}");
}
