//! Nodes that belong to an environment by their labels.

use super::*;

#[tokio::test]
async fn a_node_without_an_environment_gets_the_one_whose_selector_matches() {
    let fixture = fixture().await;
    let selectors = [("edge", "tier=edge"), ("far", "zone=moon")];
    let selectors = selectors.map(|(name, selector)| {
        let selector = selector.parse().expect("a selector");
        (name.parse().expect("an environment"), selector)
    });
    let unnamed = |zone: &str| Registration {
        environment: None,
        zone: Some(zone.to_owned()),
        ..registration("", "http://127.0.0.1:1")
    };
    let register = |zone: &str| fixture.registry.register(node("a"), unnamed(zone));
    let error = register("eu").await.expect_err("nobody selects it");
    assert!(error.to_string().contains("--environment"), "{error}");
    fixture.registry.set_environment_selectors(selectors.into());
    let registered = register("eu").await.expect("it is selected");
    assert_eq!(registered.environment.as_deref(), Some("edge"));
    let record = fixture.registry.member(&node("a")).expect("known").record;
    assert_eq!(record.environment.as_str(), "edge");
    let error = register("moon").await.expect_err("two select it");
    assert!(
        error
            .to_string()
            .contains("edge (tier=edge), far (zone=moon)"),
        "{error}"
    );
    let named = registration("qa", "http://127.0.0.1:1");
    let registered = fixture.registry.register(node("a"), named).await;
    assert_eq!(
        registered.expect("it names one").environment.as_deref(),
        Some("qa")
    );
}

#[tokio::test]
async fn a_node_registers_again_when_the_selectors_change() {
    let fixture = fixture().await;
    let registry = &fixture.registry;
    let select = |name: &str| {
        let selector = "zone=eu".parse().expect("a selector");
        let environment = name.parse().expect("an environment");
        registry.set_environment_selectors([(environment, selector)].into());
    };
    let register = async || {
        let unnamed = Registration {
            environment: None,
            zone: Some("eu".to_owned()),
            ..registration("", "http://127.0.0.1:1")
        };
        let registered = registry.register(node("a"), unnamed).await;
        registered.expect("it is selected").environment
    };
    let passing = || fixture.beat("a", heartbeat(NodeHealth::Passing, None));
    select("edge");
    assert_eq!(register().await.as_deref(), Some("edge"));
    assert!(passing());
    select("edge");
    assert!(passing(), "nothing has changed");
    select("far");
    assert!(!passing());
    assert_eq!(register().await.as_deref(), Some("far"));
    assert!(passing());
    select("edge");
    let stops = heartbeat(NodeHealth::Stopping, None);
    assert!(fixture.beat("a", stops), "it does not say so twice");
}
