use hotswap_core::{
    Environment, EnvironmentEventBody, EventBody, Fence, ModuleName, NodeId, Policy, Repair,
};
use hotswap_store::{
    AppendToEnvironmentError, Catalogue, Decided, Decision, EnvironmentAppend, EnvironmentJournal,
    Journal,
};

use super::{
    StoreFixture, append_at_end, at, create, create_for, failure, partial_success, success,
};

fn production() -> Environment {
    "production".parse().unwrap()
}

pub fn retired(module: &str) -> EnvironmentEventBody {
    EnvironmentEventBody::Retired {
        module: module.parse().unwrap(),
        by: "ada".into(),
        reason: None,
    }
}

pub fn repairing(node: &str) -> EnvironmentEventBody {
    let node: NodeId = node.parse().unwrap();
    EnvironmentEventBody::Repairing(Repair {
        node,
        module: "hello".parse().unwrap(),
        from: None,
        to: None,
    })
}

fn append(
    environment: &Environment,
    fence: Option<Fence>,
    bodies: &[EnvironmentEventBody],
) -> EnvironmentAppend {
    EnvironmentAppend {
        environment: environment.clone(),
        fence,
        newest_cordon: None,
        at: at(1000),
        bodies: bodies.to_vec(),
    }
}

async fn decisions(store: &impl EnvironmentJournal) -> Vec<(String, Decision)> {
    let decisions = store.decisions(&production()).await.unwrap();
    let named = |(module, decision): (ModuleName, Decision)| (module.to_string(), decision);
    decisions.into_iter().map(named).collect()
}

pub async fn environments_share_positions_with_deployments<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let (production, qa) = (production(), "qa".parse().unwrap());
    let mut appended = store.subscribe_to_environments();
    create(&store, "hello", "production").await;
    let first = append(&production, None, &[repairing("a"), repairing("b")]);
    assert_eq!(store.append_to_environment(first).await.unwrap(), 3);
    create(&store, "other", "production").await;
    let elsewhere = append(&qa, None, &[repairing("c")]);
    assert_eq!(store.append_to_environment(elsewhere).await.unwrap(), 5);
    assert_eq!(store.last_position().await.unwrap(), 5);
    let notified = (
        appended.recv().await.unwrap(),
        appended.recv().await.unwrap(),
    );
    assert_eq!((notified.0.position, notified.1.position), (3, 5));
    let of_deployments = store.events_after(0, 9).await.unwrap();
    let positions: Vec<_> = of_deployments.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [1, 4]);
    fixture.close(store).await;

    let store = fixture.open().await;
    let all = store.environment_events_after(None, 0, 9).await.unwrap();
    let positions: Vec<_> = all.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [2, 3, 5]);
    assert_eq!(all[0].event.as_ref().unwrap().body, repairing("a"));
    let rest = store
        .environment_events_after(Some(&production), 2, 9)
        .await;
    assert_eq!(rest.unwrap(), all[1..2]);
    let newest = store.environment_events_before(&production, 5, 1).await;
    assert_eq!(newest.unwrap(), all[1..2]);
    create(&store, "third", "production").await;
    assert_eq!(store.last_position().await.unwrap(), 6);
    fixture.close(store).await;
}

