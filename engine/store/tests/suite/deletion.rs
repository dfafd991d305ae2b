//! Deleting deployments that have ended.

use hotswap_core::DeploymentId;
use hotswap_store::{AppendError, DeleteError, Journal, NewSnapshot, Query, ReadError};

use super::{StoreFixture, append, append_at_end, create, failure, must_append, planned, success};

async fn ended(store: &impl Journal, module: &str) -> DeploymentId {
    let id = create(store, module, "production").await;
    append_at_end(store, id, &success()).await;
    let snapshot = NewSnapshot {
        deployment: id,
        format: 1,
        next_seq: 4,
        ended: true,
        summary: b"summary".to_vec(),
        state: b"state".to_vec(),
    };
    store.put_snapshot(snapshot).await.unwrap();
    id
}

pub async fn a_deployment_that_has_ended_is_deleted_whole<S: StoreFixture>() {
    let fixture = S::new();
    let mut store = fixture.open().await;
    let before = ended(&store, "checkout").await;
    let id = ended(&store, "checkout").await;
    let other = ended(&store, "search").await;
    let of_others = store.events_after(0, usize::MAX).await.unwrap();
    let of_others: Vec<_> = of_others
        .into_iter()
        .filter(|entry| entry.deployment != id)
        .collect();
    store.delete(id).await.unwrap();
    for _ in 0..2 {
        let again = store.delete(id).await;
        assert!(
            matches!(again, Err(DeleteError::Unknown(other)) if other == id),
            "{again:?}"
        );
        let head = store.head(id).await;
        assert!(matches!(head, Err(ReadError::Unknown(_))), "{head:?}");
        let events = store.events(id, 0, 9).await;
        assert!(matches!(events, Err(ReadError::Unknown(_))), "{events:?}");
        let appended = store.append(append(id, 4, None, &[planned()])).await;
        assert!(
            matches!(appended, Err(AppendError::Unknown(_))),
            "{appended:?}"
        );
        assert_eq!(store.snapshot(id).await.unwrap(), None);
        assert_eq!(store.summaries(&[id]).await.unwrap(), [None]);
        let query = Query {
            limit: 9,
            ..Query::default()
        };
        assert_eq!(
            store.list(&query).await.unwrap().deployments,
            [other, before]
        );
        let current = store.current_deployments(None).await.unwrap();
        assert_eq!(current, [before, other]);
        assert_eq!(store.ended_without_snapshot(1, None, 9).await.unwrap(), []);
        assert_eq!(store.events_after(0, usize::MAX).await.unwrap(), of_others);
        fixture.close(store).await;
        store = fixture.open().await;
    }
    // The module is free for the next one.
    create(&store, "checkout", "production").await;
    fixture.close(store).await;
}

pub async fn a_deployment_that_has_not_ended_is_not_deleted<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    for bodies in [vec![planned()], failure()[..1].to_vec()] {
        let deleted = store.delete(id).await;
        assert!(
            matches!(deleted, Err(DeleteError::Open(other)) if other == id),
            "{deleted:?}"
        );
        append_at_end(&store, id, &bodies).await;
    }
    assert_eq!(store.deleted_through().await.unwrap(), 0);
    assert_eq!(store.head(id).await.unwrap().next_seq, 3);
    fixture.close(store).await;
}

pub async fn positions_of_deleted_events_stay_taken<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let first = ended(&store, "a").await;
    let middle = store.last_position().await.unwrap();
    let second = ended(&store, "b").await;
    let last = store.last_position().await.unwrap();
    store.delete(second).await.unwrap();
    assert_eq!(store.last_position().await.unwrap(), last);
    assert_eq!(store.deleted_through().await.unwrap(), last);
    // An older one does not lower it.
    store.delete(first).await.unwrap();
    assert!(middle < last);
    assert_eq!(store.deleted_through().await.unwrap(), last);
    fixture.close(store).await;
    let store = fixture.open().await;
    assert_eq!(store.last_position().await.unwrap(), last);
    assert_eq!(store.deleted_through().await.unwrap(), last);
    let id = create(&store, "c", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    let events = store.events(id, 0, 9).await.unwrap();
    assert!(events[0].position > last, "{events:?}");
    fixture.close(store).await;
}
