//! The suite that every store must pass. A store runs it by [`suite!`].

pub mod catalogue;
pub mod concurrency;
pub mod deletion;
pub mod environments;
pub mod events;
pub mod journal;
pub mod lists;
pub mod random_lifecycles;
pub mod snapshots;
pub mod supersede;
pub mod undo;

use hotswap_core::{
    Append, Call, DeploymentId, Digest, Event, EventBody, Fence, Header, Level, ModuleVersion,
    Requester, StrategyRef, Timestamp,
};
use hotswap_store::{AppendError, Appended, Catalogue, Entry, EnvironmentJournal, Head, Journal};
use semver::Version;

/// Opens and reopens one store, which is empty at first.
pub trait StoreFixture {
    type Store: Journal + EnvironmentJournal + Catalogue + Clone;

    /// Prepares a new store. Dropping the fixture deletes it.
    fn new() -> Self;
    async fn open(&self) -> Self::Store;
    /// Closes the store, so that it can be opened again.
    async fn close(&self, store: Self::Store);
}

/// Generates one test for each requirement of a store.
macro_rules! suite {
    ($fixture:ty) => {
        suite!($fixture, journal:
            create_appends_the_request_as_event_zero,
            only_one_deployment_of_a_module_in_an_environment_is_open,
            a_second_create_with_the_same_id_is_rejected,
            a_repeated_request_names_the_first_deployment,
            an_append_with_a_wrong_sequence_number_is_a_conflict,
            an_append_with_an_illegal_event_is_rejected_whole,
            appends_under_an_older_lease_are_fenced,
            fences_rise_over_all_deployments_and_restarts,
            everything_is_there_after_a_restart,
            an_empty_append_only_compares,
            the_epoch_is_fixed_for_the_life_of_a_store,
            a_store_that_is_older_than_its_nodes_has_a_new_epoch_and_says_so);
        suite!($fixture, events:
            events_returns_the_requested_range,
            events_after_merges_all_journals_by_position,
            subscribers_are_notified_of_every_append,
            unknown_deployments_are_reported_as_such);
        suite!($fixture, lists:
            list_pages_from_newest_to_oldest,
            list_filters,
            succeeded_deployments_are_listed_newest_first,
            the_current_deployments_are_the_newest_successful_ones_of_each_module);
        suite!($fixture, supersede:
            a_create_that_supersedes_aborts_the_open_one_in_the_same_write,
            of_the_creates_that_supersede_the_same_one_the_last_waits,
            a_create_supersedes_only_the_deployment_that_it_names);
        suite!($fixture, undo:
            an_undo_is_created_only_from_the_newest_success,
            an_undo_of_a_retired_module_is_created_only_where_it_brings_that_back);
        suite!($fixture, snapshots:
            a_snapshot_is_replaced_by_a_newer_one_or_one_of_another_format,
            summaries_are_returned_in_the_order_that_was_asked_for,
            ended_deployments_without_a_snapshot_of_their_end_are_listed);
        suite!($fixture, deletion:
            a_deployment_that_has_ended_is_deleted_whole,
            a_deployment_that_has_not_ended_is_not_deleted,
            positions_of_deleted_events_stay_taken);
        suite!($fixture, environments:
            environments_share_positions_with_deployments,
            an_environment_under_an_older_lease_is_fenced,
            the_last_success_or_retirement_decides,
            the_event_that_cordons_a_node_is_kept_until_the_cordon_ends,
            the_event_with_which_a_node_came_is_kept_until_it_moves_again,
            of_two_changes_of_a_policy_one_is_accepted,
            of_two_drains_that_rest_on_the_same_cordons_one_is_accepted,
            subscribers_are_told_whether_something_was_decided,
            a_node_that_is_gone_has_no_record,
            the_newest_decision_of_each_selector_counts,
            what_was_decided_is_listed_page_by_page,
            a_deployment_that_ended_before_it_began_decides_nothing,
            a_retired_module_runs_again_although_its_deployment_was_deleted,
            only_events_that_decide_nothing_are_deleted);
        suite!($fixture, concurrency:
            one_of_many_concurrent_creates_succeeds,
            one_of_many_conflicting_appends_succeeds,
            concurrent_journals_have_no_gaps,
            a_reader_that_follows_positions_misses_no_event,
            a_cancelled_append_happens_whole_or_not_at_all);
        suite!($fixture, catalogue:
            modules,
            strategies,
            a_strategy_that_others_changed_is_not_replaced_or_deleted,
            one_of_many_concurrent_uploads_replaces_a_strategy,
            backends,
            nodes);

        #[test]
        fn the_status_matches_the_fold_of_the_events() {
            crate::suite::random_lifecycles::the_status_matches_the_fold_of_the_events::<$fixture>();
        }
    };
    ($fixture:ty, $module:ident: $($test:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            crate::suite::$module::$test::<$fixture>().await;
        }
    )*};
}
pub(crate) use suite;