pub async fn an_environment_under_an_older_lease_is_fenced<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    let deployment = create(&store, "hello", "production").await;
    let before = store.acquire_lease(deployment).await.unwrap().fence;
    let first = store.acquire_environment_lease(&environment).await.unwrap();
    let second = store.acquire_environment_lease(&environment).await.unwrap();
    assert!(before < first && first < second);
    let late = append(&environment, Some(first), &[repairing("a")]);
    let error = store.append_to_environment(late).await.unwrap_err();
    assert!(
        matches!(error, AppendToEnvironmentError::Fenced(fence) if fence == second),
        "{error:?}"
    );
    let current = append(&environment, Some(second), &[repairing("a")]);
    let position = store.append_to_environment(current).await.unwrap();
    let mut appended = store.subscribe_to_environments();
    // Without an event it only compares.
    let late = append(&environment, Some(first), &[]);
    let error = store.append_to_environment(late).await.unwrap_err();
    assert!(matches!(error, AppendToEnvironmentError::Fenced(_)));
    let current = append(&environment, Some(second), &[]);
    let same = store.append_to_environment(current).await.unwrap();
    assert_eq!(
        (same, store.last_position().await.unwrap()),
        (position, position)
    );
    let last = append(&environment, Some(second), &[repairing("b")]);
    let last = store.append_to_environment(last).await.unwrap();
    // A shared store may tell late of what was there before.
    loop {
        let told = appended.recv().await.unwrap().position;
        if told == last {
            break;
        }
        assert_eq!(told, position);
    }
    fixture.close(store).await;
    let store = fixture.open().await;
    let third = store.acquire_environment_lease(&environment).await.unwrap();
    assert!(third > second);
    fixture.close(store).await;
}

pub async fn the_last_success_or_retirement_decides<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    assert_eq!(decisions(&store).await, []);
    let first = create(&store, "hello", "production").await;
    assert_eq!(decisions(&store).await, [], "it has not ended");
    append_at_end(&store, first, &failure()).await;
    let named = |decision| vec![("hello".to_owned(), decision)];
    assert_eq!(
        decisions(&store).await,
        named(Decision::Unsuccessful(first))
    );
    let second = create(&store, "hello", "production").await;
    append_at_end(&store, second, &success()).await;
    let failed = create(&store, "hello", "production").await;
    append_at_end(&store, failed, &failure()).await;
    assert_eq!(decisions(&store).await, named(Decision::Succeeded(second)));

    let open = create(&store, "hello", "production").await;
    let elsewhere = create(&store, "hello", "qa").await;
    append_at_end(&store, elsewhere, &failure()).await;
    let environments = store.decided_environments().await.unwrap();
    assert_eq!(environments, [environment.clone(), "qa".parse().unwrap()]);
    let retire = append(&environment, None, &[retired("hello")]);
    let error = store.append_to_environment(retire.clone()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, AppendToEnvironmentError::Busy(busy) if busy == open),
        "{error:?}"
    );
    append_at_end(&store, open, &failure()).await;
    store.append_to_environment(retire).await.unwrap();
    assert_eq!(decisions(&store).await, named(Decision::Retired(at(1000))));
    let current = store.current_deployments(Some(&environment)).await;
    assert_eq!(current.unwrap(), []);
    fixture.close(store).await;

    let store = fixture.open().await;
    assert_eq!(decisions(&store).await, named(Decision::Retired(at(1000))));
    let third = create(&store, "hello", "production").await;
    append_at_end(&store, third, &success()).await;
    assert_eq!(decisions(&store).await, named(Decision::Succeeded(third)));
    let current = store.current_deployments(None).await;
    assert_eq!(current.unwrap(), [third]);
    fixture.close(store).await;
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub fn cordoned(name: &str) -> EnvironmentEventBody {
    EnvironmentEventBody::Cordoned {
        node: node(name),
        by: "ada".into(),
        reason: None,
    }
}

pub fn drained(name: &str) -> EnvironmentEventBody {
    EnvironmentEventBody::Drained {
        node: node(name),
        by: "ada".into(),
        reason: None,
    }
}

/// The positions of the events that cordon nodes.
async fn cordons(store: &impl EnvironmentJournal) -> Vec<u64> {
    let cordons = store.cordons().await.unwrap();
    for (node, entry) in &cordons {
        let event = entry.event.as_ref().unwrap();
        assert_eq!((event.body.node(), event.at), (Some(node), entry.at));
    }
    cordons.iter().map(|(_, entry)| entry.position).collect()
}

