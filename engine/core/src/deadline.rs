//! The deadline of a deployment: a pure fold over its events.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EventBody, Policy, Timestamp};

/// When the policy ends a deployment. The time counts from the plan. Where the policy says so,
/// it stops while the deployment is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    allowed: Duration,
    stops_in_pause: bool,
    is_paused: bool,
    state: DeadlineState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum DeadlineState {
    /// The deployment is not planned yet.
    NotBegun,
    /// The time runs.
    Runs { ends_at: Timestamp },
    /// A pause has stopped the time.
    Stopped { left: Duration },
    /// The strategy has returned: nothing is bound to the deadline any more.
    Over,
}

impl Deadline {
    /// The deadline of a deployment that was just requested.
    pub fn new(policy: &Policy) -> Self {
        Self {
            allowed: policy.deadline,
            stops_in_pause: policy.pause_stops_deadline,
            is_paused: false,
            state: DeadlineState::NotBegun,
        }
    }

    /// Applies the next event, which was appended at `at`.
    pub fn apply(&mut self, at: Timestamp, body: &EventBody) {
        match body {
            EventBody::Planned { .. } => {
                self.state = DeadlineState::Stopped { left: self.allowed };
            }
            EventBody::Paused { .. } => self.is_paused = true,
            EventBody::Resumed { .. } => self.is_paused = false,
            EventBody::Settling(_)
            | EventBody::Reverting { .. }
            | EventBody::TerminationRequested { .. }
            | EventBody::Ended { .. } => {
                self.state = DeadlineState::Over;
            }
            EventBody::Requested(_)
            | EventBody::Gated { .. }
            | EventBody::Called { .. }
            | EventBody::Answered { .. }
            | EventBody::Decided { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::WritesLost { .. }
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. } => {}
        }
        let is_stopped = self.is_paused && self.stops_in_pause;
        self.state = match self.state {
            DeadlineState::Stopped { left } if !is_stopped => {
                DeadlineState::Runs { ends_at: at + left }
            }
            // The wall-clock may have been set back since the plan.
            DeadlineState::Runs { ends_at } if is_stopped => DeadlineState::Stopped {
                left: ends_at.since(at).min(self.allowed),
            },
            state => state,
        };
    }

    /// How long the policy allows.
    pub fn allowed(&self) -> Duration {
        self.allowed
    }

    /// When the deadline falls. `None` before the plan, while a pause stops it, and once the
    /// strategy has returned.
    pub fn falls_at(&self) -> Option<Timestamp> {
        match self.state {
            DeadlineState::Runs { ends_at } => Some(ends_at),
            DeadlineState::NotBegun | DeadlineState::Stopped { .. } | DeadlineState::Over => None,
        }
    }

    /// The time that is left, while a pause stops it; else `None`.
    pub fn stopped_with(&self) -> Option<Duration> {
        match self.state {
            DeadlineState::Stopped { left } => Some(left),
            DeadlineState::NotBegun | DeadlineState::Runs { .. } | DeadlineState::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, CauseKind};

    const MINUTE: Duration = Duration::from_secs(60);

    fn deadline(pause_stops_deadline: bool) -> Deadline {
        Deadline::new(&Policy {
            deadline: MINUTE,
            pause_stops_deadline,
            ..Policy::default_for(&"production".parse().unwrap())
        })
    }

    fn second(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
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

    fn resumed() -> EventBody {
        EventBody::Resumed { by: "ada".into() }
    }

    #[test]
    fn the_deadline_counts_from_the_plan_until_the_strategy_has_returned() {
        for end in [
            EventBody::Settling(None),
            EventBody::Reverting {
                cause: Cause::new(CauseKind::Trap, "it crashed"),
            },
        ] {
            let mut deadline = deadline(true);
            assert_eq!(deadline.falls_at(), None);
            deadline.apply(second(5), &planned());
            assert_eq!(deadline.falls_at(), Some(second(65)));
            assert_eq!(deadline.stopped_with(), None);
            deadline.apply(second(9), &end);
            assert_eq!(deadline.falls_at(), None);
        }
    }

    #[test]
    fn a_pause_stops_the_deadline_where_the_policy_says_so() {
        let mut stopped = deadline(true);
        stopped.apply(second(0), &planned());
        stopped.apply(second(10), &paused());
        assert_eq!(stopped.falls_at(), None);
        assert_eq!(stopped.stopped_with(), Some(Duration::from_secs(50)));
        stopped.apply(second(1000), &resumed());
        assert_eq!(stopped.falls_at(), Some(second(1050)));

        let mut running = deadline(false);
        for (at, body) in [(0, planned()), (10, paused()), (1000, resumed())] {
            running.apply(second(at), &body);
            assert_eq!(running.falls_at(), Some(second(60)));
        }
    }

    #[test]
    fn the_deadline_of_a_deployment_that_is_planned_in_a_pause_begins_when_it_is_resumed() {
        let mut deadline = deadline(true);
        deadline.apply(second(1), &paused());
        assert_eq!(deadline.stopped_with(), None);
        deadline.apply(second(2), &planned());
        assert_eq!(deadline.stopped_with(), Some(MINUTE));
        deadline.apply(second(9), &resumed());
        assert_eq!(deadline.falls_at(), Some(second(69)));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_more_than_the_policy_allows() {
        let mut deadline = deadline(true);
        deadline.apply(second(5000), &planned());
        deadline.apply(second(1400), &paused());
        assert_eq!(deadline.stopped_with(), Some(MINUTE));
    }
}
