use hotswap_core::{
    Answer, Append, Call, Cause, CauseKind, Decision, Digest, Event, EventBody, Header, Health,
    Level, Lifecycle, ModuleVersion, Node, NodeError, NodeFailure, NodeId, Outcome, Requester,
    StrategyRef, Timestamp,
};
use hotswap_store::{Head, Sqlite};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use semver::Version;
use tempfile::TempDir;

use super::*;

pub(crate) fn header() -> Header {
    let id = DeploymentId::generate();
    let module = ModuleVersion {
        // One of its own, since only one deployment of a module may be open.
        name: format!("m{id}").parse().unwrap(),
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
    let environment = "production".parse().unwrap();
    Header {
        config: serde_json::json!({ "share": 0.1 + 0.2, "steps": [10, 100] }),
        description: Some("ä \u{1f680} \0".to_owned()),
        metadata: [("ticket".to_owned(), "7".to_owned())].into(),
        ..Header::new(id, module, environment, strategy, requester)
    }
}

pub(crate) fn node(number: usize) -> Node {
    Node {
        id: format!("node-{number}").parse().unwrap(),
        zone: Some("a".to_owned()),
        labels: [].into(),
        health: Health::Passing,
        active: Some(ModuleVersion {
            name: "hello".parse().unwrap(),
            version: Version::new(1, 0, 0),
            digest: Digest::of(b"before"),
        }),
        fault: None,
    }
}

fn called(request: Call, due: Option<Timestamp>) -> EventBody {
    EventBody::Called {
        call: 0,
        request,
        due,
        readings: Vec::new(),
        answer: None,
    }
}

fn failure() -> NodeFailure {
    NodeFailure {
        node: "node-1".parse().unwrap(),
        error: NodeError::Refused("no room".to_owned()),
    }
}

/// Any event, whether it is legal at this point or not.
fn any_event() -> impl Strategy<Value = EventBody> {
    let nodes = || -> Vec<NodeId> { vec!["node-0".parse().unwrap(), "node-1".parse().unwrap()] };
    let ended = |outcome, failures| EventBody::Ended {
        outcome,
        failures,
        not_updated: Vec::new(),
    };
    let by = || "ada".to_owned();
    let approval = Call::Approval {
        prompt: "go on?".to_owned(),
        timeout: 1000,
    };
    prop_oneof![
        1 => Just(EventBody::Gated { prompt: "go?".to_owned(), due: at(5) }),
        8 => Just(EventBody::Planned { nodes: (0..3).map(node).collect(), missing: Vec::new(), cordoned: Vec::new() }),
        6 => "[ -~]{0,40}".prop_map(|message| {
            called(Call::Log { level: Level::Info, message }, None)
        }),
        6 => (0..4_u8).prop_map(|stage| {
            called(Call::Progress { stage: format!("s{stage}"), percent: 10 * stage }, None)
        }),
        6 => (0..=100_u8).prop_map(move |percent| {
            called(Call::Shift { nodes: nodes(), percent }, None)
        }),
        4 => Just(called(Call::Promote { nodes: nodes() }, None)),
        3 => Just(called(approval, Some(at(9)))),
        3 => any::<bool>().prop_map(move |approved| EventBody::Decided {
            decision: Decision { approved, by: by(), comment: None },
        }),
        8 => Just(EventBody::Answered { call: 0, answer: Answer::Done }),
        4 => Just(EventBody::Answered { call: 0, answer: Answer::Nodewise(vec![failure()]) }),
        4 => Just(EventBody::Answered { call: 0, answer: Answer::Nodewise(Vec::new()) }),
        3 => Just(EventBody::Paused { by: "ada".to_owned(), reason: None }),
        3 => Just(EventBody::Resumed { by: "ada".to_owned() }),
        1 => Just(EventBody::AbortRequested { by: "ada".to_owned(), reason: None }),
        1 => Just(EventBody::Settling(None)),
        1 => Just(EventBody::Reverting { cause: Cause::new(CauseKind::Abort, "enough") }),
        2 => Just(ended(Outcome::Succeeded, Vec::new())),
        1 => Just(ended(Outcome::RolledBack, vec![failure()])),
    ]
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

struct Fixture {
    store: Arc<Sqlite>,
    _folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(folder.path().join("engine.db")).await.unwrap();
        Self {
            store: Arc::new(store),
            _folder: folder,
        }
    }

    /// A deployment with the legal ones of these events, one append each.
    async fn deployment(&self, bodies: Vec<EventBody>) -> (DeploymentId, Vec<Event>) {
        let header = header();
        let id = header.id;
        self.store.create(header, at(1)).await.unwrap();
        let mut lifecycle = Lifecycle::INITIAL;
        let legal = bodies.into_iter().filter(|body| {
            let next = lifecycle.append(body);
            lifecycle = next.clone().unwrap_or(lifecycle);
            next.is_ok()
        });
        self.append(id, 1, legal.collect()).await;
        let events = self.store.events(id, 0, usize::MAX).await.unwrap();
        (id, events)
    }

    async fn append(&self, id: DeploymentId, expected: u64, bodies: Vec<EventBody>) -> Head {
        let append = Append {
            deployment: id,
            expected,
            fence: None,
            at: at(expected + 1),
            bodies,
        };
        self.store.append(append).await.unwrap()
    }

    /// Stores `state` as it would be stored by [`Projections::save`], with these changes.
    async fn put(&self, state: &Deployment, change: impl FnOnce(&mut NewSnapshot)) {
        let mut snapshot = NewSnapshot {
            deployment: state.header.id,
            format: Deployment::FORMAT,
            next_seq: state.next_seq,
            ended: state.status().is_final(),
            summary: to_json(&state.summary()).unwrap(),
            state: to_json(state).unwrap(),
        };
        change(&mut snapshot);
        self.store.put_snapshot(snapshot).await.unwrap();
    }

    /// Reads as a process does that has just started.
    fn projections(&self) -> Projections {
        Projections::new(self.store.clone())
    }
}

/// What the events add up to, by the fold alone.
fn fold(events: &[Event]) -> Deployment {
    Deployment::fold(events).unwrap()
}

#[test]
fn a_snapshot_and_the_events_after_it_are_the_fold_at_every_event() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Fixture::new());
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let bodies = proptest::collection::vec(any_event(), 0..60);
    let result = TestRunner::new(config).run(&bodies, |bodies| {
        runtime.block_on(compare_with_fold(&fixture, bodies))
    });
    result.unwrap();
}

