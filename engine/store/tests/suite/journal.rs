//! One caller at a time.

use hotswap_core::{Deployment, DeploymentId, Event, EventBody, Fence, Lifecycle, Status, Step};
use hotswap_store::{AppendError, CreateError, Journal, Query, ReadError};

use super::{
    Stores, append, at, begin, conflict, end, failure, header, log, planned, put, success,
};

async fn all(store: &impl Journal, deployment: DeploymentId) -> Vec<Event> {
    store.events(deployment, 0, usize::MAX).await.unwrap()
}

pub async fn begins_with_the_request<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let header = header("checkout", "production");
    store.create(header.clone(), at(7)).await.unwrap();
    let events = all(&store, header.id).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].seq, events[0].at), (0, at(7)));
    assert_eq!(
        events[0].body,
        EventBody::Requested(Box::new(header.clone()))
    );
    let head = store.head(header.id).await.unwrap();
    assert_eq!((head.next_seq, head.lifecycle), (1, Lifecycle::INITIAL));
    assert_eq!(store.open().await.unwrap(), [header.id]);
    stores.close(store).await;
}

pub async fn one_open_deployment_for_a_module_in_an_environment<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let first = begin(&store, "checkout", "production").await;
    begin(&store, "checkout", "staging").await;
    begin(&store, "search", "production").await;
    let second = store.create(header("checkout", "production"), at(2)).await;
    assert!(matches!(second, Err(CreateError::Busy(other)) if other == first));
    end(&store, first, &failure()).await;
    begin(&store, "checkout", "production").await;
    stores.close(store).await;
}

pub async fn a_second_create_of_the_same_is_refused<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let header = header("checkout", "production");
    store.create(header.clone(), at(1)).await.unwrap();
    let again = store.create(header.clone(), at(2)).await;
    assert!(matches!(again, Err(CreateError::Busy(other)) if other == header.id));
    end(&store, header.id, &failure()).await;
    let again = store.create(header.clone(), at(3)).await;
    assert!(matches!(again, Err(CreateError::Store(_))), "{again:?}");
    assert_eq!(all(&store, header.id).await.len(), 3);
    stores.close(store).await;
}

pub async fn appends_only_where_the_appender_has_seen_all<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    let head = put(&store, id, 1, &[planned(), log(0, "a")]).await;
    assert_eq!((head.next_seq, head.lifecycle.step), (3, Step::Running));
    for expected in [0, 2, 4, u64::MAX] {
        let refused = store
            .append(append(id, expected, None, &[log(1, "b")]))
            .await;
        assert_eq!(conflict(refused.unwrap_err()), head, "{expected}");
    }
    put(&store, id, 3, &[log(1, "b")]).await;
    let bodies: Vec<_> = all(&store, id)
        .await
        .into_iter()
        .map(|event| event.body)
        .collect();
    assert_eq!(bodies[1..], [planned(), log(0, "a"), log(1, "b")]);
    stores.close(store).await;
}

pub async fn what_cannot_follow_is_refused_whole<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    let before = store.head(id).await.unwrap();
    let refused = store
        .append(append(
            id,
            1,
            None,
            &[planned(), EventBody::Resumed { by: "ada".into() }],
        ))
        .await;
    let Err(AppendError::IllegalTransition(illegal)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(illegal.to_string(), "the deployment is not paused");
    let again = EventBody::Requested(Box::new(header("checkout", "production")));
    let refused = store.append(append(id, 1, None, &[again])).await;
    assert!(matches!(refused, Err(AppendError::IllegalTransition(_))));
    assert_eq!(store.head(id).await.unwrap(), before);
    assert_eq!(all(&store, id).await.len(), 1);

    end(&store, id, &success()).await;
    let refused = store.append(append(id, 4, None, &[log(0, "late")])).await;
    assert!(matches!(refused, Err(AppendError::IllegalTransition(_))));
    stores.close(store).await;
}

