//! The journal with one caller at a time.

use hotswap_core::{
    Deployment, DeploymentId, Digest, Environment, Event, EventBody, Fence, Idempotency, Lifecycle,
    Status, Step,
};
use hotswap_store::{AppendError, CreateError, Journal, Query, ReadError};

use super::{
    StoreFixture, append, append_at_end, at, conflict, create, failure, header, log, must_append,
    partial_success, planned, seq, success,
};

async fn all(store: &impl Journal, deployment: DeploymentId) -> Vec<Event> {
    store.events(deployment, 0, usize::MAX).await.unwrap()
}

pub async fn create_appends_the_request_as_event_zero<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
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
    assert_eq!(store.open_deployments().await.unwrap(), [header.id]);
    fixture.close(store).await;
}

pub async fn only_one_deployment_of_a_module_in_an_environment_is_open<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let first = create(&store, "checkout", "production").await;
    create(&store, "checkout", "staging").await;
    create(&store, "search", "production").await;
    let second = store.create(header("checkout", "production"), at(2)).await;
    assert!(matches!(second, Err(CreateError::Busy(other)) if other == first));
    append_at_end(&store, first, &failure()).await;
    create(&store, "checkout", "production").await;
    fixture.close(store).await;
}

pub async fn a_second_create_with_the_same_id_is_rejected<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let header = header("checkout", "production");
    store.create(header.clone(), at(1)).await.unwrap();
    let again = store.create(header.clone(), at(2)).await;
    assert!(matches!(again, Err(CreateError::Busy(other)) if other == header.id));
    append_at_end(&store, header.id, &failure()).await;
    let again = store.create(header.clone(), at(3)).await;
    assert!(matches!(again, Err(CreateError::Store(_))), "{again:?}");
    assert_eq!(all(&store, header.id).await.len(), 3);
    fixture.close(store).await;
}

pub async fn a_repeated_request_names_the_first_deployment<S: StoreFixture>() {
    let keyed = |module: &str, subject: &str| {
        let mut header = header(module, "production");
        header.requester.subject = subject.to_owned();
        header.idempotency = Some(Idempotency {
            key: "key".parse().unwrap(),
            request: Digest::of(b"request"),
        });
        header
    };
    let fixture = S::new();
    let store = fixture.open().await;
    let first = keyed("checkout", "ada");
    store.create(first.clone(), at(1)).await.unwrap();
    for module in ["checkout", "search"] {
        let again = store.create(keyed(module, "ada"), at(2)).await;
        assert!(matches!(again, Err(CreateError::Repeated(id)) if id == first.id));
    }
    // Another requester may use the same key.
    let other = keyed("search", "bob");
    store.create(other.clone(), at(3)).await.unwrap();
    append_at_end(&store, first.id, &failure()).await;
    fixture.close(store).await;
    let store = fixture.open().await;
    let again = store.create(keyed("checkout", "ada"), at(4)).await;
    assert!(matches!(again, Err(CreateError::Repeated(id)) if id == first.id));
    let key = "key".parse().unwrap();
    for (requester, expected) in [
        ("ada", Some(first.id)),
        ("bob", Some(other.id)),
        ("eve", None),
    ] {
        assert_eq!(store.find_request(requester, &key).await.unwrap(), expected);
    }
    fixture.close(store).await;
}

pub async fn an_append_with_a_wrong_sequence_number_is_a_conflict<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    let head = must_append(&store, id, 1, &[planned(), log(0, "a")]).await;
    assert_eq!((head.next_seq, head.lifecycle.step), (3, Step::Running));
    for expected in [0, 2, 4, u64::MAX] {
        let rejected = store
            .append(append(id, expected, None, &[log(1, "b")]))
            .await;
        assert_eq!(conflict(rejected.unwrap_err()), head, "{expected}");
    }
    must_append(&store, id, 3, &[log(1, "b")]).await;
    let bodies: Vec<_> = all(&store, id)
        .await
        .into_iter()
        .map(|event| event.body)
        .collect();
    assert_eq!(bodies[1..], [planned(), log(0, "a"), log(1, "b")]);
    fixture.close(store).await;
}

pub async fn an_append_with_an_illegal_event_is_rejected_whole<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    let before = store.head(id).await.unwrap();
    let rejected = store
        .append(append(
            id,
            1,
            None,
            &[planned(), EventBody::Resumed { by: "ada".into() }],
        ))
        .await;
    let Err(AppendError::IllegalTransition(illegal)) = rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!(illegal.to_string(), "the deployment is not paused");
    let again = EventBody::Requested(Box::new(header("checkout", "production")));
    let rejected = store.append(append(id, 1, None, &[again])).await;
    assert!(matches!(rejected, Err(AppendError::IllegalTransition(_))));
    assert_eq!(store.head(id).await.unwrap(), before);
    assert_eq!(all(&store, id).await.len(), 1);

    append_at_end(&store, id, &success()).await;
    let rejected = store.append(append(id, 4, None, &[log(0, "late")])).await;
    assert!(matches!(rejected, Err(AppendError::IllegalTransition(_))));
    fixture.close(store).await;
}