pub async fn the_event_that_cordons_a_node_is_kept_until_the_cordon_ends<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    let events = [cordoned("a"), cordoned("b"), drained("a"), repairing("c")];
    let first = append(&environment, None, &events);
    store.append_to_environment(first).await.unwrap();
    let elsewhere = append(&"qa".parse().unwrap(), None, &[drained("b")]);
    store.append_to_environment(elsewhere).await.unwrap();
    assert_eq!(cordons(&store).await, [2, 3, 5]);
    // The first event of `a`, and the repair.
    let deleted = store.delete_environment_events(at(1001)).await;
    assert_eq!(deleted.unwrap(), 2);
    assert_eq!(cordons(&store).await, [2, 3, 5]);
    let uncordoned = EnvironmentEventBody::Uncordoned {
        node: node("b"),
        by: "ada".into(),
        reason: None,
    };
    let second = append(&environment, None, &[uncordoned]);
    store.append_to_environment(second).await.unwrap();
    assert_eq!(cordons(&store).await, [3, 5]);
    let deleted = store.delete_environment_events(at(1001)).await;
    assert_eq!(deleted.unwrap(), 2);
    fixture.close(store).await;
}

pub async fn of_two_drains_that_rest_on_the_same_cordons_one_is_accepted<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let qa: Environment = "qa".parse().unwrap();
    let change = async |environment: &Environment, newest_cordon, body| {
        let append = EnvironmentAppend {
            newest_cordon: Some(newest_cordon),
            ..append(environment, None, &[body])
        };
        store.append_to_environment(append).await
    };
    let uncordoned = |name: &str| EnvironmentEventBody::Uncordoned {
        node: node(name),
        by: "ada".into(),
        reason: None,
    };
    let production = production();
    let is_refused = |result: &Result<u64, AppendToEnvironmentError>, newest| matches!(result, Err(AppendToEnvironmentError::CordonsChanged(found)) if *found == newest);
    assert_eq!(change(&production, 0, drained("a")).await.unwrap(), 1);
    let second = change(&production, 0, drained("b")).await;
    assert!(is_refused(&second, 1), "{second:?}");
    assert_eq!(change(&production, 1, drained("b")).await.unwrap(), 2);
    // Environments do not disturb each other, whatever their names begin with.
    assert_eq!(change(&qa, 0, cordoned("a")).await.unwrap(), 3);
    let longer = "production-eu".parse().unwrap();
    assert_eq!(change(&longer, 0, drained("a")).await.unwrap(), 4);
    // Neither does what cordons no node.
    let repair = append(&production, None, &[repairing("c")]);
    assert_eq!(store.append_to_environment(repair).await.unwrap(), 5);
    assert_eq!(change(&production, 2, uncordoned("b")).await.unwrap(), 6);
    let old = change(&production, 2, drained("c")).await;
    assert!(is_refused(&old, 1), "{old:?}");
    fixture.close(store).await;
    let store = fixture.open().await;
    let again = EnvironmentAppend {
        newest_cordon: Some(1),
        ..append(&production, None, &[drained("c")])
    };
    assert_eq!(store.append_to_environment(again).await.unwrap(), 7);
    let forgotten = EnvironmentEventBody::Forgotten {
        node: node("c"),
        by: "ada".into(),
        reason: None,
    };
    let many = [forgotten, uncordoned("a")];
    let last = append(&production, None, &many);
    store.append_to_environment(last).await.unwrap();
    let empty = EnvironmentAppend {
        newest_cordon: Some(0),
        ..append(&production, None, &[])
    };
    assert_eq!(store.append_to_environment(empty).await.unwrap(), 9);
    fixture.close(store).await;
}

pub async fn subscribers_are_told_whether_something_was_decided<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    let mut appended = store.subscribe_to_environments();
    let fence = store.acquire_environment_lease(&environment).await.unwrap();
    let expired = EnvironmentEventBody::Expired {
        node: node("a"),
        stopped: false,
        silent_millis: 1,
    };
    for (fence, bodies, decides) in [
        (Some(fence), vec![repairing("a")], false),
        (Some(fence), vec![expired], true),
        (None, vec![repairing("a"), cordoned("a")], true),
    ] {
        let append = append(&environment, fence, &bodies);
        store.append_to_environment(append).await.unwrap();
        assert_eq!(
            appended.recv().await.unwrap().decides,
            decides,
            "{bodies:?}"
        );
    }
    fixture.close(store).await;
}

