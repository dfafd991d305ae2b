//! Deployments that supersede others.

use hotswap_core::{Deployment, DeploymentId, Event, EventBody, Status};
use hotswap_store::{CreateError, Journal};

use super::{
    StoreFixture, append_at_end, at, create, failure, header, must_append, notified, planned,
    success,
};

async fn all(store: &impl Journal, deployment: DeploymentId) -> Vec<Event> {
    store.events(deployment, 0, usize::MAX).await.unwrap()
}

fn superseding(old: DeploymentId) -> hotswap_core::Header {
    hotswap_core::Header {
        supersedes: Some(old),
        ..header("checkout", "production")
    }
}

pub async fn a_create_that_supersedes_aborts_the_open_one_in_the_same_write<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let old = create(&store, "checkout", "production").await;
    must_append(&store, old, 1, &[planned()]).await;
    let start = store.last_position().await.unwrap();
    let mut appended = store.subscribe();
    let new = superseding(old);
    store.create(new.clone(), at(5)).await.unwrap();
    // Subscribers learn of both, in order of position.
    let told = [
        notified(&mut appended, start).await,
        notified(&mut appended, start).await,
    ];
    assert_eq!(told.map(|append| append.deployment), [old, new.id]);
    assert!(told[0].position < told[1].position && told[0].head.lifecycle.aborting);
    let aborted = &all(&store, old).await[2];
    let EventBody::AbortRequested { by, reason } = &aborted.body else {
        panic!("{aborted:?}");
    };
    assert_eq!(by, "ada@example.org");
    assert!(reason.as_ref().unwrap().contains(&new.id.to_string()));
    assert_eq!(store.open_deployments().await.unwrap(), [old, new.id]);
    let (module, environment) = (&new.module.name, &new.environment);
    let open = store.open_deployment(module, environment).await.unwrap();
    assert_eq!(open, Some(old));
    // It waits also after a restart, and begins with the end of the other.
    fixture.close(store).await;
    let store = fixture.open().await;
    append_at_end(&store, old, &failure()).await;
    let open = store.open_deployment(module, environment).await.unwrap();
    assert_eq!(open, Some(new.id));
    let busy = store.create(header("checkout", "production"), at(6)).await;
    assert!(matches!(busy, Err(CreateError::Busy(other)) if other == new.id));
    fixture.close(store).await;
}

pub async fn of_the_creates_that_supersede_the_same_one_the_last_waits<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let old = create(&store, "checkout", "production").await;
    let (first, second) = (superseding(old), superseding(old));
    store.create(first.clone(), at(5)).await.unwrap();
    store.create(second.clone(), at(6)).await.unwrap();
    let ended = store.head(first.id).await.unwrap();
    assert_eq!(ended.lifecycle.status(), Status::Failed);
    assert!(
        Deployment::fold(&all(&store, first.id).await)
            .unwrap()
            .cause
            .is_some()
    );
    // The abort of the old one was requested before.
    assert_eq!(all(&store, old).await.len(), 2);
    assert_eq!(store.open_deployments().await.unwrap(), [old, second.id]);
    append_at_end(&store, old, &failure()).await;
    append_at_end(&store, second.id, &success()).await;
    assert!(store.open_deployments().await.unwrap().is_empty());
    fixture.close(store).await;
}

pub async fn a_create_supersedes_only_the_deployment_that_it_names<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let old = create(&store, "checkout", "production").await;
    append_at_end(&store, old, &failure()).await;
    let nothing = store.create(superseding(old), at(5)).await;
    assert!(matches!(nothing, Err(CreateError::NothingToSupersede(id)) if id == old));
    let other = create(&store, "checkout", "production").await;
    let busy = store.create(superseding(old), at(6)).await;
    assert!(matches!(busy, Err(CreateError::Busy(id)) if id == other));
    assert_eq!(all(&store, other).await.len(), 1, "nothing was written");
    // One that settles is not aborted: it ends anyway.
    append_at_end(&store, other, &success()[..2]).await;
    store.create(superseding(other), at(7)).await.unwrap();
    assert_eq!(all(&store, other).await.len(), 3);
    fixture.close(store).await;
}
