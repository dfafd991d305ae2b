use std::fmt;

use crate::{Deployment, Step};

/// What a deployment waits for now: a person's decision, or the end of a sleep or a soak, which a
/// person may bring about. The waits of a deployment have different ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitId {
    /// The approval to start.
    Start,
    /// The answer to a call of the strategy.
    Call(u32),
}

impl fmt::Display for WaitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Call(number) => write!(f, "call-{number}"),
        }
    }
}

impl Deployment {
    /// What a person can decide or end now. `None` where there is nothing to decide, and no wait
    /// that nobody has ended.
    pub fn wait_id(&self) -> Option<WaitId> {
        match self.lifecycle.step {
            Step::Gated if !self.lifecycle.rejected => Some(WaitId::Start),
            Step::Running if !self.lifecycle.waiting => None,
            Step::Running | Step::Asking => {
                let (call, _) = self.open.as_ref()?;
                Some(WaitId::Call(*call))
            }
            Step::Requested
            | Step::Gated
            | Step::Approved
            | Step::Settling
            | Step::Reverting
            | Step::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::tests::header;
    use crate::{Answer, Call, Decision, Event, EventBody, Timestamp};

    #[test]
    fn every_wait_has_an_id_until_it_is_over() {
        let called = |call, request| EventBody::Called {
            call,
            request,
            due: None,
            readings: Vec::new(),
            answer: None,
        };
        let decision = Decision {
            approved: true,
            by: "ada".to_owned(),
            comment: None,
        };
        let decided = EventBody::Decided {
            decision: decision.clone(),
        };
        let asked = Call::Approval {
            prompt: "go on?".to_owned(),
            timeout: 9,
        };
        let promoted = EventBody::PromoteRequested {
            by: "ada".to_owned(),
            reason: None,
            full: false,
        };
        let gated = EventBody::Gated {
            prompt: "start?".to_owned(),
            due: Timestamp::from_millis(9),
        };
        let planned = EventBody::Planned {
            nodes: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
        };
        let answered = EventBody::Answered {
            call: 0,
            answer: Answer::Decision(decision),
        };
        let event = |seq, body| Event {
            seq,
            position: seq + 1,
            at: Timestamp::from_millis(seq),
            body,
        };
        let requested = EventBody::Requested(Box::new(header()));
        let mut state = Deployment::begin(&event(0, requested)).unwrap();
        for (body, expected) in [
            (gated, Some("start")),
            (decided.clone(), None),
            (planned, None),
            (called(0, asked), Some("call-0")),
            (decided, None),
            (answered, None),
            (called(1, Call::Sleep { span: 1 }), Some("call-1")),
            (promoted, None),
        ] {
            state.apply(&event(state.next_seq, body)).unwrap();
            let id = state.wait_id().map(|id| id.to_string());
            assert_eq!(id.as_deref(), expected, "{state:?}");
        }
    }
}
