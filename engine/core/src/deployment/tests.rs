use super::*;
use crate::{
    Answer, CauseKind, Check, Cordon, Digest, Health, Judgement, ModuleVersion, Node, NodeError,
    Outcome, Policy, Requester, StrategyRef, Verdict,
};

fn version(text: &str) -> ModuleVersion {
    ModuleVersion {
        name: "hello".parse().unwrap(),
        version: text.parse().unwrap(),
        digest: Digest::of(text.as_bytes()),
    }
}

pub(crate) fn header() -> Header {
    let strategy = StrategyRef {
        name: "canary".parse().unwrap(),
        version: "0.1.0".into(),
        digest: Digest::of(b"canary"),
        wit: "0.1.0".parse().unwrap(),
    };
    let requester = Requester {
        email: "ada@example.com".into(),
        subject: "ada".into(),
    };
    let id = crate::DeploymentId::from_bytes([7; 16]);
    let environment = "production".parse().unwrap();
    Header {
        config: serde_json::json!({}),
        ..Header::new(id, version("2.0.0"), environment, strategy, requester)
    }
}

fn ids(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn planned(names: &[&str]) -> EventBody {
    let node = |id| Node {
        id,
        zone: None,
        labels: BTreeMap::new(),
        health: Health::Passing,
        active: Some(version("1.0.0")),
        fault: None,
    };
    EventBody::Planned {
        nodes: ids(names).into_iter().map(node).collect(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    }
}

fn called(call: u32, request: Call) -> EventBody {
    EventBody::Called {
        call,
        request,
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

fn answered(call: u32, answer: Answer) -> EventBody {
    EventBody::Answered { call, answer }
}

/// A journal of the request and these events, one a second.
fn journal(bodies: Vec<EventBody>) -> Vec<Event> {
    let bodies = std::iter::once(EventBody::Requested(Box::new(header()))).chain(bodies);
    let event = |(seq, body)| {
        let seq = seq as u64;
        Event {
            seq,
            position: seq + 1,
            at: Timestamp::from_millis(seq * 1000),
            body,
        }
    };
    bodies.enumerate().map(event).collect()
}

fn failure(node: &str) -> NodeFailure {
    let error = NodeError::Refused("no memory".into());
    NodeFailure {
        node: node.parse().unwrap(),
        error,
    }
}

#[test]
fn nodes_are_being_changed_from_the_call_to_the_answer() {
    let changing = |bodies: &[EventBody]| {
        let state = Deployment::fold(&journal(bodies.to_vec())).unwrap();
        state.changing().to_vec()
    };
    let nodes = ids(&["a", "b"]);
    let promote = Call::Promote {
        nodes: nodes.clone(),
    };
    let mut bodies = vec![planned(&["a", "b", "c"]), called(0, promote)];
    assert!(changing(&bodies[..1]).is_empty());
    assert_eq!(changing(&bodies), nodes);
    bodies.push(answered(0, Answer::Nodewise(Vec::new())));
    assert!(changing(&bodies).is_empty());
    // A revert makes nodes better.
    bodies.push(called(1, Call::Revert { nodes }));
    assert!(changing(&bodies).is_empty());
}

#[test]
fn nodes_change_with_the_answer_not_with_the_call() {
    let both = || ids(&["a", "b"]);
    let mut bodies = vec![
        planned(&["a", "b", "c"]),
        called(0, Call::Stage { nodes: both() }),
    ];
    let staged = Deployment::fold(&journal(bodies.clone())).unwrap();
    assert!(
        staged
            .nodes
            .values()
            .all(|node| node.phase == NodePhase::Pending)
    );

    bodies.push(answered(0, Answer::Nodewise(vec![failure("b")])));
    bodies.push(called(
        1,
        Call::Shift {
            nodes: ids(&["a"]),
            percent: 25,
        },
    ));
    bodies.push(answered(1, Answer::Nodewise(Vec::new())));
    let state = Deployment::fold(&journal(bodies)).unwrap();
    let phases: Vec<_> = state.nodes.values().map(|node| node.phase).collect();
    let expected = [
        NodePhase::Shifted { percent: 25 },
        NodePhase::Failed,
        NodePhase::Pending,
    ];
    assert_eq!(phases, expected);
    assert_eq!(state.nodes[&ids(&["b"])[0]].error, Some(failure("b").error));
    // Each node holds the number of its own event: 1 is the plan, 3 and 5 are the answers.
    let changed: Vec<_> = state
        .nodes
        .values()
        .map(|node| (node.changed_in, node.changed_at.millis()))
        .collect();
    assert_eq!(changed, [(5, 5000), (3, 3000), (1, 1000)]);
}

#[test]
fn what_a_node_runs_follows_from_the_answers() {
    let unreachable = |node: &str| NodeFailure {
        node: node.parse().unwrap(),
        error: NodeError::Unreachable("no answer".into()),
    };
    let nodes = || ids(&["a", "b", "c", "d"]);
    let runs = |bodies: &[EventBody]| {
        let state = Deployment::fold(&journal(bodies.to_vec())).unwrap();
        let runs = state.nodes.values().map(|node| node.runs);
        runs.collect::<Vec<_>>()
    };
    use KnownVersion::{Before, New, Unknown};
    let promote = |call| called(call, Call::Promote { nodes: nodes() });
    let mut bodies = vec![planned(&["a", "b", "c", "d"]), promote(0)];
    assert_eq!(runs(&bodies), [Before; 4]);
    let failures = vec![failure("b"), unreachable("c")];
    bodies.push(answered(0, Answer::Nodewise(failures)));
    assert_eq!(runs(&bodies), [New, Before, Unknown, New]);
    let new = version("2.0.0");
    let state = Deployment::fold(&journal(bodies.clone())).unwrap();
    let versions = state.nodes.values().map(|node| node.running(&new));
    let versions = versions.map(|module| module.map(|module| module.version.to_string()));
    let expected = [Some("2.0.0"), Some("1.0.0"), None, Some("2.0.0")];
    assert!(versions.eq(expected.map(|version| version.map(str::to_owned))));

    let mut succeeded = bodies.clone();
    succeeded.push(EventBody::Settling(None));
    succeeded.push(EventBody::Ended {
        outcome: Outcome::Succeeded,
        failures: Vec::new(),
        not_updated: vec![failure("b")],
    });
    assert_eq!(runs(&succeeded), [New, Before, New, New]);

    // Nobody knows whether an order without an answer was carried out.
    let cause = Cause::new(CauseKind::Abort, "enough");
    bodies.extend([promote(1), EventBody::Reverting { cause }]);
    assert_eq!(runs(&bodies), [New, Unknown, Unknown, New]);
    bodies.push(EventBody::Ended {
        outcome: Outcome::Failed,
        failures: vec![unreachable("a"), unreachable("c")],
        not_updated: Vec::new(),
    });
    assert_eq!(runs(&bodies), [New, Before, Unknown, Before]);
}

#[test]
fn nodes_that_are_missing_or_cordoned_or_were_not_updated_are_named() {
    let missing = NodeFailure {
        node: "z".parse().unwrap(),
        error: NodeError::Unreachable("no answer".into()),
    };
    let cordoned = CordonedNode {
        node: "y".parse().unwrap(),
        cordon: Cordon {
            drained: true,
            by: "ada".into(),
            reason: None,
            since: Timestamp::from_millis(1),
        },
    };
    let EventBody::Planned { nodes, .. } = planned(&["a", "b"]) else {
        unreachable!()
    };
    let not_updated = NodeFailure {
        node: "b".parse().unwrap(),
        error: NodeError::Other("it runs 1.0.0".into()),
    };
    let bodies = vec![
        EventBody::Planned {
            nodes,
            missing: vec![missing.clone()],
            cordoned: vec![cordoned.clone()],
        },
        EventBody::Settling(None),
        EventBody::Ended {
            outcome: Outcome::Succeeded,
            failures: Vec::new(),
            not_updated: vec![not_updated.clone()],
        },
    ];
    let state = Deployment::fold(&journal(bodies)).unwrap();
    assert_eq!((state.status(), state.progress), (Status::Partial, 100));
    assert_eq!(state.missing, [missing]);
    assert_eq!(state.cordoned, [cordoned]);
    let node = &state.nodes[&not_updated.node];
    assert_eq!(
        (node.phase, node.runs),
        (NodePhase::Failed, KnownVersion::Before)
    );
    assert_eq!(node.error, Some(not_updated.error.clone()));
    assert_eq!(state.not_updated, [not_updated]);
}

#[test]
fn a_stage_ends_with_the_next_one_or_with_the_strategy() {
    let progress = |stage: &str, percent| Call::Progress {
        stage: stage.into(),
        percent,
    };
    let bodies = vec![
        planned(&["a"]),
        called(0, progress("canary 10 %", 0)),
        called(1, progress("canary 10 %", 10)),
        called(2, progress("canary 50 %", 50)),
        EventBody::Settling(None),
        EventBody::Ended {
            outcome: Outcome::Succeeded,
            failures: Vec::new(),
            not_updated: Vec::new(),
        },
    ];
    let state = Deployment::fold(&journal(bodies)).unwrap();
    let stages: Vec<_> = state
        .stages
        .iter()
        .map(|stage| {
            (
                stage.name.as_str(),
                stage.started_at.millis(),
                stage.ended_at.map(Timestamp::millis),
            )
        })
        .collect();
    assert_eq!(
        stages,
        [
            ("canary 10 %", 2000, Some(4000)),
            ("canary 50 %", 4000, Some(5000))
        ]
    );
    assert_eq!((state.progress, state.status()), (100, Status::Succeeded));
}

#[test]
fn a_failed_soak_shows_its_findings_and_reverts_the_changed_nodes() {
    let soak = Call::Soak {
        window: 1,
        canary: ids(&["a"]),
        baseline: Vec::new(),
        checks: Vec::new(),
    };
    let finding = Finding {
        check: Check {
            metric: "error-rate".into(),
            max: None,
            max_increase: Some(0.5),
            min_increase: None,
        },
        judgement: Judgement::Fail,
        canary: Some(0.1),
        baseline: Some(0.0),
        canary_samples: 100,
        baseline_samples: 100,
        reason: "10 of 100 requests failed".into(),
        conditions: Vec::new(),
        queried: Vec::new(),
    };
    let verdict = Verdict {
        judgement: Judgement::Fail,
        findings: vec![finding.clone()],
        promoted_by: None,
    };
    let cause = Cause::new(CauseKind::Strategy, "error-rate failed");
    let mut bodies = vec![
        planned(&["a", "b"]),
        called(0, Call::Promote { nodes: ids(&["a"]) }),
        answered(0, Answer::Nodewise(Vec::new())),
        called(1, soak),
        answered(1, Answer::Verdict(verdict)),
        EventBody::Reverting {
            cause: cause.clone(),
        },
    ];
    let state = Deployment::fold(&journal(bodies.clone())).unwrap();
    assert_eq!(
        (state.status(), &state.cause),
        (Status::RollingBack, &Some(cause))
    );
    assert_eq!(state.findings, [finding]);

    bodies.push(EventBody::Ended {
        outcome: Outcome::RolledBack,
        failures: Vec::new(),
        not_updated: Vec::new(),
    });
    let state = Deployment::fold(&journal(bodies)).unwrap();
    let phases: Vec<_> = state.nodes.values().map(|node| node.phase).collect();
    assert_eq!(phases, [NodePhase::Reverted, NodePhase::Pending]);
    let changed: Vec<_> = state.nodes.values().map(|node| node.changed_in).collect();
    assert_eq!(changed, [7, 1]);
}

#[test]
fn a_gap_is_rejected_and_changes_nothing() {
    let events = journal(vec![planned(&["a"]), EventBody::Settling(None)]);
    let mut state = Deployment::fold(&events[..1]).unwrap();
    let before = state.clone();
    let error = state.apply(&events[2]).unwrap_err().to_string();
    assert_eq!(error, "expected event 1, got event 2");
    assert_eq!(state, before);
    assert!(
        Deployment::fold(&events[1..]).is_err(),
        "a journal must begin with its request"
    );
}

#[test]
fn events_survive_json_unchanged() {
    let bodies = vec![
        planned(&["a"]),
        called(0, Call::Nodes),
        called(
            1,
            Call::Log {
                level: Level::Warn,
                message: "ü".into(),
            },
        ),
        answered(2, Answer::Done),
        answered(3, Answer::Nodewise(vec![failure("a")])),
        EventBody::Settling(None),
    ];
    for event in journal(bodies) {
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            serde_json::from_str::<Event>(&json).unwrap(),
            event,
            "{json}"
        );
    }
}

#[test]
fn a_wait_ends_when_it_is_due_or_with_the_deadline_if_that_is_earlier() {
    let policy = Policy {
        deadline: std::time::Duration::from_secs(60),
        ..Policy::default_for(&"production".parse().unwrap())
    };
    let mut header = header();
    header.policy = policy;
    let second = |seconds: u64| Timestamp::from_millis(seconds * 1000);
    for (due, until) in [(30, 30), (86_400, 61)] {
        let bodies = [
            EventBody::Requested(Box::new(header.clone())),
            planned(&["a"]),
            EventBody::Called {
                call: 0,
                request: Call::Sleep { span: 1 },
                due: Some(second(due)),
                readings: Vec::new(),
                answer: None,
            },
        ];
        let events = (0..).zip(bodies).map(|(seq, body)| Event {
            seq,
            position: seq,
            at: second(seq),
            body,
        });
        let events: Vec<_> = events.collect();
        let state = Deployment::fold(&events).unwrap();
        assert_eq!(state.waiting_until(), Some(second(until)));
    }
}
/// All kinds of events, so that each field of a state has been set once.
fn eventful_journal() -> Vec<EventBody> {
    let both = || ids(&["a", "b"]);
    let approval = Call::Approval {
        prompt: "go on?".into(),
        timeout: 1000,
    };
    let finding = Finding {
        check: Check {
            metric: "latency-p99".into(),
            max: Some(0.1 + 0.2),
            max_increase: None,
            min_increase: None,
        },
        judgement: Judgement::Pass,
        canary: Some(1.0 / 3.0),
        baseline: None,
        canary_samples: 100,
        baseline_samples: 0,
        reason: "fast".into(),
        conditions: Vec::new(),
        queried: Vec::new(),
    };
    let verdict = Verdict {
        judgement: Judgement::Pass,
        findings: vec![finding],
        promoted_by: None,
    };
    let log = Call::Log {
        level: Level::Warn,
        message: "ä \u{1f680}".into(),
    };
    let progress = Call::Progress {
        stage: "canary".into(),
        percent: 10,
    };
    let decision = crate::Decision {
        approved: true,
        by: "ada".into(),
        comment: None,
    };
    let question = EventBody::Called {
        call: 2,
        request: approval,
        due: Some(Timestamp::from_millis(9)),
        readings: Vec::new(),
        answer: None,
    };
    let due = Timestamp::from_millis(9);
    let prompt = "go?".into();
    vec![
        EventBody::Gated { prompt, due },
        EventBody::Decided {
            decision: decision.clone(),
        },
        planned(&["a", "b", "c"]),
        called(0, progress),
        called(1, log),
        question,
        EventBody::Decided {
            decision: decision.clone(),
        },
        answered(2, Answer::Decision(decision)),
        called(3, Call::Stage { nodes: both() }),
        answered(3, Answer::Nodewise(vec![failure("b")])),
        called(4, Call::Promote { nodes: both() }),
        answered(4, Answer::Verdict(verdict)),
        called(5, probe(&["a", "b"], "/ready")),
        answered(5, Answer::Nodewise(Vec::new())),
        EventBody::Paused {
            by: "ada".into(),
            reason: None,
        },
        EventBody::Resumed { by: "ada".into() },
        EventBody::AbortRequested {
            by: "ada".into(),
            reason: None,
        },
        EventBody::Reverting {
            cause: Cause::new(CauseKind::Abort, "enough"),
        },
        EventBody::Ended {
            outcome: Outcome::RolledBack,
            failures: vec![failure("b")],
            not_updated: Vec::new(),
        },
    ]
}

fn probe(nodes: &[&str], path: &str) -> Call {
    let request = HttpProbe {
        path: path.to_owned(),
        expect_status: 200,
        expect_body: None,
        timeout: 1000,
    };
    let nodes = ids(nodes);
    Call::Probe { nodes, request }
}

#[test]
fn a_stored_state_continues_as_if_it_had_never_been_stored() {
    let events = journal(eventful_journal());
    for end in 1..=events.len() {
        let json = serde_json::to_vec(&Deployment::fold(&events[..end]).unwrap()).unwrap();
        let mut stored: Deployment = serde_json::from_slice(&json).unwrap();
        for (index, event) in events.iter().enumerate().skip(end) {
            stored.apply(event).unwrap();
            let folded = Deployment::fold(&events[..=index]).unwrap();
            assert_eq!(stored, folded, "stored at {end}, read at {index}");
        }
        let summary = stored.summary();
        let json = serde_json::to_vec(&summary).unwrap();
        let stored: DeploymentSummary = serde_json::from_slice(&json).unwrap();
        assert_eq!(stored, summary);
    }
}

/// A state that an earlier release stored must not be read as one of this release.
#[test]
fn a_change_of_stored_states_raises_their_format() {
    let events = journal(eventful_journal());
    let mut text = String::new();
    for end in 1..=events.len() {
        let state = Deployment::fold(&events[..end]).unwrap();
        text += &serde_json::to_string(&state).unwrap();
        text += &serde_json::to_string(&state.summary()).unwrap();
    }
    let expected = (
        4,
        "sha256:408d150678fbace7d0e054bc5142d4d4eaa467423d1907122f32b51f214ec67a",
    );
    let found = Digest::of(text.as_bytes()).to_string();
    assert_eq!(
        (Deployment::FORMAT, found.as_str()),
        expected,
        "stored states have changed: raise Deployment::FORMAT, then change both values here"
    );
}

/// Repairs probe as the deployment did that decided what should run.
#[test]
fn the_last_probe_is_part_of_the_state_also_where_it_is_past_a_damage() {
    let call = |number: u32, path: &str| called(number, probe(&["a"], path));
    let done = |call| answered(call, Answer::Nodewise(Vec::new()));
    let events = journal(vec![
        planned(&["a"]),
        call(0, "/first"),
        done(0),
        call(1, "/second"),
        done(1),
    ]);
    let path = |state: &Deployment| state.last_probe.as_ref().map(|probe| probe.path.clone());
    let mut state = Deployment::fold(&events[..2]).unwrap();
    assert_eq!(path(&state), None);
    for (event, expected) in events[2..].iter().zip(["/first", "/first", "/second"]) {
        state.apply(event).unwrap();
        assert_eq!(path(&state).as_deref(), Some(expected));
    }
    let mut damaged = Deployment::fold(&events[..2]).unwrap();
    let why = IllegalTransition::new("torn");
    damaged.mark_damaged(Damage::illegal(&events[2], &why));
    events[3..]
        .iter()
        .for_each(|event| damaged.apply_past_damage(event));
    assert_eq!(path(&damaged).as_deref(), Some("/second"));
}

#[test]
fn a_node_should_run_the_new_version_once_it_was_promoted_and_before_that_the_one_before() {
    let promote = |nodes: &[&str]| called(0, Call::Promote { nodes: ids(nodes) });
    let [old, new] = ["1.0.0", "2.0.0"].map(version);
    let decided = |bodies: Vec<EventBody>, actual: Option<&ModuleVersion>| {
        let state = Deployment::fold(&journal(bodies)).unwrap();
        let node = &state.nodes[&ids(&["a"])[0]];
        node.decided(&new, actual).cloned()
    };
    let none = || Answer::Nodewise(Vec::new());
    let promoted = || vec![planned(&["a"]), promote(&["a"]), answered(0, none())];
    assert_eq!(decided(vec![planned(&["a"])], None), Some(old.clone()));
    assert_eq!(decided(promoted(), None), Some(new.clone()));
    assert_eq!(decided(promoted(), Some(&old)), Some(new.clone()));
    let reverted = [
        called(1, Call::Revert { nodes: ids(&["a"]) }),
        answered(1, none()),
    ];
    let reverted = [promoted(), reverted.to_vec()].concat();
    assert_eq!(decided(reverted, None), Some(old.clone()));
    // It did not say whether it carried the order out.
    let error = NodeError::Unreachable("no answer".into());
    let node = "a".parse().unwrap();
    let unclear = Answer::Nodewise(vec![NodeFailure { node, error }]);
    let unclear = || {
        vec![
            planned(&["a"]),
            promote(&["a"]),
            answered(0, unclear.clone()),
        ]
    };
    assert_eq!(decided(unclear(), Some(&new)), Some(new.clone()));
    assert_eq!(decided(unclear(), None), Some(old));
}

#[test]
fn a_deployment_waits_in_sleeps_soaks_questions_and_pauses_but_not_in_calls_on_nodes() {
    let paused = || EventBody::Paused {
        by: "ada".into(),
        reason: None,
    };
    let sleep = || called(0, Call::Sleep { span: 1000 });
    let stage = || called(0, Call::Stage { nodes: ids(&["a"]) });
    let approval = Call::Approval {
        prompt: "go on?".into(),
        timeout: 1000,
    };
    for (bodies, expected) in [
        (vec![], false),
        (vec![sleep()], true),
        (vec![called(0, approval)], true),
        (vec![sleep(), answered(0, Answer::Done)], false),
        (vec![paused()], true),
        (vec![stage(), paused()], false),
        (
            vec![stage(), paused(), answered(0, Answer::Nodewise(vec![]))],
            true,
        ),
    ] {
        let bodies: Vec<_> = std::iter::once(planned(&["a"])).chain(bodies).collect();
        let state = Deployment::fold(&journal(bodies.clone())).unwrap();
        assert_eq!(state.is_waiting(), expected, "{bodies:?}");
    }
}

#[test]
fn people_read_which_nodes_were_brought_back_and_the_first_failure_of_each() {
    let repair = |node: &str| crate::Repair {
        node: node.parse().unwrap(),
        module: "hello".parse().unwrap(),
        from: None,
        to: Some(version("1.0.0")),
    };
    let failed = |attempts| EventBody::RepairFailed {
        repair: repair("b"),
        error: NodeError::Refused("no memory".into()),
        attempts,
    };
    let state = Deployment::fold(&journal(vec![
        planned(&["a", "b"]),
        EventBody::Repairing(repair("a")),
        EventBody::Repaired(repair("a")),
        failed(1),
        failed(2),
    ]));
    let log: Vec<_> = state
        .unwrap()
        .log
        .into_iter()
        .map(|line| line.message)
        .collect();
    assert_eq!(
        log,
        [
            "a ran no version and was brought back to 1.0.0",
            "b runs no version and could not be brought back to 1.0.0: refused: no memory; the \
             engine goes on trying"
        ]
    );
}