pub async fn an_older_lease_is_void<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    let never = store
        .append(append(id, 1, Some(Fence(1)), &[planned()]))
        .await;
    assert!(matches!(never, Err(AppendError::Fenced(Fence(0)))));
    let old = store.lease(id).await.unwrap();
    assert_eq!(old.head, store.head(id).await.unwrap());
    let head = store
        .append(append(id, 1, Some(old.fence), &[planned()]))
        .await;
    assert_eq!(head.unwrap().next_seq, 2);
    let new = store.lease(id).await.unwrap();
    assert!(new.fence > old.fence);
    assert_eq!(new.head.next_seq, 2);
    // Even where its place is wrong: it must stop, not try again.
    for expected in [1, 2] {
        let void = store
            .append(append(id, expected, Some(old.fence), &[log(0, "old")]))
            .await;
        assert!(matches!(void, Err(AppendError::Fenced(fence)) if fence == new.fence));
    }
    // A person needs no lease.
    put(&store, id, 2, &[EventBody::Paused { by: "ada".into() }]).await;
    let head = store
        .append(append(id, 3, Some(new.fence), &[log(0, "new")]))
        .await;
    assert_eq!(head.unwrap().next_seq, 4);
    stores.close(store).await;
}

pub async fn fences_rise_over_all_deployments_and_starts<S: Stores>() {
    let stores = S::new();
    let mut highest = Fence(0);
    let mut store = stores.open().await;
    for module in ["a", "b", "c"] {
        let id = begin(&store, module, "production").await;
        for _ in 0..2 {
            let lease = store.lease(id).await.unwrap();
            assert!(lease.fence > highest);
            highest = lease.fence;
        }
        stores.close(store).await;
        store = stores.open().await;
        // It is bound to the deployment still.
        let head = store
            .append(append(id, 1, Some(highest), &[planned()]))
            .await;
        assert_eq!(head.unwrap().next_seq, 2);
    }
    stores.close(store).await;
}

pub async fn unknown_deployments_are_said_to_be<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = DeploymentId::generate();
    let appended = store.append(append(id, 0, None, &[planned()])).await;
    assert!(matches!(appended, Err(AppendError::Unknown(of)) if of == id));
    assert!(matches!(store.lease(id).await, Err(ReadError::Unknown(of)) if of == id));
    assert!(matches!(store.head(id).await, Err(ReadError::Unknown(of)) if of == id));
    assert!(matches!(store.events(id, 0, 9).await, Err(ReadError::Unknown(of)) if of == id));
    let query = Query {
        before: Some(id),
        limit: 1,
        ..Query::default()
    };
    assert!(matches!(store.list(&query).await, Err(ReadError::Unknown(of)) if of == id));
    stores.close(store).await;
}

pub async fn reads_a_part<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    put(&store, id, 1, &[planned()]).await;
    for call in 0..8 {
        put(&store, id, 2 + u64::from(call), &[log(call, "x")]).await;
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
    stores.close(store).await;
}

pub async fn everything_is_there_after_a_start<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let open = begin(&store, "checkout", "production").await;
    let ended = begin(&store, "search", "production").await;
    put(
        &store,
        open,
        1,
        &[planned(), log(0, &"long ".repeat(100_000))],
    )
    .await;
    end(&store, ended, &success()).await;
    let before = (all(&store, open).await, all(&store, ended).await);
    stores.close(store).await;

    let store = stores.open().await;
    assert_eq!((all(&store, open).await, all(&store, ended).await), before);
    assert_eq!(store.open().await.unwrap(), [open]);
    let head = store.head(open).await.unwrap();
    assert_eq!((head.next_seq, head.lifecycle.step), (3, Step::Running));
    let busy = store.create(header("checkout", "production"), at(9)).await;
    assert!(matches!(busy, Err(CreateError::Busy(other)) if other == open));
    put(&store, open, 3, &[log(1, "on")]).await;
    let last = before
        .0
        .iter()
        .chain(&before.1)
        .map(|event| event.position)
        .max();
    let events = all(&store, open).await;
    assert!(events.last().unwrap().position > last.unwrap());
    assert_eq!(Deployment::fold(&events).unwrap().status(), Status::Running);
    stores.close(store).await;
}

