//! Reads of events, and notifications of appends.

use hotswap_core::{DeploymentId, EventBody};
use hotswap_store::{AppendError, Journal, LeaseError, Query, ReadError};

use super::{
    StoreFixture, all, append, append_at_end, conflict, create, failure, log, must_append,
    notified, planned, seq,
};

pub async fn events_returns_the_requested_range<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    for call in 0..8 {
        must_append(&store, id, 2 + u64::from(call), &[log(call, "x")]).await;
    }
    let seqs = async |from, limit| {
        let events = store.events(id, from, limit).await.unwrap();
        events.iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(0, 3).await, [0, 1, 2]);
    assert_eq!(seqs(8, 100).await, [8, 9]);
    assert_eq!(seqs(10, 100).await, [0; 0]);
    assert_eq!(seqs(0, 0).await, [0; 0]);
    assert_eq!(seqs(u64::MAX, usize::MAX).await, [0; 0]);
    fixture.close(store).await;
}

pub async fn events_after_merges_all_journals_by_position<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    assert_eq!(store.last_position().await.unwrap(), 0);
    assert_eq!(store.events_after(0, usize::MAX).await.unwrap(), []);

    let a = create(&store, "a", "production").await;
    let b = create(&store, "b", "production").await;
    must_append(&store, b, 1, &[planned(), log(0, "b")]).await;
    must_append(&store, a, 1, &[planned()]).await;
    append_at_end(&store, b, &failure()).await;
    must_append(&store, a, 2, &[log(0, "a")]).await;

    let tail = store.events_after(0, usize::MAX).await.unwrap();
    let order: Vec<_> = tail
        .iter()
        .map(|entry| (entry.deployment, seq(entry)))
        .collect();
    assert_eq!(
        order,
        [
            (a, 0),
            (b, 0),
            (b, 1),
            (b, 2),
            (a, 1),
            (b, 3),
            (b, 4),
            (a, 2)
        ]
    );
    assert!(tail.is_sorted_by(|one, other| one.position < other.position));
    for id in [a, b] {
        let of_one = tail.iter().filter(|entry| entry.deployment == id);
        let of_one: Vec<_> = of_one.map(|entry| entry.event.clone().unwrap()).collect();
        assert_eq!(of_one, all(&store, id).await);
    }
    let last = tail.last().unwrap().position;
    assert_eq!(store.last_position().await.unwrap(), last);

    for limit in 1..=tail.len() + 1 {
        let (mut read, mut position) = (Vec::new(), 0);
        loop {
            let page = store.events_after(position, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(newest) = page.last() else { break };
            position = newest.position;
            read.extend(page);
        }
        assert_eq!(read, tail, "{limit} at once");
    }
    assert_eq!(store.events_after(0, 0).await.unwrap(), []);
    for position in [last, last + 1, u64::MAX] {
        assert_eq!(store.events_after(position, usize::MAX).await.unwrap(), []);
    }
    fixture.close(store).await;

    let store = fixture.open().await;
    assert_eq!(store.last_position().await.unwrap(), last);
    must_append(&store, a, 3, &[log(1, "on")]).await;
    let new = store.events_after(last, 9).await.unwrap();
    assert_eq!((new[0].deployment, seq(&new[0]), new.len()), (a, 3, 1));
    fixture.close(store).await;
}

pub async fn subscribers_are_notified_of_every_append<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let before = create(&store, "search", "production").await;
    let start = store.last_position().await.unwrap();
    let mut notifications = store.subscribe();
    let id = create(&store, "checkout", "production").await;
    let lease = store.acquire_lease(id).await.unwrap();
    let appended = store
        .append(append(id, 1, Some(lease.fence), &[planned(), log(0, "a")]))
        .await
        .unwrap();
    let rejected = store.append(append(id, 1, None, &[log(1, "b")])).await;
    conflict(rejected.unwrap_err());
    must_append(
        &store,
        before,
        1,
        &[EventBody::Paused {
            by: "ada".into(),
            reason: None,
        }],
    )
    .await;

    let created = notified(&mut notifications, start).await;
    assert_eq!((created.deployment, created.head.next_seq), (id, 1));
    assert!(!created.fenced);
    let first = notifications.recv().await.unwrap();
    assert_eq!(
        (first.deployment, first.head, first.fenced),
        (id, appended, true)
    );
    assert_eq!(
        first.position,
        all(&store, id).await.last().unwrap().position
    );
    let second = notifications.recv().await.unwrap();
    assert_eq!((second.deployment, second.fenced), (before, false));
    assert!(created.position < first.position && first.position < second.position);
    assert!(second.head.lifecycle.paused);
    assert!(notifications.try_recv().is_err());
    fixture.close(store).await;
}

pub async fn unknown_deployments_are_reported_as_such<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = DeploymentId::generate();
    let appended = store.append(append(id, 0, None, &[planned()])).await;
    assert!(matches!(appended, Err(AppendError::Unknown(of)) if of == id));
    assert!(matches!(store.acquire_lease(id).await, Err(LeaseError::Unknown(of)) if of == id));
    assert!(matches!(store.head(id).await, Err(ReadError::Unknown(of)) if of == id));
    assert!(matches!(store.events(id, 0, 9).await, Err(ReadError::Unknown(of)) if of == id));
    let query = Query {
        before: Some(id),
        limit: 1,
        ..Query::default()
    };
    assert!(matches!(store.list(&query).await, Err(ReadError::Unknown(of)) if of == id));
    fixture.close(store).await;
}
