use super::*;
use crate::{Answer, Cause, CauseKind, Decision, Timestamp};

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
    EventBody::Planned { nodes: Vec::new() }
}

fn paused() -> EventBody {
    EventBody::Paused { by: "ada".into() }
}

fn ended(outcome: Outcome) -> EventBody {
    EventBody::Ended {
        outcome,
        failures: Vec::new(),
    }
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
        (vec![planned(), EventBody::Settling], Status::Running),
        (
            vec![planned(), EventBody::Settling, ended(Outcome::Succeeded)],
            Status::Succeeded,
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
    let succeeded = [planned(), EventBody::Settling, ended(Outcome::Succeeded)];
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
            &[planned(), EventBody::Settling],
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
