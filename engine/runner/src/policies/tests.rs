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
    let engine = Inner::new(Arc::new(store.clone()), environments, Arc::new(SystemClock));
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
