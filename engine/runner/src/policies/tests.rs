//! Engines that have not heard of each other's changes.

use hotswap_core::SystemClock;
use hotswap_store::Memory;

use super::*;

fn production() -> Environment {
    "production".parse().unwrap()
}

/// The policies of an engine that follows no other one.
async fn engine(store: &Memory) -> Inner {
    let environments = Environments::new(BTreeMap::new());
    let (store, clock) = (Arc::new(store.clone()), Arc::new(SystemClock));
    let registry = Registry::load(store.clone(), clock.clone(), Registry::DEFAULT_INTERVAL);
    let engine = Inner::new(store, environments, registry.await.unwrap(), clock);
    engine.read().await.unwrap();
    engine
}

fn policy(hours: u64) -> Option<Policy> {
    let deadline = Duration::from_secs(3600 * hours);
    Some(Policy {
        deadline,
        ..Policy::default_for(&production())
    })
}

async fn change(
    engine: &Inner,
    policy: Option<Policy>,
    expected: Option<u64>,
) -> Result<(), Error> {
    let change = PolicyChange {
        environment: production(),
        policy,
        selector: None,
        expected,
        by: "ada".to_owned(),
        reason: None,
    };
    engine.change(&change).await
}

/// What a person set, as an engine has it that has just started.
async fn stored(store: &Memory) -> (Option<Policy>, u64) {
    let engine = engine(store).await;
    let found = engine.environments.by_person(&production());
    let policy = found.map(|found| found.unwrap().policy.clone());
    (policy, engine.version(&production()))
}

#[tokio::test]
async fn what_another_engine_has_changed_is_changed_back() {
    let store = Memory::new(1);
    let (one, other) = (engine(&store).await, engine(&store).await);
    change(&other, policy(1), None).await.unwrap();
    other.read().await.unwrap();
    change(&one, policy(2), None).await.unwrap();
    // As far as it knows, that is so already.
    change(&other, policy(1), None).await.unwrap();
    assert_eq!(stored(&store).await, (policy(1), 3));
    assert_eq!(other.version(&production()), 3);

    // The same where there is to be none.
    change(&one, None, None).await.unwrap();
    let fresh = engine(&store).await;
    change(&one, policy(2), None).await.unwrap();
    change(&fresh, None, None).await.unwrap();
    assert_eq!(stored(&store).await, (None, 0));
}

#[tokio::test]
async fn a_condition_is_compared_with_what_another_engine_has_set() {
    let store = Memory::new(1);
    let (one, other) = (engine(&store).await, engine(&store).await);
    change(&other, policy(1), Some(0)).await.unwrap();
    change(&one, policy(2), Some(1)).await.unwrap();
    let refused = change(&other, policy(1), Some(1)).await;
    assert!(
        matches!(refused, Err(Error::Changed { version: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(stored(&store).await, (policy(2), 2));
    // What is so already makes no version.
    change(&other, policy(2), Some(2)).await.unwrap();
    assert_eq!(stored(&store).await, (policy(2), 2));
}

#[tokio::test]
async fn a_selector_is_set_with_a_policy_and_gone_without_it() {
    let store = Memory::new(1);
    let engine = engine(&store).await;
    let set = async |policy: Option<Policy>, selector: &str| {
        let change = PolicyChange {
            environment: production(),
            policy,
            selector: Some(selector.parse().unwrap()),
            expected: None,
            by: "ada".to_owned(),
            reason: None,
        };
        engine.change(&change).await.unwrap();
        let selector = engine.environments.selector(&production());
        selector.map(|selector| selector.to_string())
    };
    assert_eq!(set(policy(1), "zone=eu").await.as_deref(), Some("zone=eu"));
    // Another spelling of the same.
    set(policy(1), "zone in (eu)").await;
    assert_eq!(stored(&store).await.1, 1);
    assert_eq!(set(policy(1), "zone=us").await.as_deref(), Some("zone=us"));
    assert_eq!(stored(&store).await.1, 2);
    assert_eq!(set(None, "zone=us").await, None);
    change(&engine, policy(1), None).await.unwrap();
    assert_eq!(engine.environments.selector(&production()), None);
}
