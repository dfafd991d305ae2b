use super::*;
use crate::deployment::tests::header;
use crate::{Decision, Health, HttpProbe, Judgement, Level, NodeFailure, Step, Verdict};

fn second(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// Event `seq`, appended `seq` seconds after the epoch.
fn event(seq: u64, body: EventBody) -> Event {
    Event {
        seq,
        position: seq + 1,
        at: second(seq),
        body,
    }
}

/// The fold of a journal with these bodies after the request.
fn fold(bodies: Vec<EventBody>) -> ReplayState {
    let all = std::iter::once(EventBody::Requested(Box::new(header()))).chain(bodies);
    ReplayState::fold((0..).zip(all).map(|(seq, body)| event(seq, body))).unwrap()
}

fn ids(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn planned() -> EventBody {
    let node = |id| Node {
        id,
        zone: None,
        labels: std::collections::BTreeMap::new(),
        health: Health::Passing,
        active: None,
        fault: None,
    };
    EventBody::Planned {
        nodes: ids(&["a", "b"]).into_iter().map(node).collect(),
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

fn called_until(call: u32, request: Call, due: Timestamp) -> EventBody {
    EventBody::Called {
        call,
        request,
        due: Some(due),
        readings: Vec::new(),
        answer: None,
    }
}

fn answered(call: u32, answer: Answer) -> EventBody {
    EventBody::Answered { call, answer }
}

fn decided(by: &str) -> EventBody {
    EventBody::Decided {
        decision: Decision {
            approved: true,
            by: by.into(),
            comment: None,
        },
    }
}

fn stage(names: &[&str]) -> Call {
    Call::Stage { nodes: ids(names) }
}

fn sleep() -> Call {
    Call::Sleep { span: 60_000 }
}

fn approval() -> Call {
    Call::Approval {
        prompt: "go on?".into(),
        timeout: 60_000,
    }
}

fn log(message: &str) -> Call {
    Call::Log {
        level: Level::Info,
        message: message.into(),
    }
}

#[test]
fn recorded_calls_are_answered_and_later_ones_are_new() {
    let failures = vec![NodeFailure {
        node: "a".parse().unwrap(),
        error: crate::NodeError::Unhealthy("404".into()),
    }];
    let state = fold(vec![
        planned(),
        called(0, log("begin")),
        called(1, stage(&["a"])),
        answered(1, Answer::Nodewise(failures.clone())),
    ]);
    let mut replay = CallReplay::new(state.calls);
    let mut answer = |request| match replay.next(request) {
        Ok(ReplayedCall::Answered(call)) => call.answer(),
        other => panic!("{other:?}"),
    };
    // A note has no answer in the journal.
    assert_eq!(answer(log("begin")), Answer::Done);
    assert_eq!(answer(stage(&["a"])), Answer::Nodewise(failures));
    replay.check_finished().unwrap();
    assert_eq!(
        replay.next(Call::Now),
        Ok(ReplayedCall::New {
            number: 2,
            request: Call::Now
        })
    );
}

#[test]
fn only_calls_that_the_journal_holds_with_their_answers_are_answered_at_once() {
    let state = fold(vec![
        planned(),
        called(0, log("begin")),
        called(1, stage(&["a"])),
        answered(1, Answer::Done),
        called(2, stage(&["b"])),
    ]);
    let mut replay = CallReplay::new(state.calls);
    assert_eq!(replay.next_answered(&log("end")), None, "another call");
    let note = replay.next_answered(&log("begin")).unwrap();
    assert_eq!((note.request, note.answer), (log("begin"), None));
    let staged = replay.next_answered(&stage(&["a"])).unwrap();
    assert_eq!(staged.answer, Some(Answer::Done));
    assert_eq!(replay.next_answered(&stage(&["b"])), None, "no answer yet");
    let Ok(ReplayedCall::Unanswered { number, .. }) = replay.next(stage(&["b"])) else {
        panic!("the journal holds its intent");
    };
    assert_eq!(number, 2);
    assert_eq!(replay.next_answered(&Call::Now), None, "it ends here");
}

#[test]
fn a_different_call_is_a_mismatch_that_names_both() {
    let state = fold(vec![
        planned(),
        called(0, log("begin")),
        called(1, stage(&["a"])),
    ]);
    let mut replay = CallReplay::new(state.calls);
    replay.next(log("begin")).unwrap();
    let cause = replay.next(stage(&["b"])).unwrap_err();
    assert_eq!(cause.kind, CauseKind::Mismatch);
    assert_eq!(
        cause.message,
        "on replay the strategy made a different call: call 1 is fleet.stage {\"nodes\":[\"a\"]} \
         in the journal and was fleet.stage {\"nodes\":[\"b\"]} now; the strategy is not \
         deterministic"
    );
}

#[test]
fn a_strategy_that_ends_before_its_recorded_calls_is_a_mismatch() {
    let state = fold(vec![
        planned(),
        called(0, log("begin")),
        called(1, Call::Now),
    ]);
    let mut replay = CallReplay::new(state.calls);
    replay.next(log("begin")).unwrap();
    let cause = replay.check_finished().unwrap_err();
    assert_eq!(cause.kind, CauseKind::Mismatch);
    assert_eq!(
        cause.message,
        "on replay the strategy ended before call 1, which is control.now in the journal; the \
         strategy is not deterministic"
    );
}

#[test]
fn long_arguments_are_cut_between_characters() {
    let shown = describe(&log(&"é".repeat(1000)));
    assert!(shown.starts_with("control.log {") && shown.ends_with("é…"));
    assert_eq!(
        shown.chars().count(),
        "control.log".len() + SHOWN_CHARACTERS + 1
    );
}

#[test]
fn an_intent_without_an_answer_is_unanswered_and_its_nodes_are_touched() {
    let probe = Call::Probe {
        nodes: ids(&["c"]),
        request: HttpProbe {
            path: "/".into(),
            expect_status: 200,
            expect_body: None,
            timeout: 1000,
        },
    };
    let state = fold(vec![
        planned(),
        called(0, stage(&["a"])),
        answered(0, Answer::Nodewise(Vec::new())),
        called(1, probe.clone()),
        answered(1, Answer::Nodewise(Vec::new())),
        called(2, Call::Promote { nodes: ids(&["b"]) }),
    ]);
    assert!(state.touched.iter().eq(&ids(&["a", "b"])));
    let mut replay = CallReplay::new(state.calls);
    replay.next(stage(&["a"])).unwrap();
    replay.next(probe).unwrap();
    let replayed = replay.next(Call::Promote { nodes: ids(&["b"]) }).unwrap();
    let ReplayedCall::Unanswered { number: 2, call } = replayed else {
        panic!("{replayed:?}");
    };
    assert_eq!((call.at, call.answer), (second(6), None));
}

#[test]
fn an_open_wait_can_be_taken_while_it_is_long() {
    let bodies = || {
        let waits = called_until(1, sleep(), second(63));
        vec![planned(), called(0, log("begin")), waits]
    };
    let mut state = fold(bodies());
    assert_eq!(state.take_wait(|_, _| false), None);
    assert_eq!(state.calls.len(), 2);
    let (number, call) = state.take_wait(|number, _| number == 1).unwrap();
    assert_eq!((number, call.request), (1, sleep()));
    assert_eq!((call.at, call.due), (second(3), Some(second(63))));

    let over = [bodies(), vec![answered(1, Answer::Done)]].concat();
    assert_eq!(fold(over).take_wait(|_, _| true), None);
    let write = vec![planned(), called(0, stage(&["a"]))];
    assert_eq!(fold(write).take_wait(|_, _| true), None);
    assert_eq!(fold(Vec::new()).take_wait(|_, _| true), None);
}

#[test]
fn a_decision_answers_only_the_question_before_it() {
    let asked = vec![planned(), called_until(0, approval(), second(62))];
    let in_time = [asked, vec![decided("ada")]].concat();
    let state = fold(in_time.clone());
    let decision = state.tail.signals.decision.expect("a decision");
    assert_eq!(decision.by, "ada");

    // The engine stopped waiting before it read the decision.
    let late = [in_time, vec![answered(0, Answer::Done)]].concat();
    let next = called_until(1, approval(), second(65));
    let state = fold([late, vec![next]].concat());
    assert_eq!(state.tail.signals.decision, None);
    assert_eq!(state.tail.lifecycle.step, Step::Asking);
}

#[test]
fn the_approval_to_start_is_cleared_by_the_plan() {
    let prompt = "roll out?".into();
    let due = second(100);
    let approved = vec![EventBody::Gated { prompt, due }, decided("ada")];
    let state = fold(approved.clone());
    assert_eq!(state.gate_due, Some(due));
    assert!(state.tail.signals.decision.is_some());
    assert_eq!(state.tail.lifecycle.step, Step::Approved);
    let state = fold([approved, vec![planned()]].concat());
    assert_eq!(state.tail.signals.decision, None);
}

#[test]
fn an_abort_names_its_requester_and_the_reason() {
    for (reason, message) in [
        (None, "aborted by ada"),
        (
            Some("wrong version".to_owned()),
            "aborted by ada: wrong version",
        ),
    ] {
        let by = "ada".to_owned();
        let state = fold(vec![planned(), EventBody::AbortRequested { by, reason }]);
        let expected = Cause::new(CauseKind::Abort, message);
        assert_eq!(state.tail.signals.abort, Some(expected));
        assert!(state.tail.lifecycle.aborting);
    }
}

#[test]
fn pause_and_resume_change_the_tail_alone() {
    let by = || "ada".to_owned();
    let paused = vec![
        planned(),
        EventBody::Paused {
            by: by(),
            reason: None,
        },
    ];
    let state = fold(paused.clone());
    assert!(state.tail.lifecycle.paused);
    assert_eq!(state.tail.next_seq, 3);
    let resumed = fold([paused, vec![EventBody::Resumed { by: by() }]].concat());
    assert!(!resumed.tail.lifecycle.paused);
    assert_eq!(resumed.calls, state.calls);
}

#[test]
fn the_tail_holds_the_deadline() {
    let state = fold(Vec::new());
    assert_eq!(state.tail.deadline.falls_at(), None);
    let state = fold(vec![planned(), called(0, Call::Now)]);
    let allowed = state.header.policy.deadline;
    assert_eq!(state.tail.deadline.falls_at(), Some(second(1) + allowed));
}

#[test]
fn a_journal_without_its_request_or_with_a_gap_is_rejected() {
    let fold = |events| ReplayState::fold(events).unwrap_err().to_string();
    assert_eq!(fold(Vec::new()), "the journal is empty");
    let first = event(0, EventBody::Settling(None));
    assert_eq!(fold(vec![first]), "a journal begins with the request");
    let request = event(0, EventBody::Requested(Box::new(header())));
    let gap = vec![request, event(2, planned())];
    assert_eq!(fold(gap), "event 1 comes next, and this is 2");
}

#[test]
fn an_event_that_cannot_follow_leaves_the_state_unchanged() {
    let mut state = fold(vec![planned()]);
    let before = state.clone();
    assert!(state.apply(event(2, decided("ada"))).is_err());
    assert_eq!(state, before);
}

#[test]
fn an_abort_supersedes_a_success_and_nothing_else() {
    let signals = Signals {
        abort: Some(Cause::new(CauseKind::Abort, "aborted by ada")),
        ..Signals::default()
    };
    let answer = answered(0, Answer::Done);
    assert!(signals.supersede(&[answer.clone(), EventBody::Settling(None)]));
    assert!(!signals.supersede(&[answer]));
    assert!(!Signals::default().supersede(&[EventBody::Settling(None)]));
}

#[test]
fn a_pause_supersedes_a_success_and_nothing_else() {
    let mut tail = fold(vec![planned()]).tail;
    let answer = answered(0, Answer::Done);
    let success = [answer.clone(), EventBody::Settling(None)];
    assert!(!tail.supersedes(&success));
    tail.lifecycle.paused = true;
    assert!(tail.supersedes(&success));
    assert!(!tail.supersedes(&[answer]));
}

#[test]
fn a_decision_supersedes_the_time_out_of_its_question() {
    let decision = Decision {
        approved: true,
        by: "ada".into(),
        comment: None,
    };
    let timed_out = answered(
        0,
        Answer::Decision(Decision {
            approved: false,
            by: String::new(),
            comment: None,
        }),
    );
    let reverting = EventBody::Reverting {
        cause: Cause::new(CauseKind::Rejected, "not approved in time"),
    };
    let signals = Signals {
        decision: Some(decision),
        ..Signals::default()
    };
    for body in [timed_out, reverting] {
        assert!(signals.supersede(std::slice::from_ref(&body)));
        assert!(!Signals::default().supersede(&[body]));
    }
}

fn promoted(full: bool) -> EventBody {
    EventBody::PromoteRequested {
        by: "ada".into(),
        reason: None,
        full,
    }
}

#[test]
fn a_promotion_holds_until_the_answer_and_one_in_full_for_good() {
    let mut signals = Signals::default();
    signals.apply(&promoted(false));
    let promotion = signals.promotion.clone().unwrap();
    assert_eq!((promotion.by.as_str(), promotion.full), ("ada", false));
    signals.apply(&answered(0, Answer::Done));
    assert_eq!(signals.promotion, None);
    signals.apply(&promoted(true));
    signals.apply(&answered(1, Answer::Done));
    assert!(signals.promotion.as_ref().unwrap().full);
    signals.apply(&promoted(false));
    signals.apply(&answered(2, Answer::Done));
    assert!(signals.promotion.unwrap().full, "the full one holds");
}

#[test]
fn a_promotion_supersedes_the_verdict_of_a_soak_unless_a_check_has_failed() {
    let verdict = |judgement| Verdict {
        judgement,
        findings: Vec::new(),
        promoted_by: None,
    };
    let mut signals = Signals::default();
    signals.apply(&promoted(false));
    let answer = |verdict| answered(0, Answer::Verdict(verdict));
    let supersedes = |signals: &Signals, verdict| signals.supersede(&[answer(verdict)]);
    let inconclusive = verdict(Judgement::Inconclusive);
    assert!(supersedes(&signals, inconclusive.clone()));
    assert!(!supersedes(&Signals::default(), inconclusive.clone()));
    assert!(!supersedes(&signals, inconclusive.promoted("ada")));
    assert!(!supersedes(&signals, verdict(Judgement::Fail)));
    assert!(!signals.supersede(&[answered(0, Answer::Done)]));
}

#[test]
fn after_a_loss_every_node_of_the_plan_counts_as_changed_and_the_journal_says_so_once() {
    let lost = || EventBody::WritesLost {
        message: "some".to_owned(),
    };
    let state = fold(vec![planned()]);
    assert!(state.touched.is_empty());
    // The request has position 1, the plan 2.
    assert!(!state.may_lack_events(0), "the store has lost nothing");
    assert!(state.may_lack_events(1));
    assert!(state.may_lack_events(7));
    let mut state = fold(vec![planned(), lost()]);
    assert_eq!(state.touched, BTreeSet::from_iter(ids(&["a", "b"])));
    assert_eq!(state.tail.losses, 1);
    assert!(!state.may_lack_events(2));
    assert!(state.may_lack_events(3), "it was lost again");
    state.apply(event(3, lost())).unwrap();
    assert_eq!(state.tail.losses, 2);
    // A deployment that was requested after the loss lacks nothing.
    let mut requested = event(0, EventBody::Requested(Box::new(header())));
    requested.position = 9;
    let state = ReplayState::fold([requested]).unwrap();
    assert!(!state.may_lack_events(7));
}

fn repairing(node: &str) -> EventBody {
    EventBody::Repairing(crate::Repair {
        node: node.parse().unwrap(),
        module: "hello".parse().unwrap(),
        from: None,
        to: None,
    })
}

/// A revert includes it, but the strategy has not changed it.
#[test]
fn a_node_that_was_repaired_counts_as_changed_but_not_as_touched() {
    let state = fold(vec![planned(), repairing("b")]);
    assert!(state.touched.is_empty());
    assert_eq!(state.changed(), BTreeSet::from_iter(ids(&["b"])));
}

#[test]
fn no_repair_is_appended_once_the_nodes_are_reverted() {
    let repairing = || vec![repairing("b")];
    let state = fold(vec![planned()]);
    assert!(!state.tail.supersedes(&repairing()));
    let terminated = EventBody::TerminationRequested {
        by: "ada".to_owned(),
        reason: None,
    };
    let state = fold(vec![planned(), terminated]);
    assert!(state.tail.supersedes(&repairing()));
}