/// All events of a deployment.
pub async fn all(store: &impl Journal, deployment: DeploymentId) -> Vec<Event> {
    store.events(deployment, 0, usize::MAX).await.unwrap()
}

pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn header(module: &str, environment: &str) -> Header {
    let module = ModuleVersion {
        name: module.parse().unwrap(),
        version: Version::new(1, 2, 3),
        digest: Digest::of(b"artifact"),
    };
    let strategy = StrategyRef {
        name: "canary".parse().unwrap(),
        version: "1.0.0".to_owned(),
        digest: Digest::of(b"strategy"),
        wit: Version::new(0, 1, 0),
    };
    let requester = Requester {
        email: "ada@example.org".to_owned(),
        subject: "ada".to_owned(),
    };
    let (id, environment) = (DeploymentId::generate(), environment.parse().unwrap());
    Header {
        config: serde_json::json!({ "steps": [10, 100] }),
        description: Some("ä \u{1f680} \0".to_owned()),
        metadata: [("ticket".to_owned(), "7".to_owned())].into(),
        ..Header::new(id, module, environment, strategy, requester)
    }
}

/// Creates a journal.
pub async fn create(store: &impl Journal, module: &str, environment: &str) -> DeploymentId {
    let header = header(module, environment);
    let id = header.id;
    store.create(header, at(1)).await.unwrap();
    id
}

/// Creates a journal of a deployment of `hello` to a part of production.
pub async fn create_for(store: &impl Journal, selector: &str) -> DeploymentId {
    let header = Header {
        selector: Some(selector.parse().unwrap()),
        ..header("hello", "production")
    };
    let id = header.id;
    store.create(header, at(1)).await.unwrap();
    id
}

pub fn append(
    deployment: DeploymentId,
    expected: u64,
    fence: Option<Fence>,
    bodies: &[EventBody],
) -> Append {
    Append {
        deployment,
        expected,
        fence,
        at: at(expected.saturating_add(1000)),
        bodies: bodies.to_vec(),
    }
}

/// Appends without a fence, and panics if that fails.
pub async fn must_append(
    store: &impl Journal,
    deployment: DeploymentId,
    expected: u64,
    bodies: &[EventBody],
) -> Head {
    let append = append(deployment, expected, None, bodies);
    store.append(append).await.unwrap()
}

/// Appends at the end of the journal, wherever that is.
pub async fn append_at_end(store: &impl Journal, deployment: DeploymentId, bodies: &[EventBody]) {
    let from = store.head(deployment).await.unwrap().next_seq;
    must_append(store, deployment, from, bodies).await;
}

pub fn planned() -> EventBody {
    EventBody::Planned {
        nodes: Vec::new(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    }
}

pub fn log(call: u32, message: &str) -> EventBody {
    EventBody::Called {
        call,
        request: Call::Log {
            level: Level::Info,
            message: message.to_owned(),
        },
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

pub fn success() -> [EventBody; 3] {
    let outcome = hotswap_core::Outcome::Succeeded;
    let ended = EventBody::Ended {
        outcome,
        failures: Vec::new(),
        not_updated: Vec::new(),
    };
    [planned(), EventBody::Settling(None), ended]
}

/// A success that left a node behind.
pub fn partial_success() -> [EventBody; 3] {
    let [planned, settling, _] = success();
    let ended = EventBody::Ended {
        outcome: hotswap_core::Outcome::Succeeded,
        failures: Vec::new(),
        not_updated: vec![hotswap_core::NodeFailure {
            node: "a".parse().unwrap(),
            error: hotswap_core::NodeError::Other("it runs 1.0.0".into()),
        }],
    };
    [planned, settling, ended]
}

pub fn failure() -> [EventBody; 2] {
    let cause = hotswap_core::Cause::new(hotswap_core::CauseKind::Abort, "enough");
    let ended = EventBody::Ended {
        outcome: hotswap_core::Outcome::RolledBack,
        failures: Vec::new(),
        not_updated: Vec::new(),
    };
    [EventBody::Reverting { cause }, ended]
}

/// The next notification of an append after a position. A subscription may begin with the last
/// writes before it.
pub async fn notified(
    notifications: &mut tokio::sync::broadcast::Receiver<Appended>,
    after: u64,
) -> Appended {
    loop {
        let appended = notifications.recv().await.unwrap();
        if appended.position > after {
            return appended;
        }
    }
}

/// The number of an event that can be read.
pub fn seq(entry: &Entry) -> u64 {
    entry.event.as_ref().unwrap().seq
}

pub fn conflict(error: AppendError) -> Head {
    match error {
        AppendError::Conflict(head) => head,
        other => panic!("no conflict, but {other:?}"),
    }
}