pub async fn pages_from_the_newest_on<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let mut newest_first = Vec::new();
    for number in 0..7 {
        newest_first.insert(0, begin(&store, &format!("m{number}"), "qa").await);
    }
    let mut seen: Vec<DeploymentId> = Vec::new();
    let mut query = Query {
        limit: 3,
        ..Query::default()
    };
    loop {
        let page = store.list(&query).await.unwrap();
        assert!(page.deployments.len() <= 3);
        seen.extend(&page.deployments);
        query.before = page.deployments.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, newest_first);
    // Exactly as many as there are is not more.
    query = Query {
        limit: 7,
        ..Query::default()
    };
    assert!(!store.list(&query).await.unwrap().more);
    query.limit = 0;
    assert_eq!(store.list(&query).await.unwrap().deployments.len(), 1);
    query.limit = usize::MAX;
    assert_eq!(store.list(&query).await.unwrap().deployments.len(), 7);
    stores.close(store).await;
}

pub async fn filters<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let a = begin(&store, "a", "qa").await;
    end(&store, a, &success()).await;
    let b = begin(&store, "a", "qa").await;
    let c = begin(&store, "b", "qa").await;
    end(&store, c, &failure()).await;
    let d = begin(&store, "b", "production").await;
    put(
        &store,
        d,
        1,
        &[planned(), EventBody::Paused { by: "ada".into() }],
    )
    .await;
    let find = async |module: Option<&str>, environment: Option<&str>, status| {
        let query = Query {
            module: module.map(|name| name.parse().unwrap()),
            environment: environment.map(|name| name.parse().unwrap()),
            status,
            before: None,
            limit: 9,
        };
        store.list(&query).await.unwrap().deployments
    };
    assert_eq!(find(Some("a"), None, None).await, [b, a]);
    assert_eq!(find(None, Some("qa"), None).await, [c, b, a]);
    assert_eq!(find(None, None, Some(Status::Succeeded)).await, [a]);
    assert_eq!(find(None, None, Some(Status::RolledBack)).await, [c]);
    assert_eq!(find(None, None, Some(Status::Paused)).await, [d]);
    assert_eq!(
        find(Some("a"), Some("qa"), Some(Status::Pending)).await,
        [b]
    );
    assert_eq!(find(Some("a"), Some("production"), None).await, []);
    let query = Query {
        environment: Some("qa".parse().unwrap()),
        before: Some(c),
        limit: 9,
        ..Query::default()
    };
    assert_eq!(store.list(&query).await.unwrap().deployments, [b, a]);
    assert_eq!(store.open().await.unwrap(), [b, d]);
    stores.close(store).await;
}

pub async fn tells_what_last_succeeded<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let mut ids = Vec::new();
    for bodies in [&success()[..], &success(), &failure(), &success()] {
        let id = begin(&store, "checkout", "production").await;
        end(&store, id, bodies).await;
        ids.push(id);
    }
    let other = begin(&store, "checkout", "qa").await;
    end(&store, other, &success()).await;
    begin(&store, "checkout", "production").await;
    let (module, environment) = ("checkout".parse().unwrap(), "production".parse().unwrap());
    let found = store.succeeded(&module, &environment, 2).await.unwrap();
    assert_eq!(found, [ids[3], ids[1]]);
    let found = store.succeeded(&module, &environment, 9).await.unwrap();
    assert_eq!(found, [ids[3], ids[1], ids[0]]);
    let environment = "nowhere".parse().unwrap();
    let none = store.succeeded(&module, &environment, 9).await.unwrap();
    assert_eq!(none, []);
    stores.close(store).await;
}

