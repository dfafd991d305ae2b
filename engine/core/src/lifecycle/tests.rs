use super::*;
use crate::{Answer, Cause, CauseKind, Decision, NodeError, NodeFailure, Timestamp};

fn approval() -> EventBody {
    called(Call::Approval {
        prompt: "go?".into(),
        timeout: 1,
    })
}

fn called(request: Call) -> EventBody {
    EventBody::Called {
        call: 0,
        request,
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

fn decided(approved: bool) -> EventBody {
    EventBody::Decided {
        decision: Decision {
            approved,
            by: "ada".into(),
            comment: None,
        },
    }
}

fn reverting() -> EventBody {
    EventBody::Reverting {
        cause: Cause::new(CauseKind::Abort, "aborted by ada"),
    }
}

fn planned() -> EventBody {
    EventBody::Planned {
        nodes: Vec::new(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    }
}

fn paused() -> EventBody {
    EventBody::Paused {
        by: "ada".into(),
        reason: None,
    }
}

fn ended(outcome: Outcome) -> EventBody {
    EventBody::Ended {
        outcome,
        failures: Vec::new(),
        not_updated: Vec::new(),
    }
}

fn ended_in_part() -> EventBody {
    EventBody::Ended {
        outcome: Outcome::Succeeded,
        failures: Vec::new(),
        not_updated: vec![NodeFailure {
            node: "a".parse().unwrap(),
            error: NodeError::Other("it runs 1.0.0".into()),
        }],
    }
}

/// Lifecycles that were stored before the field existed are read, and those of deployments that
/// did not end in part are stored as before.
#[test]
fn only_a_partial_success_is_stored_as_one() {
    let json = serde_json::to_string(&Lifecycle::INITIAL).unwrap();
    assert!(!json.contains("partial"), "{json}");
    assert_eq!(
        serde_json::from_str::<Lifecycle>(&json).unwrap(),
        Lifecycle::INITIAL
    );
    let settling = Lifecycle {
        step: Step::Settling,
        ..Lifecycle::INITIAL
    };
    let ended = settling.next(&ended_in_part()).unwrap();
    // The store looks for this text.
    let json = serde_json::to_string(&ended).unwrap();
    assert!(json.contains("\"partial\":true"), "{json}");
    assert_eq!(settling.next_past_damage(&ended_in_part()), ended);
}

fn status_after(bodies: &[EventBody]) -> Result<Status, IllegalTransition> {
    let lifecycle = bodies
        .iter()
        .try_fold(Lifecycle::INITIAL, |lifecycle, body| lifecycle.next(body))?;
    Ok(lifecycle.status())
}

#[test]
fn every_step_has_a_status() {
    let gate = EventBody::Gated {
        prompt: "go?".into(),
        due: Timestamp::MAX,
    };
    let answered = EventBody::Answered {
        call: 0,
        answer: Answer::Done,
    };
    let resumed = EventBody::Resumed { by: "ada".into() };
    let abort = EventBody::AbortRequested {
        by: "ada".into(),
        reason: None,
    };
    for (bodies, status) in [
        (vec![], Status::Pending),
        (vec![gate.clone()], Status::AwaitingApproval),
        (vec![gate.clone(), decided(true)], Status::Pending),
        (vec![gate, decided(true), planned()], Status::Running),
        (vec![planned(), called(Call::Now)], Status::Running),
        (vec![planned(), approval()], Status::AwaitingApproval),
        (vec![planned(), approval(), decided(true)], Status::Running),
        (vec![planned(), approval(), answered], Status::Running),
        (vec![planned(), paused()], Status::Paused),
        (vec![planned(), paused(), resumed], Status::Running),
        (vec![planned(), abort], Status::Running),
        (vec![planned(), paused(), reverting()], Status::RollingBack),
        (vec![planned(), EventBody::Settling(None)], Status::Running),
        (
            vec![
                planned(),
                EventBody::Settling(None),
                ended(Outcome::Succeeded),
            ],
            Status::Succeeded,
        ),
        (
            vec![planned(), EventBody::Settling(None), ended_in_part()],
            Status::Partial,
        ),
        (
            vec![planned(), reverting(), ended(Outcome::RolledBack)],
            Status::RolledBack,
        ),
        (vec![reverting(), ended(Outcome::Failed)], Status::Failed),
    ] {
        assert_eq!(status_after(&bodies), Ok(status), "{bodies:?}");
    }
}

#[test]
fn illegal_events_are_rejected_with_a_reason() {
    let succeeded = [
        planned(),
        EventBody::Settling(None),
        ended(Outcome::Succeeded),
    ];
    for (before, body, reason) in [
        (
            &succeeded[..],
            paused(),
            "the deployment has ended: succeeded",
        ),
        (
            &succeeded[..],
            called(Call::Now),
            "the deployment has ended: succeeded",
        ),
        (
            &[],
            called(Call::Now),
            "the event `called` is not allowed in the step `Requested`",
        ),
        (
            &[planned()],
            decided(true),
            "the deployment is not waiting for a decision",
        ),
        (
            &[planned()],
            EventBody::Resumed { by: "ada".into() },
            "the deployment is not paused",
        ),
        (
            &[planned(), paused()],
            paused(),
            "the deployment is already paused",
        ),
        (
            &[planned(), reverting()],
            paused(),
            "the deployment is being rolled back",
        ),
        (
            &[planned(), reverting()],
            called(Call::Now),
            "the deployment is being rolled back",
        ),
        (
            &[planned(), EventBody::Settling(None)],
            reverting(),
            "the deployment has succeeded",
        ),
    ] {
        let mut bodies = before.to_vec();
        bodies.push(body);
        assert_eq!(
            status_after(&bodies).map_err(|illegal| illegal.to_string()),
            Err(reason.to_owned())
        );
    }
}

fn append_all(bodies: &[EventBody]) -> Result<Lifecycle, IllegalTransition> {
    bodies
        .iter()
        .try_fold(Lifecycle::INITIAL, |lifecycle, body| lifecycle.append(body))
}

fn gated() -> EventBody {
    EventBody::Gated {
        prompt: "go?".into(),
        due: Timestamp::from_millis(1),
    }
}

fn abort() -> EventBody {
    EventBody::AbortRequested {
        by: "ada".into(),
        reason: None,
    }
}

#[test]
fn only_one_decision_on_the_start_is_accepted() {
    for first in [true, false] {
        for second in [true, false] {
            let after_first = append_all(&[gated(), decided(first)]);
            assert!(after_first.is_ok());
            let after_second = append_all(&[gated(), decided(first), decided(second)]);
            assert!(after_second.is_err(), "{first} then {second}");
        }
    }
    assert_eq!(
        append_all(&[gated(), decided(false)]).unwrap().status(),
        Status::RollingBack
    );
}

#[test]
fn only_one_decision_on_a_question_of_the_strategy_is_accepted() {
    let asked = [planned(), approval(), decided(false)];
    assert!(append_all(&asked).is_ok());
    assert!(append_all(&[planned(), approval(), decided(false), decided(true)]).is_err());
}

#[test]
fn a_deployment_cannot_succeed_after_an_accepted_abort() {
    let error = append_all(&[planned(), abort(), EventBody::Settling(None)]).unwrap_err();
    assert!(error.to_string().contains("abort"), "{error}");
    assert!(append_all(&[planned(), abort(), reverting()]).is_ok());
}

#[test]
fn a_paused_deployment_cannot_succeed_before_it_is_resumed() {
    let error = append_all(&[planned(), paused(), EventBody::Settling(None)]).unwrap_err();
    assert!(error.to_string().contains("paused"), "{error}");
    assert!(append_all(&[planned(), paused(), reverting()]).is_ok());
    let resumed = EventBody::Resumed { by: "ada".into() };
    assert!(append_all(&[planned(), paused(), resumed, EventBody::Settling(None)]).is_ok());
}

#[test]
fn an_abort_of_a_deployment_that_has_succeeded_is_rejected() {
    let error = append_all(&[planned(), EventBody::Settling(None), abort()]).unwrap_err();
    assert!(error.to_string().contains("succeeded"), "{error}");
}

/// Journals from before these rules hold such events. They must stay readable.
#[test]
fn journals_from_before_the_rules_are_read() {
    for bodies in [
        [planned(), abort(), EventBody::Settling(None)],
        [planned(), paused(), EventBody::Settling(None)],
        [gated(), decided(false), decided(true)],
    ] {
        assert!(status_after(&bodies).is_ok());
    }
}

fn termination() -> EventBody {
    EventBody::TerminationRequested {
        by: "ada".into(),
        reason: None,
    }
}

#[test]
fn a_termination_reverts_unless_the_strategy_has_succeeded_or_the_deployment_has_ended() {
    let gate = EventBody::Gated {
        prompt: "go?".into(),
        due: Timestamp::MAX,
    };
    for bodies in [
        vec![],
        vec![gate],
        vec![planned()],
        vec![planned(), paused()],
        vec![planned(), called(Call::Now), approval()],
        vec![planned(), reverting()],
    ] {
        let all = [bodies, vec![termination()]].concat();
        assert_eq!(status_after(&all), Ok(Status::RollingBack), "{all:?}");
        let all = [all, vec![ended(Outcome::RolledBack)]].concat();
        assert_eq!(status_after(&all), Ok(Status::RolledBack));
    }
    let settling = [planned(), EventBody::Settling(None), termination()];
    assert_eq!(status_after(&settling), Ok(Status::Running));
    let ended = [
        planned(),
        reverting(),
        ended(Outcome::Failed),
        termination(),
    ];
    assert!(status_after(&ended).is_err());
}

#[test]
fn behind_the_damage_of_a_journal_its_end_holds() {
    // The plan cannot be read, so no event of the strategy can follow.
    let past = |bodies: &[EventBody]| {
        let lifecycle = bodies
            .iter()
            .fold(Lifecycle::INITIAL, |at, body| at.next_past_damage(body));
        lifecycle.status()
    };
    assert_eq!(past(&[called(Call::Now)]), Status::Pending);
    assert_eq!(past(&[EventBody::Settling(None)]), Status::Running);
    let success = [EventBody::Settling(None), ended(Outcome::Succeeded)];
    assert_eq!(past(&success), Status::Succeeded);
    assert_eq!(past(&[ended(Outcome::Failed)]), Status::Failed);
    let terminated = [termination(), ended(Outcome::RolledBack)];
    assert_eq!(past(&terminated), Status::RolledBack);
    let whole = [planned(), called(Call::Now), EventBody::Settling(None)];
    assert_eq!(Ok(past(&whole)), status_after(&whole));
}

fn promoted(full: bool) -> EventBody {
    EventBody::PromoteRequested {
        by: "ada".into(),
        reason: None,
        full,
    }
}

fn after(bodies: &[EventBody]) -> Lifecycle {
    let appended = bodies
        .iter()
        .try_fold(Lifecycle::INITIAL, Lifecycle::append);
    appended.unwrap()
}

fn refusal(bodies: &[EventBody], full: bool) -> String {
    let refused = after(bodies).append(&promoted(full));
    refused.unwrap_err().to_string()
}

#[test]
fn a_promotion_ends_the_wait_that_is_under_way_once() {
    let waiting = [planned(), called(Call::Sleep { span: 60_000 })];
    let promoted_once = after(&waiting).append(&promoted(false)).unwrap();
    assert!(!promoted_once.waiting && !promoted_once.promoted);
    let again = promoted_once.append(&promoted(false)).unwrap_err();
    assert!(again.to_string().contains("nothing to promote"), "{again}");
    let answered = EventBody::Answered {
        call: 0,
        answer: crate::Answer::Done,
    };
    let over = [&waiting[..], std::slice::from_ref(&answered)].concat();
    assert!(refusal(&over, false).contains("nothing to promote"));
    // In full it needs no wait, and none is open afterwards.
    let full = after(&over).append(&promoted(true)).unwrap();
    let next = full.append(&called(Call::Sleep { span: 60_000 })).unwrap();
    assert!(next.promoted && !next.waiting);
    for more in [true, false] {
        let refused = next.append(&promoted(more)).unwrap_err().to_string();
        assert!(refused.contains("at once already"), "{refused}");
    }
}

#[test]
fn what_no_promotion_ends_is_refused_with_what_to_do_instead() {
    let gated = EventBody::Gated {
        prompt: "go?".into(),
        due: crate::Timestamp::from_millis(1),
    };
    let sleep = called(Call::Sleep { span: 60_000 });
    let aborted = EventBody::AbortRequested {
        by: "bob".into(),
        reason: None,
    };
    for full in [false, true] {
        assert!(refusal(&[], full).contains("not begun"));
        assert!(refusal(std::slice::from_ref(&gated), full).contains("approve"));
        assert!(refusal(&[planned(), approval()], full).contains("approve"));
        let held = [planned(), sleep.clone(), paused()];
        assert!(refusal(&held, full).contains("resume"));
        let ending = [planned(), sleep.clone(), aborted.clone()];
        assert!(refusal(&ending, full).contains("rolled back"));
        let reverted = [planned(), sleep.clone(), reverting()];
        assert!(refusal(&reverted, full).contains("rolled back"));
        let settling = [planned(), EventBody::Settling(None)];
        assert!(refusal(&settling, full).contains("succeeded"));
        let over = [planned(), reverting(), ended(Outcome::Failed)];
        assert!(refusal(&over, full).contains("ended"));
    }
}