pub fn moved(name: &str) -> EnvironmentEventBody {
    EnvironmentEventBody::Moved {
        node: node(name),
        from: "development".parse().unwrap(),
        modules: vec!["hello".parse().unwrap()],
    }
}

pub async fn the_event_with_which_a_node_came_is_kept_until_it_moves_again<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let arrivals = async || {
        let arrivals = store.arrivals().await.unwrap();
        let place = |entry: &hotswap_store::EnvironmentEntry| {
            (entry.environment.to_string(), entry.position)
        };
        arrivals.iter().map(place).collect::<Vec<_>>()
    };
    let events = [moved("a"), moved("b")];
    let first = append(&production(), None, &events);
    store.append_to_environment(first).await.unwrap();
    let place = |environment: &str, position| (environment.to_owned(), position);
    let [a, b] = [place("production", 1), place("production", 2)];
    assert_eq!(arrivals().await, [a, b.clone()]);
    let second = append(&"qa".parse().unwrap(), None, &[moved("a")]);
    store.append_to_environment(second).await.unwrap();
    let a = place("qa", 3);
    assert_eq!(arrivals().await, [b, a.clone()]);
    let deleted = store.delete_environment_events(at(1001)).await;
    assert_eq!(deleted.unwrap(), 1, "the first move of `a`");
    let forgotten = EnvironmentEventBody::Forgotten {
        node: node("b"),
        by: "ada".into(),
        reason: None,
    };
    let third = append(&production(), None, &[forgotten]);
    store.append_to_environment(third).await.unwrap();
    assert_eq!(arrivals().await, [a]);
    fixture.close(store).await;
}

pub fn policy_changed(policy: Option<Policy>, replaces: Option<u64>) -> EnvironmentEventBody {
    EnvironmentEventBody::PolicyChanged {
        policy: policy.map(Box::new),
        selector: None,
        replaces,
        by: "ada".into(),
        reason: None,
    }
}

pub async fn of_two_changes_of_a_policy_one_is_accepted<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let policy = || Some(Policy::default_for(&production()));
    let change = async |policy, replaces| {
        let change = append(&production(), None, &[policy_changed(policy, replaces)]);
        store.append_to_environment(change).await
    };
    let positions = async || {
        let policies = store.policies().await.unwrap();
        policies
            .iter()
            .map(|entry| entry.position)
            .collect::<Vec<_>>()
    };
    assert_eq!(change(policy(), None).await.unwrap(), 1);
    let second = change(policy(), None).await;
    let is_replaced = |result: &Result<u64, AppendToEnvironmentError>, current| matches!(result, Err(AppendToEnvironmentError::PolicyReplaced(found)) if *found == current);
    assert!(is_replaced(&second, Some(1)), "{second:?}");
    assert_eq!(change(policy(), Some(1)).await.unwrap(), 2);
    let old = change(None, Some(1)).await;
    assert!(is_replaced(&old, Some(2)), "{old:?}");
    assert_eq!(positions().await, [2]);
    let deleted = store.delete_environment_events(at(1001)).await;
    assert_eq!(deleted.unwrap(), 1, "the one that was replaced");
    let entry = &store.policies().await.unwrap()[0];
    let kept = entry.event.as_ref().unwrap();
    assert_eq!(kept.body, policy_changed(policy(), Some(1)));
    assert_eq!(change(None, Some(2)).await.unwrap(), 3);
    assert!(positions().await.is_empty());
    let deleted = store.delete_environment_events(at(1001)).await;
    assert_eq!(deleted.unwrap(), 2, "nothing decides any more");
    let gone = change(policy(), Some(3)).await;
    assert!(is_replaced(&gone, None), "{gone:?}");
    fixture.close(store).await;
}