async fn compare_with_fold(fixture: &Fixture, bodies: Vec<EventBody>) -> Result<(), TestCaseError> {
    let (id, events) = fixture.deployment(bodies).await;
    let whole = fold(&events);
    let warm = fixture.projections();
    for end in 1..=events.len() {
        let state = fold(&events[..end]);
        let past = warm.at(id, end as u64).await.unwrap();
        prop_assert_eq!(past.as_ref(), &state, "without a snapshot, at {}", end);
        fixture.put(&state, |_| {}).await;
        let cold = fixture.projections();
        let folded = cold.get(id).await.unwrap();
        prop_assert_eq!(folded.as_ref(), &whole, "from {}", end);
        let summaries = fixture.projections().summaries(&[id]).await.unwrap();
        prop_assert_eq!(&summaries, &[whole.summary()]);
        for later in [end, (end + events.len()) / 2, events.len()] {
            let later_state = fixture.projections().at(id, later as u64).await.unwrap();
            prop_assert_eq!(later_state.as_ref(), &fold(&events[..later]));
        }
    }
    let folded = warm.get(id).await.unwrap();
    prop_assert_eq!(folded.as_ref(), &whole);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_is_missing_or_of_another_format_or_unreadable_is_folded_anew() {
    let fixture = Fixture::new().await;
    let planned = EventBody::Planned {
        nodes: vec![node(0)],
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    let (id, events) = fixture
        .deployment(vec![planned, EventBody::Settling(None)])
        .await;
    let (whole, other) = (fold(&events), fold(&events[..1]));
    assert_eq!(
        fixture.projections().get(id).await.unwrap().as_ref(),
        &whole
    );
    // A state that differs from the fold would show.
    let mut wrong = whole.clone();
    wrong.progress = 77;
    let mut beyond = wrong.clone();
    beyond.next_seq += 5;
    let (wrong, other, beyond) = (to_json(&wrong), to_json(&other), to_json(&beyond));
    let (current, next_seq) = (Deployment::FORMAT, whole.next_seq);
    for (what, format, next_seq, state) in [
        (
            "older format",
            current - 1,
            next_seq,
            wrong.as_ref().unwrap(),
        ),
        (
            "newer format",
            current + 1,
            next_seq,
            wrong.as_ref().unwrap(),
        ),
        ("unreadable", current, next_seq, &b"{\"header\":".to_vec()),
        ("empty", current, next_seq, &Vec::new()),
        ("another state", current, next_seq, &other.unwrap()),
        (
            "beyond the journal",
            current,
            next_seq + 5,
            &beyond.unwrap(),
        ),
    ] {
        fixture
            .put(&whole, |snapshot| {
                (snapshot.format, snapshot.next_seq) = (format, next_seq);
                snapshot.state.clone_from(state);
            })
            .await;
        let stored = fixture.store.snapshot(id).await.unwrap();
        assert_eq!(stored.unwrap().body, *state, "{what} was not stored");
        let projections = fixture.projections();
        assert_eq!(
            projections.get(id).await.unwrap().as_ref(),
            &whole,
            "{what}"
        );
        assert_eq!(
            projections.summaries(&[id]).await.unwrap(),
            [whole.summary()],
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_unreadable_snapshot_is_replaced() {
    let fixture = Fixture::new().await;
    let cause = Cause::new(CauseKind::Abort, "enough");
    let ended = EventBody::Ended {
        outcome: Outcome::Failed,
        failures: Vec::new(),
        not_updated: Vec::new(),
    };
    let bodies = vec![EventBody::Reverting { cause }, ended];
    let (id, events) = fixture.deployment(bodies).await;
    let whole = fold(&events);
    fixture
        .put(&whole, |snapshot| {
            snapshot.state = b"?".to_vec();
            snapshot.summary = b"?".to_vec();
        })
        .await;
    fixture.projections().save(id).await.unwrap();
    let snapshot = fixture.store.snapshot(id).await.unwrap().unwrap();
    assert_eq!(parse::<Deployment>(id, &snapshot), Some(whole.clone()));
    let [Some(summary)] = &fixture.store.summaries(&[id]).await.unwrap()[..] else {
        panic!("no summary");
    };
    assert_eq!(
        parse::<DeploymentSummary>(id, summary),
        Some(whole.summary())
    );
}

#[tokio::test]
async fn a_state_in_memory_takes_the_events_that_came_after_it() {
    let fixture = Fixture::new().await;
    let (id, _) = fixture.deployment(Vec::new()).await;
    let projections = fixture.projections();
    let first = projections.get(id).await.unwrap();
    let planned = EventBody::Planned {
        nodes: vec![node(0)],
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    fixture.append(id, 1, vec![planned]).await;
    let second = projections.get(id).await.unwrap();
    assert_eq!((first.next_seq, second.next_seq), (1, 2));
    assert_eq!(second.nodes.len(), 1);
    assert_eq!(projections.at(id, 1).await.unwrap(), first);
    let unknown = projections.get(DeploymentId::generate()).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
}
