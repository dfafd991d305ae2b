//! The journal with many concurrent callers.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use hotswap_core::{Deployment, DeploymentId};
use hotswap_store::{CreateError, Entry, Journal};
use tokio::task::JoinSet;

use super::{StoreFixture, append, at, conflict, create, header, log, must_append, planned, seq};

pub async fn one_of_many_concurrent_creates_succeeds<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let store = store.clone();
        tasks.spawn(async move {
            let header = header("checkout", "production");
            (header.id, store.create(header, at(1)).await)
        });
    }
    let results = tasks.join_all().await;
    let mut winners = results.iter().filter(|(_, result)| result.is_ok());
    let (winner, _) = winners.next().unwrap();
    assert!(winners.next().is_none());
    for (id, result) in &results {
        assert!(
            id == winner || matches!(result, Err(CreateError::Busy(other)) if other == winner),
            "{result:?}"
        );
    }
    assert_eq!(store.open_deployments().await.unwrap(), [*winner]);
    fixture.close(store).await;
}

pub async fn one_of_many_conflicting_appends_succeeds<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    let mut tasks = JoinSet::new();
    for number in 0..50_u32 {
        let store = store.clone();
        let bodies = [log(0, &number.to_string()), log(1, &number.to_string())];
        tasks.spawn(async move {
            let result = store.append(append(id, 2, None, &bodies)).await;
            (bodies, result)
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) = tasks
        .join_all()
        .await
        .into_iter()
        .partition(|(_, result)| result.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 49));
    for (_, result) in lost {
        assert_eq!(conflict(result.unwrap_err()).next_seq, 4);
    }
    let events = store.events(id, 2, 9).await.unwrap();
    let bodies: Vec<_> = events.into_iter().map(|event| event.body).collect();
    assert_eq!(bodies, won[0].0);
    fixture.close(store).await;
}

pub async fn concurrent_journals_have_no_gaps<S: StoreFixture>() {
    const JOURNALS: u32 = 64;
    const APPENDS: u32 = 20;
    let fixture = S::new();
    let store = fixture.open().await;
    let mut notifications = store.subscribe();
    let mut tasks = JoinSet::new();
    for number in 0..JOURNALS {
        let store = store.clone();
        tasks.spawn(async move {
            let id = create(&store, &format!("m{number}"), "production").await;
            let fence = Some(store.acquire_lease(id).await.unwrap().fence);
            let mut head = store.append(append(id, 1, fence, &[planned()])).await;
            for call in 0..APPENDS {
                let bodies = [log(2 * call, "a"), log(2 * call + 1, "b")];
                let next = head.unwrap().next_seq;
                head = store.append(append(id, next, fence, &bodies)).await;
                // A caller reads its own writes.
                assert_eq!(&store.head(id).await.unwrap(), head.as_ref().unwrap());
            }
            id
        });
    }
    let ids = tasks.join_all().await;
    let mut positions = Vec::new();
    for id in &ids {
        let events = store.events(*id, 0, usize::MAX).await.unwrap();
        assert_eq!(events.len(), 2 + 2 * APPENDS as usize);
        // The fold fails if a number is missing or there twice.
        Deployment::fold(&events).unwrap();
        assert!(events.is_sorted_by(|a, b| a.position < b.position));
        positions.extend(events.iter().map(|event| event.position));
    }
    positions.sort_unstable();
    assert!(
        positions.is_sorted_by(|a, b| a < b),
        "a position is there twice"
    );
    let mut last = 0;
    for _ in 0..JOURNALS * (2 + APPENDS) {
        let appended = notifications.recv().await.unwrap();
        assert!(appended.position > last, "notified out of order");
        last = appended.position;
    }
    fixture.close(store).await;
}

pub async fn a_reader_that_follows_positions_misses_no_event<S: StoreFixture>() {
    const JOURNALS: u32 = 16;
    const APPENDS: u32 = 40;
    let fixture = S::new();
    let store = fixture.open().await;
    let mut notifications = store.subscribe();
    let mut tasks = JoinSet::new();
    for number in 0..JOURNALS {
        let store = store.clone();
        tasks.spawn(async move {
            let id = create(&store, &format!("m{number}"), "production").await;
            let mut next = must_append(&store, id, 1, &[planned()]).await.next_seq;
            for call in 0..APPENDS {
                let bodies = [log(2 * call, "a"), log(2 * call + 1, "b")];
                next = must_append(&store, id, next, &bodies).await.next_seq;
            }
        });
    }
    let mut tail: Vec<Entry> = Vec::new();
    let mut position = 0;
    let whole = (JOURNALS * (2 + 2 * APPENDS)) as usize;
    while tail.len() < whole {
        let notified = notifications.recv().await.unwrap().position;
        // An event is readable once subscribers are notified of it.
        assert!(store.last_position().await.unwrap() >= notified);
        while position < notified {
            // An odd limit, so that pages also end in the middle of an append.
            let page = store.events_after(position, 7).await.unwrap();
            position = page.last().unwrap().position;
            tail.extend(page);
        }
    }
    assert!(tail.is_sorted_by(|one, other| one.position < other.position));
    let mut next: HashMap<DeploymentId, u64> = HashMap::new();
    for entry in &tail {
        let next = next.entry(entry.deployment).or_default();
        assert_eq!(seq(entry), *next, "left out, or there twice");
        *next += 1;
    }
    tasks.join_all().await;
    assert_eq!(store.events_after(0, usize::MAX).await.unwrap(), tail);
    fixture.close(store).await;
}

pub async fn a_cancelled_append_happens_whole_or_not_at_all<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    let mut next = must_append(&store, id, 1, &[planned()]).await.next_seq;
    for _ in 0..20 {
        {
            let bodies = [log(0, "a"), log(1, "b")];
            let mut appending = pin!(store.append(append(id, next, None, &bodies)));
            // Polled once, so that it is queued, and then cancelled.
            let _ = appending
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        // This append comes after it and is certainly rejected.
        let rejected = store.append(append(id, u64::MAX, None, &[])).await;
        let now = conflict(rejected.unwrap_err()).next_seq;
        assert!(
            now == next || now == next + 2,
            "half of it is stored: {now} after {next}"
        );
        next = now;
    }
    Deployment::fold(&store.events(id, 0, usize::MAX).await.unwrap()).unwrap();
    must_append(&store, id, next, &[log(9, "on")]).await;
    fixture.close(store).await;
}