pub async fn appends_under_an_older_lease_are_fenced<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    let leaseless = store
        .append(append(id, 1, Some(Fence(1)), &[planned()]))
        .await;
    assert!(matches!(leaseless, Err(AppendError::Fenced(Fence(0)))));
    let old = store.acquire_lease(id).await.unwrap();
    assert_eq!(old.head, store.head(id).await.unwrap());
    let head = store
        .append(append(id, 1, Some(old.fence), &[planned()]))
        .await;
    assert_eq!(head.unwrap().next_seq, 2);
    let new = store.acquire_lease(id).await.unwrap();
    assert!(new.fence > old.fence);
    assert_eq!(new.head.next_seq, 2);
    // Even with a wrong sequence number: the engine must stop, not retry.
    for expected in [1, 2] {
        let fenced = store
            .append(append(id, expected, Some(old.fence), &[log(0, "old")]))
            .await;
        assert!(matches!(fenced, Err(AppendError::Fenced(fence)) if fence == new.fence));
    }
    // A person needs no lease.
    must_append(
        &store,
        id,
        2,
        &[EventBody::Paused {
            by: "ada".into(),
            reason: None,
        }],
    )
    .await;
    let head = store
        .append(append(id, 3, Some(new.fence), &[log(0, "new")]))
        .await;
    assert_eq!(head.unwrap().next_seq, 4);
    fixture.close(store).await;
}

pub async fn fences_rise_over_all_deployments_and_restarts<S: StoreFixture>() {
    let fixture = S::new();
    let mut highest = Fence(0);
    let mut store = fixture.open().await;
    for module in ["a", "b", "c"] {
        let id = create(&store, module, "production").await;
        for _ in 0..2 {
            let lease = store.acquire_lease(id).await.unwrap();
            assert!(lease.fence > highest);
            highest = lease.fence;
        }
        fixture.close(store).await;
        store = fixture.open().await;
        // The fence is still bound to the deployment.
        let head = store
            .append(append(id, 1, Some(highest), &[planned()]))
            .await;
        assert_eq!(head.unwrap().next_seq, 2);
    }
    fixture.close(store).await;
}

pub async fn unknown_deployments_are_reported_as_such<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = DeploymentId::generate();
    let appended = store.append(append(id, 0, None, &[planned()])).await;
    assert!(matches!(appended, Err(AppendError::Unknown(of)) if of == id));
    assert!(matches!(store.acquire_lease(id).await, Err(ReadError::Unknown(of)) if of == id));
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

pub async fn everything_is_there_after_a_restart<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let open = create(&store, "checkout", "production").await;
    let ended = create(&store, "search", "production").await;
    must_append(
        &store,
        open,
        1,
        &[planned(), log(0, &"long ".repeat(100_000))],
    )
    .await;
    append_at_end(&store, ended, &success()).await;
    let before = (all(&store, open).await, all(&store, ended).await);
    fixture.close(store).await;

    let store = fixture.open().await;
    assert_eq!((all(&store, open).await, all(&store, ended).await), before);
    assert_eq!(store.open_deployments().await.unwrap(), [open]);
    let head = store.head(open).await.unwrap();
    assert_eq!((head.next_seq, head.lifecycle.step), (3, Step::Running));
    let busy = store.create(header("checkout", "production"), at(9)).await;
    assert!(matches!(busy, Err(CreateError::Busy(other)) if other == open));
    must_append(&store, open, 3, &[log(1, "on")]).await;
    let last = before
        .0
        .iter()
        .chain(&before.1)
        .map(|event| event.position)
        .max();
    let events = all(&store, open).await;
    assert!(events.last().unwrap().position > last.unwrap());
    assert_eq!(Deployment::fold(&events).unwrap().status(), Status::Running);
    fixture.close(store).await;
}

pub async fn list_pages_from_newest_to_oldest<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let mut newest_first = Vec::new();
    for number in 0..7 {
        newest_first.insert(0, create(&store, &format!("m{number}"), "qa").await);
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
    // A page that holds exactly all has no more.
    query = Query {
        limit: 7,
        ..Query::default()
    };
    assert!(!store.list(&query).await.unwrap().more);
    query.limit = 0;
    assert_eq!(store.list(&query).await.unwrap().deployments.len(), 1);
    query.limit = usize::MAX;
    assert_eq!(store.list(&query).await.unwrap().deployments.len(), 7);
    fixture.close(store).await;
}

