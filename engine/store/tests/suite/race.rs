//! Many callers at once.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use hotswap_core::{Deployment, DeploymentId};
use hotswap_store::{CreateError, Entry, Journal};
use tokio::task::JoinSet;

use super::{Stores, append, at, begin, conflict, header, log, planned, put};

pub async fn of_many_creates_one_wins<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
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
    assert_eq!(store.open().await.unwrap(), [*winner]);
    stores.close(store).await;
}

pub async fn of_many_appends_at_one_place_one_wins<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    put(&store, id, 1, &[planned()]).await;
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
    stores.close(store).await;
}

pub async fn many_journals_at_once_have_no_gaps<S: Stores>() {
    const JOURNALS: u32 = 64;
    const APPENDS: u32 = 20;
    let stores = S::new();
    let store = stores.open().await;
    let mut news = store.subscribe();
    let mut tasks = JoinSet::new();
    for number in 0..JOURNALS {
        let store = store.clone();
        tasks.spawn(async move {
            let id = begin(&store, &format!("m{number}"), "production").await;
            let fence = Some(store.lease(id).await.unwrap().fence);
            let mut head = store.append(append(id, 1, fence, &[planned()])).await;
            for call in 0..APPENDS {
                let bodies = [log(2 * call, "a"), log(2 * call + 1, "b")];
                let next = head.unwrap().next_seq;
                head = store.append(append(id, next, fence, &bodies)).await;
                // Whoever has the answer reads what it says.
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
        // Which fails where a number is missing, or is there twice.
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
        let appended = news.recv().await.unwrap();
        assert!(appended.position > last, "told out of order");
        last = appended.position;
    }
    stores.close(store).await;
}

pub async fn whoever_follows_the_tail_misses_none<S: Stores>() {
    const JOURNALS: u32 = 16;
    const APPENDS: u32 = 40;
    let stores = S::new();
    let store = stores.open().await;
    let mut news = store.subscribe();
    let mut tasks = JoinSet::new();
    for number in 0..JOURNALS {
        let store = store.clone();
        tasks.spawn(async move {
            let id = begin(&store, &format!("m{number}"), "production").await;
            let mut next = put(&store, id, 1, &[planned()]).await.next_seq;
            for call in 0..APPENDS {
                let bodies = [log(2 * call, "a"), log(2 * call + 1, "b")];
                next = put(&store, id, next, &bodies).await.next_seq;
            }
        });
    }
    let mut tail: Vec<Entry> = Vec::new();
    let mut position = 0;
    let whole = (JOURNALS * (2 + 2 * APPENDS)) as usize;
    while tail.len() < whole {
        let told = news.recv().await.unwrap().position;
        // Whoever hears of an event can read it.
        assert!(store.position().await.unwrap() >= told);
        while position < told {
            // Now and then in the middle of an append.
            let page = store.since(position, 7).await.unwrap();
            position = page.last().unwrap().event.position;
            tail.extend(page);
        }
    }
    assert!(tail.is_sorted_by(|one, other| one.event.position < other.event.position));
    let mut next: HashMap<DeploymentId, u64> = HashMap::new();
    for entry in &tail {
        let next = next.entry(entry.deployment).or_default();
        assert_eq!(entry.event.seq, *next, "left out, or told twice");
        *next += 1;
    }
    tasks.join_all().await;
    assert_eq!(store.since(0, usize::MAX).await.unwrap(), tail);
    stores.close(store).await;
}

pub async fn a_cancelled_append_is_whole_or_not_there<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    let mut next = put(&store, id, 1, &[planned()]).await.next_seq;
    for _ in 0..20 {
        {
            let bodies = [log(0, "a"), log(1, "b")];
            let mut appending = pin!(store.append(append(id, next, None, &bodies)));
            // Far enough to be on its way, and then nobody waits for it.
            let _ = appending
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        // An append that is refused for certain comes after it.
        let refused = store.append(append(id, u64::MAX, None, &[])).await;
        let now = conflict(refused.unwrap_err()).next_seq;
        assert!(
            now == next || now == next + 2,
            "half of it: {now} after {next}"
        );
        next = now;
    }
    Deployment::fold(&store.events(id, 0, usize::MAX).await.unwrap()).unwrap();
    put(&store, id, next, &[log(9, "on")]).await;
    stores.close(store).await;
}
