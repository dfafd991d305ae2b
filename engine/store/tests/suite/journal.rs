//! The journal with one caller at a time.

use hotswap_core::{Deployment, Digest, EventBody, Fence, Idempotency, Lifecycle, Status, Step};
use hotswap_store::{AppendError, CreateError, Journal};

use super::{
    StoreFixture, all, append, append_at_end, at, conflict, create, failure, header, log,
    must_append, notified, planned, success,
};

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
    assert_eq!(old.previous, None);
    assert_eq!(old.head, store.head(id).await.unwrap());
    let head = store
        .append(append(id, 1, Some(old.fence), &[planned()]))
        .await;
    assert_eq!(head.unwrap().next_seq, 2);
    let new = store.acquire_lease(id).await.unwrap();
    assert_eq!(new.previous, Some(old.fence));
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

pub async fn an_empty_append_only_compares<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    let start = store.last_position().await.unwrap();
    let mut notifications = store.subscribe();
    let head = store.head(id).await.unwrap();
    assert_eq!(must_append(&store, id, 1, &[]).await, head);
    conflict(store.append(append(id, 0, None, &[])).await.unwrap_err());
    must_append(&store, id, 1, &[planned()]).await;
    assert_eq!(notified(&mut notifications, start).await.head.next_seq, 2);
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

pub async fn a_store_that_is_older_than_its_nodes_has_a_new_epoch_and_says_so<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let id = create(&store, "checkout", "production").await;
    assert_eq!(store.acquire_lease(id).await.unwrap().lost_at, 0);
    let (before, epochs) = (store.epoch(), store.epochs());
    assert!(store.raise_fence(Fence(1000)).await.unwrap());
    assert!(!store.raise_fence(Fence(1000)).await.unwrap());
    assert_ne!(store.epoch(), before);
    assert_eq!(*epochs.borrow(), store.epoch());
    let lost_at = store.last_position().await.unwrap();
    fixture.close(store).await;
    let store = fixture.open().await;
    let later = create(&store, "search", "production").await;
    for id in [id, later] {
        let lease = store.acquire_lease(id).await.unwrap();
        assert!(lease.fence > Fence(1000));
        assert_eq!(lease.lost_at, lost_at);
    }
    fixture.close(store).await;
}