pub async fn a_node_that_is_gone_has_no_record<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    let record = |name: &str| hotswap_store::NodeRecord {
        id: node(name),
        environment: environment.clone(),
        zone: None,
        labels: Default::default(),
        control_url: "http://127.0.0.1:1".to_owned(),
        data_url: "http://127.0.0.1:2".to_owned(),
        registered_at: at(1),
        instance: None,
    };
    for name in ["a", "b", "c"] {
        store.put_node(record(name), None).await.unwrap();
    }
    let expired = EnvironmentEventBody::Expired {
        node: node("a"),
        stopped: false,
        silent_millis: 1,
    };
    let forgotten = EnvironmentEventBody::Forgotten {
        node: node("b"),
        by: "ada".into(),
        reason: None,
    };
    let events = [cordoned("a"), cordoned("b"), expired, forgotten];
    let events = append(&environment, None, &events);
    store.append_to_environment(events).await.unwrap();
    let left = store.nodes().await.unwrap();
    let left: Vec<_> = left.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(left, ["c"]);
    assert_eq!(
        cordons(&store).await,
        [1],
        "a cordon outlasts that its node expires"
    );
    fixture.close(store).await;
}

pub async fn the_newest_decision_of_each_selector_counts<S: StoreFixture>() {
    use Decision::{Retired, Succeeded, Unsuccessful};

    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    let decided = async |store: &_| {
        let decisions = decisions(store).await.into_iter();
        decisions.map(|(_, decision)| decision).collect::<Vec<_>>()
    };
    // None has succeeded: the last failures, back to the last one for all nodes.
    let old = create(&store, "hello", "production").await;
    append_at_end(&store, old, &failure()).await;
    let all = create(&store, "hello", "production").await;
    append_at_end(&store, all, &failure()).await;
    let first_eu = create_for(&store, "zone=eu").await;
    append_at_end(&store, first_eu, &failure()).await;
    let eu = create_for(&store, "zone==eu").await;
    append_at_end(&store, eu, &failure()).await;
    assert_eq!(decided(&store).await, [Unsuccessful(eu), Unsuccessful(all)]);
    // A success comes before them, and they still tell of other nodes.
    let us = create_for(&store, "zone=us").await;
    append_at_end(&store, us, &success()).await;
    let expected = [Succeeded(us), Unsuccessful(eu), Unsuccessful(all)];
    assert_eq!(decided(&store).await, expected);
    // A success for all nodes ends what was before.
    let for_all = create(&store, "hello", "production").await;
    append_at_end(&store, for_all, &success()).await;
    assert_eq!(decided(&store).await, [Succeeded(for_all)]);
    let eu = create_for(&store, "zone=eu").await;
    append_at_end(&store, eu, &success()).await;
    let us = create_for(&store, "zone=us").await;
    append_at_end(&store, us, &success()).await;
    let newer_eu = create_for(&store, "zone=eu").await;
    append_at_end(&store, newer_eu, &success()).await;
    let failed = create(&store, "hello", "production").await;
    append_at_end(&store, failed, &failure()).await;
    let newest_first = [newer_eu, us, for_all];
    assert_eq!(decided(&store).await, newest_first.map(Succeeded));
    let current = store.current_deployments(Some(&environment)).await;
    assert_eq!(current.unwrap(), newest_first, "they are kept");

    let retire = append(&environment, None, &[retired("hello")]);
    store.append_to_environment(retire).await.unwrap();
    assert_eq!(decided(&store).await, [Retired(at(1000))]);
    let eu = create_for(&store, "zone=eu").await;
    append_at_end(&store, eu, &success()).await;
    let expected = [Succeeded(eu), Retired(at(1000))];
    assert_eq!(decided(&store).await, expected);
    fixture.close(store).await;

    let store = fixture.open().await;
    assert_eq!(decided(&store).await, expected);
    let current = store.current_deployments(None).await;
    assert_eq!(current.unwrap(), [eu]);
    fixture.close(store).await;
}