pub async fn tells_of_every_append<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let before = begin(&store, "search", "production").await;
    let mut news = store.subscribe();
    let id = begin(&store, "checkout", "production").await;
    let lease = store.lease(id).await.unwrap();
    let appended = store
        .append(append(id, 1, Some(lease.fence), &[planned(), log(0, "a")]))
        .await
        .unwrap();
    let refused = store.append(append(id, 1, None, &[log(1, "b")])).await;
    conflict(refused.unwrap_err());
    put(&store, before, 1, &[EventBody::Paused { by: "ada".into() }]).await;

    let created = news.recv().await.unwrap();
    assert_eq!((created.deployment, created.head.next_seq), (id, 1));
    assert!(!created.fenced);
    let first = news.recv().await.unwrap();
    assert_eq!(
        (first.deployment, first.head, first.fenced),
        (id, appended, true)
    );
    assert_eq!(
        first.position,
        all(&store, id).await.last().unwrap().position
    );
    let second = news.recv().await.unwrap();
    assert_eq!((second.deployment, second.fenced), (before, false));
    assert!(created.position < first.position && first.position < second.position);
    assert!(second.head.lifecycle.paused);
    assert!(news.try_recv().is_err());
    stores.close(store).await;
}

pub async fn an_append_of_nothing_only_compares<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    let id = begin(&store, "checkout", "production").await;
    let mut news = store.subscribe();
    let head = store.head(id).await.unwrap();
    assert_eq!(put(&store, id, 1, &[]).await, head);
    conflict(store.append(append(id, 0, None, &[])).await.unwrap_err());
    put(&store, id, 1, &[planned()]).await;
    assert_eq!(news.recv().await.unwrap().head.next_seq, 2);
    stores.close(store).await;
}

pub async fn all_journals_have_one_tail<S: Stores>() {
    let stores = S::new();
    let store = stores.open().await;
    assert_eq!(store.position().await.unwrap(), 0);
    assert_eq!(store.since(0, usize::MAX).await.unwrap(), []);

    let a = begin(&store, "a", "production").await;
    let b = begin(&store, "b", "production").await;
    put(&store, b, 1, &[planned(), log(0, "b")]).await;
    put(&store, a, 1, &[planned()]).await;
    end(&store, b, &failure()).await;
    put(&store, a, 2, &[log(0, "a")]).await;

    let tail = store.since(0, usize::MAX).await.unwrap();
    let order: Vec<_> = tail
        .iter()
        .map(|entry| (entry.deployment, entry.event.seq))
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
    assert!(tail.is_sorted_by(|one, other| one.event.position < other.event.position));
    for id in [a, b] {
        let of_one = tail.iter().filter(|entry| entry.deployment == id);
        let of_one: Vec<_> = of_one.map(|entry| entry.event.clone()).collect();
        assert_eq!(of_one, all(&store, id).await);
    }
    let last = tail.last().unwrap().event.position;
    assert_eq!(store.position().await.unwrap(), last);

    for limit in 1..=tail.len() + 1 {
        let (mut read, mut position) = (Vec::new(), 0);
        loop {
            let page = store.since(position, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(newest) = page.last() else { break };
            position = newest.event.position;
            read.extend(page);
        }
        assert_eq!(read, tail, "{limit} at once");
    }
    assert_eq!(store.since(0, 0).await.unwrap(), []);
    for position in [last, last + 1, u64::MAX] {
        assert_eq!(store.since(position, usize::MAX).await.unwrap(), []);
    }
    stores.close(store).await;

    let store = stores.open().await;
    assert_eq!(store.position().await.unwrap(), last);
    put(&store, a, 3, &[log(1, "on")]).await;
    let new = store.since(last, 9).await.unwrap();
    assert_eq!((new[0].deployment, new[0].event.seq, new.len()), (a, 3, 1));
    stores.close(store).await;
}

pub async fn an_epoch_is_as_long_as_a_store<S: Stores>() {
    let (stores, others) = (S::new(), S::new());
    let (store, other) = (stores.open().await, others.open().await);
    let epoch = store.epoch().to_owned();
    assert!(epoch.len() >= 16, "{epoch}");
    assert_ne!(epoch, other.epoch());
    others.close(other).await;
    begin(&store, "checkout", "production").await;
    assert_eq!(store.epoch(), epoch);
    stores.close(store).await;
    let store = stores.open().await;
    assert_eq!(store.epoch(), epoch);
    stores.close(store).await;
}
