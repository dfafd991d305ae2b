//! Journals of random events, compared with their fold.

use hotswap_core::{
    Answer, Call, Cause, CauseKind, Decision, Deployment, EventBody, Lifecycle, Outcome, Repair,
};
use hotswap_store::{Journal, Query};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::{StoreFixture, append, at, header, log, planned};

fn repair() -> Repair {
    Repair {
        node: "a".parse().unwrap(),
        module: "hello".parse().unwrap(),
        from: None,
        to: None,
    }
}

/// Any event, whether it is legal at this point or not.
fn any_event() -> impl Strategy<Value = EventBody> {
    let by = || "ada".to_owned();
    let decided = |approved| EventBody::Decided {
        decision: Decision {
            approved,
            by: "ada".to_owned(),
            comment: None,
        },
    };
    let ended = |outcome| EventBody::Ended {
        outcome,
        failures: Vec::new(),
        not_updated: Vec::new(),
    };
    let approval = EventBody::Called {
        call: 1,
        request: Call::Approval {
            prompt: "go on?".to_owned(),
            timeout: 1000,
        },
        due: Some(at(9)),
        readings: Vec::new(),
        answer: None,
    };
    let sleep = EventBody::Called {
        call: 1,
        request: Call::Sleep { span: 1000 },
        due: Some(at(9)),
        readings: Vec::new(),
        answer: None,
    };
    prop_oneof![
        3 => Just(EventBody::Gated { prompt: "go?".to_owned(), due: at(5) }),
        6 => Just(planned()),
        6 => "[ -~]{0,40}".prop_map(|message| log(0, &message)),
        3 => Just(approval),
        3 => any::<bool>().prop_map(decided),
        3 => Just(EventBody::Answered { call: 1, answer: Answer::Done }),
        3 => Just(EventBody::Paused { by: by(), reason: None }),
        3 => Just(EventBody::Resumed { by: by() }),
        1 => Just(EventBody::AbortRequested { by: by(), reason: None }),
        3 => any::<bool>().prop_map(|full| EventBody::PromoteRequested {
            by: "ada".to_owned(),
            reason: None,
            full,
        }),
        3 => Just(sleep),
        1 => Just(EventBody::TerminationRequested { by: by(), reason: None }),
        1 => Just(EventBody::WritesLost { message: "some".to_owned() }),
        2 => Just(EventBody::Repairing(repair())),
        2 => Just(EventBody::Repaired(repair())),
        1 => Just(EventBody::Settling(None)),
        1 => Just(EventBody::Reverting { cause: Cause::new(CauseKind::Abort, "enough") }),
        2 => Just(ended(Outcome::Succeeded)),
        1 => Just(ended(Outcome::RolledBack)),
        1 => Just(ended(Outcome::Failed)),
    ]
}

pub fn the_status_matches_the_fold_of_the_events<S: StoreFixture>() {
    let runtime = Runtime::new().unwrap();
    let fixture = S::new();
    let store = runtime.block_on(fixture.open());
    let config = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let events = proptest::collection::vec((any_event(), 1..4_usize), 0..40);
    let mut number = 0;
    let number = std::cell::RefCell::new(&mut number);
    let result = TestRunner::new(config).run(&events, |events| {
        **number.borrow_mut() += 1;
        let module = format!("m{}", number.borrow());
        runtime.block_on(append_and_compare(&store, &module, events))
    });
    runtime.block_on(fixture.close(store));
    result.unwrap();
}

/// Appends the legal events of `events`, several at once, and compares head and fold.
async fn append_and_compare(
    store: &impl Journal,
    module: &str,
    events: Vec<(EventBody, usize)>,
) -> Result<(), TestCaseError> {
    let header = header(module, "production");
    let id = header.id;
    store.create(header, at(1)).await.unwrap();
    let mut lifecycle = Lifecycle::INITIAL;
    let mut next = 1;
    let mut batch = Vec::new();
    for (body, batch_size) in events {
        let Ok(after) = lifecycle.append(&body) else {
            continue;
        };
        lifecycle = after;
        batch.push(body);
        if batch.len() >= batch_size {
            let head = store.append(append(id, next, None, &batch)).await.unwrap();
            prop_assert_eq!(head.lifecycle, lifecycle);
            next = head.next_seq;
            batch.clear();
        }
    }
    let head = store.append(append(id, next, None, &batch)).await.unwrap();
    let folded = Deployment::fold(&store.events(id, 0, usize::MAX).await.unwrap()).unwrap();
    prop_assert_eq!(store.head(id).await.unwrap(), head);
    prop_assert_eq!(folded.lifecycle, head.lifecycle);
    prop_assert_eq!(folded.next_seq, head.next_seq);
    let query = Query {
        module: Some(module.parse().unwrap()),
        status: Some(folded.status()),
        limit: 9,
        ..Query::default()
    };
    prop_assert_eq!(store.list(&query).await.unwrap().deployments, [id]);
    let open = store.open_deployments().await.unwrap().contains(&id);
    prop_assert_eq!(open, !folded.status().is_final());
    Ok(())
}
