//! What every store must do, whatever it is made of. A store runs it by [`suite!`].

pub mod catalogue;
pub mod journal;
pub mod lives;
pub mod race;

use hotswap_core::{
    Append, Call, DeploymentId, Digest, Environment, EventBody, Fence, Header, Level,
    ModuleVersion, Policy, Requester, StrategyRef, Timestamp,
};
use hotswap_store::{AppendError, Catalogue, Head, Journal};
use semver::Version;

/// A place for one store, that is empty at first and can be opened again.
pub trait Stores {
    type Store: Journal + Catalogue + Clone;

    /// A new place, which is cleaned up when it is dropped.
    fn new() -> Self;
    async fn open(&self) -> Self::Store;
    /// Lets go of the store, so that it can be opened again.
    async fn close(&self, store: Self::Store);
}

/// One test for each thing that a store must do.
macro_rules! suite {
    ($stores:ty) => {
        suite!($stores, journal: begins_with_the_request, one_open_deployment_for_a_module_in_an_environment,
            a_second_create_of_the_same_is_refused,
            appends_only_where_the_appender_has_seen_all, what_cannot_follow_is_refused_whole,
            an_older_lease_is_void, fences_rise_over_all_deployments_and_starts,
            unknown_deployments_are_said_to_be, reads_a_part, everything_is_there_after_a_start,
            pages_from_the_newest_on, filters, tells_what_last_succeeded, tells_of_every_append,
            an_append_of_nothing_only_compares, all_journals_have_one_tail,
            an_epoch_is_as_long_as_a_store);
        suite!($stores, race: of_many_creates_one_wins, of_many_appends_at_one_place_one_wins,
            many_journals_at_once_have_no_gaps, whoever_follows_the_tail_misses_none, a_cancelled_append_is_whole_or_not_there);
        suite!($stores, catalogue: modules, strategies, nodes);

        #[test]
        fn the_status_is_what_the_events_add_up_to() {
            crate::suite::lives::the_status_is_what_the_events_add_up_to::<$stores>();
        }
    };
    ($stores:ty, $module:ident: $($test:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            crate::suite::$module::$test::<$stores>().await;
        }
    )*};
}
pub(crate) use suite;

pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn header(module: &str, environment: &str) -> Header {
    let environment: Environment = environment.parse().unwrap();
    Header {
        id: DeploymentId::generate(),
        module: ModuleVersion {
            name: module.parse().unwrap(),
            version: Version::new(1, 2, 3),
            digest: Digest::of(b"artifact"),
        },
        policy: Policy::default_for(&environment),
        environment,
        strategy: StrategyRef {
            name: "canary".parse().unwrap(),
            version: "1.0.0".to_owned(),
            digest: Digest::of(b"strategy"),
            wit: Version::new(0, 1, 0),
        },
        config: serde_json::json!({ "steps": [10, 100] }),
        requester: Requester {
            email: "ada@example.org".to_owned(),
            subject: "ada".to_owned(),
        },
        description: Some("ä \u{1f680} \0".to_owned()),
        metadata: [("ticket".to_owned(), "7".to_owned())].into(),
        require_approval: false,
        rollback_of: None,
        trace: None,
    }
}

/// Begins a journal.
pub async fn begin(store: &impl Journal, module: &str, environment: &str) -> DeploymentId {
    let header = header(module, environment);
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

/// Appends what is expected to be possible.
pub async fn put(
    store: &impl Journal,
    deployment: DeploymentId,
    expected: u64,
    bodies: &[EventBody],
) -> Head {
    let append = append(deployment, expected, None, bodies);
    store.append(append).await.unwrap()
}

/// Takes a deployment from the request to its end.
pub async fn end(store: &impl Journal, deployment: DeploymentId, bodies: &[EventBody]) {
    let from = store.head(deployment).await.unwrap().next_seq;
    put(store, deployment, from, bodies).await;
}

pub fn planned() -> EventBody {
    EventBody::Planned { nodes: Vec::new() }
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
    };
    [planned(), EventBody::Settling, ended]
}

pub fn failure() -> [EventBody; 2] {
    let cause = hotswap_core::Cause::new(hotswap_core::CauseKind::Abort, "enough");
    let ended = EventBody::Ended {
        outcome: hotswap_core::Outcome::RolledBack,
        failures: Vec::new(),
    };
    [EventBody::Reverting { cause }, ended]
}

pub fn conflict(error: AppendError) -> Head {
    match error {
        AppendError::Conflict(head) => head,
        other => panic!("no conflict, but {other:?}"),
    }
}