pub async fn a_retired_module_runs_again_although_its_deployment_was_deleted<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let old = create(&store, "hello", "production").await;
    append_at_end(&store, old, &success()).await;
    let retire = append(&production(), None, &[retired("hello")]);
    store.append_to_environment(retire).await.unwrap();
    store.delete(old).await.unwrap();
    let new = create(&store, "hello", "production").await;
    append_at_end(&store, new, &success()).await;
    let decided = ("hello".to_owned(), Decision::Succeeded(new));
    assert_eq!(decisions(&store).await, [decided]);
    fixture.close(store).await;
}

pub async fn only_events_that_decide_nothing_are_deleted<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let environment = production();
    let events = [repairing("a"), retired("hello"), repairing("b")];
    let append = append(&environment, None, &events);
    store.append_to_environment(append).await.unwrap();
    let deleted = store.delete_environment_events(at(1000)).await;
    assert_eq!(deleted.unwrap(), 0, "they are not that old");
    let deleted = store.delete_environment_events(at(1001)).await;
    assert_eq!(deleted.unwrap(), 2);
    let left = store.environment_events_after(None, 0, 9).await.unwrap();
    let left: Vec<_> = left.iter().map(|entry| entry.position).collect();
    assert_eq!(left, [2]);
    assert_eq!(store.last_position().await.unwrap(), 3);
    assert_eq!(store.deleted_through().await.unwrap(), 3);
    fixture.close(store).await;
}

pub async fn what_was_decided_is_listed_page_by_page<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let (environment, module) = (production(), "hello".parse().unwrap());
    let deploy = async |end: &[EventBody]| {
        let id = create(&store, "hello", "production").await;
        append_at_end(&store, id, end).await;
        id
    };
    let first = deploy(&success()).await;
    deploy(&failure()).await;
    let second = deploy(&partial_success()).await;
    let events = [repairing("a"), retired("other"), retired("hello")];
    let retire = append(&environment, None, &events);
    store.append_to_environment(retire).await.unwrap();
    let third = deploy(&success()).await;
    create(&store, "hello", "production").await;
    let elsewhere = create(&store, "hello", "qa").await;
    append_at_end(&store, elsewhere, &success()).await;
    let mut before = None;
    let mut found = Vec::new();
    loop {
        let page = store.past_decisions(&module, &environment, before, 1).await;
        let Some(past) = page.unwrap().pop() else {
            break;
        };
        before = Some(past.place);
        found.push(past.decided);
    }
    let retirement = Decided::Retired {
        at: at(1000),
        by: Some("ada".to_owned()),
        reason: None,
    };
    let expected = [
        Decided::Succeeded(third),
        retirement,
        Decided::Succeeded(second),
        Decided::Succeeded(first),
    ];
    assert_eq!(found, expected);
    let all = store.past_decisions(&module, &environment, None, 9).await;
    let all: Vec<_> = all.unwrap().into_iter().map(|one| one.decided).collect();
    assert_eq!(all, expected);
    fixture.close(store).await;
}

pub async fn a_deployment_that_ended_before_it_began_decides_nothing<S: StoreFixture>() {
    let fixture = S::new();
    let store = fixture.open().await;
    let old = create(&store, "hello", "production").await;
    for _ in 0..2 {
        let new = hotswap_core::Header {
            supersedes: Some(old),
            ..super::header("hello", "production")
        };
        store.create(new, at(2)).await.unwrap();
    }
    assert_eq!(decisions(&store).await, [], "none that has begun has ended");
    append_at_end(&store, old, &failure()).await;
    let expected = vec![("hello".to_owned(), Decision::Unsuccessful(old))];
    assert_eq!(decisions(&store).await, expected);
    fixture.close(store).await;
}
