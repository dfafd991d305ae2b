//! Lists of deployments.

use hotswap_core::{DeploymentId, Environment, EventBody, Status};
use hotswap_store::{Journal, Query};

use super::{
    StoreFixture, append_at_end, create, failure, must_append, partial_success, planned, success,
};

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
