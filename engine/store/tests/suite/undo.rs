//! Deployments that go back from what should run.

use hotswap_core::{DeploymentId, Header};
use hotswap_store::{CreateError, EnvironmentAppend, EnvironmentJournal, Journal};

use super::environments::retired;
use super::{StoreFixture, append_at_end, at, create, failure, header, partial_success, success};

fn undo(from: DeploymentId, to: DeploymentId) -> Header {
    Header {
        undo_from: Some(from),
        undo_to: Some(to),
        ..header("hello", "production")
    }
}

fn is_outdated(created: Result<(), CreateError>, from: DeploymentId) -> bool {
    matches!(created, Err(CreateError::NothingToUndo(id)) if id == from)
}

pub async fn an_undo_is_created_only_from_the_newest_success<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let first = create(&store, "hello", "production").await;
    append_at_end(&store, first, &success()).await;
    let second = create(&store, "hello", "production").await;
    let busy = store.create(undo(first, first), at(5)).await;
    assert!(matches!(busy, Err(CreateError::Busy(id)) if id == second));
    append_at_end(&store, second, &partial_success()).await;
    // Neither is a success of hello in production.
    let elsewhere = create(&store, "hello", "qa").await;
    append_at_end(&store, elsewhere, &success()).await;
    let other = create(&store, "other", "production").await;
    append_at_end(&store, other, &success()).await;
    let failed = create(&store, "hello", "production").await;
    append_at_end(&store, failed, &failure()).await;
    let start = store.last_position().await.unwrap();
    for outdated in [first, failed, elsewhere, other] {
        let created = store.create(undo(outdated, first), at(6)).await;
        assert!(is_outdated(created, outdated));
    }
    assert_eq!(store.last_position().await.unwrap(), start);
    let undo = undo(second, first);
    store.create(undo.clone(), at(7)).await.unwrap();
    assert_eq!(store.open_deployments().await.unwrap(), [undo.id]);
    fixture.close(store).await;
}

pub async fn an_undo_of_a_retired_module_is_created_only_where_it_brings_that_back<
    S: StoreFixture,
>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let nothing = DeploymentId::generate();
    let created = store.create(undo(nothing, nothing), at(4)).await;
    assert!(is_outdated(created, nothing));
    let mut successes = Vec::new();
    for _ in 0..2 {
        let id = create(&store, "hello", "production").await;
        append_at_end(&store, id, &success()).await;
        successes.push(id);
    }
    let [first, second] = successes[..] else {
        unreachable!("there are two");
    };
    let retire = EnvironmentAppend {
        environment: "production".parse().unwrap(),
        fence: None,
        newest_cordon: None,
        at: at(1000),
        bodies: vec![retired("hello")],
    };
    store.append_to_environment(retire).await.unwrap();
    let created = store.create(undo(second, first), at(5)).await;
    assert!(is_outdated(created, second));
    let undo = undo(second, second);
    store.create(undo.clone(), at(6)).await.unwrap();
    append_at_end(&store, undo.id, &success()).await;
    fixture.close(store).await;
}