pub async fn list_filters<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let a = create(&store, "a", "qa").await;
    append_at_end(&store, a, &success()).await;
    let b = create(&store, "a", "qa").await;
    let c = create(&store, "b", "qa").await;
    append_at_end(&store, c, &failure()).await;
    let d = create(&store, "b", "production").await;
    must_append(
        &store,
        d,
        1,
        &[
            planned(),
            EventBody::Paused {
                by: "ada".into(),
                reason: None,
            },
        ],
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
    assert_eq!(find(None, None, Some(Status::Partial)).await, []);
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
    assert_eq!(store.open_deployments().await.unwrap(), [b, d]);
    fixture.close(store).await;
}

pub async fn succeeded_deployments_are_listed_newest_first<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let mut ids = Vec::new();
    // A partial success counts: it is what should run.
    for bodies in [&success()[..], &partial_success(), &failure(), &success()] {
        let id = create(&store, "checkout", "production").await;
        append_at_end(&store, id, bodies).await;
        ids.push(id);
    }
    let other = create(&store, "checkout", "qa").await;
    append_at_end(&store, other, &success()).await;
    create(&store, "checkout", "production").await;
    let (module, environment) = ("checkout".parse().unwrap(), "production".parse().unwrap());
    let found = store
        .succeeded_deployments(&module, &environment, 2)
        .await
        .unwrap();
    assert_eq!(found, [ids[3], ids[1]]);
    let found = store
        .succeeded_deployments(&module, &environment, 9)
        .await
        .unwrap();
    assert_eq!(found, [ids[3], ids[1], ids[0]]);
    for (status, expected) in [
        (Status::Succeeded, &[other, ids[3], ids[0]][..]),
        (Status::Partial, &[ids[1]]),
    ] {
        let query = Query {
            status: Some(status),
            limit: 9,
            ..Query::default()
        };
        assert_eq!(store.list(&query).await.unwrap().deployments, expected);
    }
    let environment = "nowhere".parse().unwrap();
    let none = store
        .succeeded_deployments(&module, &environment, 9)
        .await
        .unwrap();
    assert_eq!(none, []);
    fixture.close(store).await;
}

pub async fn the_current_deployments_are_the_newest_successful_ones_of_each_module<
    S: StoreFixture,
>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let production: Environment = "production".parse().unwrap();
    assert_eq!(
        store.current_deployments(Some(&production)).await.unwrap(),
        []
    );
    let mut newest = std::collections::BTreeMap::new();
    for module in ["search", "checkout", "a", "zebra"] {
        for bodies in [&success()[..], &success(), &failure()] {
            let id = create(&store, module, "production").await;
            append_at_end(&store, id, bodies).await;
            if bodies.len() == success().len() {
                newest.insert(module, id);
            }
        }
        create(&store, module, "production").await;
    }
    let elsewhere = create(&store, "elsewhere", "qa").await;
    append_at_end(&store, elsewhere, &success()).await;
    let failed = create(&store, "failed", "production").await;
    append_at_end(&store, failed, &failure()).await;
    let expected: Vec<_> = newest.into_values().collect();
    let current = store.current_deployments(Some(&production)).await;
    assert_eq!(current.unwrap(), expected);
    let qa: Environment = "qa".parse().unwrap();
    let current = store.current_deployments(Some(&qa)).await;
    assert_eq!(current.unwrap(), [elsewhere]);
    let everywhere: Vec<_> = expected.into_iter().chain([elsewhere]).collect();
    assert_eq!(store.current_deployments(None).await.unwrap(), everywhere);
    fixture.close(store).await;
}

pub async fn subscribers_are_notified_of_every_append<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let before = create(&store, "search", "production").await;
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

    let created = notifications.recv().await.unwrap();
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

pub async fn an_empty_append_only_compares<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    let mut notifications = store.subscribe();
    let head = store.head(id).await.unwrap();
    assert_eq!(must_append(&store, id, 1, &[]).await, head);
    conflict(store.append(append(id, 0, None, &[])).await.unwrap_err());
    must_append(&store, id, 1, &[planned()]).await;
    assert_eq!(notifications.recv().await.unwrap().head.next_seq, 2);
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

pub async fn the_epoch_is_fixed_for_the_life_of_a_store<S: StoreFixture>() {
    let (fixture, other_fixture) = (S::new(), S::new());
    let (store, other) = (fixture.open().await, other_fixture.open().await);
    let epoch = store.epoch();
    assert!(epoch.len() >= 16, "{epoch}");
    assert_ne!(epoch, other.epoch());
    other_fixture.close(other).await;
    create(&store, "checkout", "production").await;
    assert_eq!(store.epoch(), epoch);
    fixture.close(store).await;
    let store = fixture.open().await;
    assert_eq!(store.epoch(), epoch);
    fixture.close(store).await;
}
