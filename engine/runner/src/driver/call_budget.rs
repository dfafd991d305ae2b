//! What a strategy may use in one deployment.

use hotswap_core::{Call, Cause, CauseKind, StrategyLimits};

/// Counts the calls of a strategy against the limits of one deployment. Replayed calls count
/// again, so that a replay ends where the first run did.
pub(super) struct CallBudget {
    max_calls: u32,
    max_bytes: u64,
    calls: u32,
    bytes: u64,
}

impl CallBudget {
    /// The budget of a deployment that pinned these limits.
    pub(super) fn new(limits: &StrategyLimits) -> Self {
        Self {
            max_calls: limits.calls,
            max_bytes: limits.bytes,
            calls: 0,
            bytes: 0,
        }
    }

    /// Counts one more call.
    pub(super) fn spend(&mut self, request: &Call) {
        self.calls = self.calls.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size(request) as u64);
    }

    /// Checks the last call. Only for a new one: a call in the journal was within the budget
    /// when it was made.
    ///
    /// # Errors
    /// [`CauseKind::Limit`] where it exceeds the budget.
    pub(super) fn check(&self) -> Result<(), Cause> {
        let exceeded = if self.calls > self.max_calls {
            format!("made more than {} calls", self.max_calls)
        } else if self.bytes > self.max_bytes {
            format!("passed more than {} bytes in its calls", self.max_bytes)
        } else {
            return Ok(());
        };
        let message = format!("the strategy {exceeded}, the limit for one deployment");
        Err(Cause::new(CauseKind::Limit, message))
    }
}

/// About how many bytes a call takes in the journal.
fn size(call: &Call) -> usize {
    let names: usize = call.named_nodes().map(|node| node.as_str().len() + 3).sum();
    let text = match call {
        Call::Log { message, .. } => message.len(),
        Call::Progress { stage, .. } => stage.len(),
        Call::Approval { prompt, .. } => prompt.len(),
        Call::Probe { request, .. } => {
            request.path.len() + request.expect_body.as_ref().map_or(0, String::len)
        }
        Call::Soak { checks, .. } => checks.iter().map(|check| check.metric.len() + 60).sum(),
        Call::Nodes
        | Call::Stage { .. }
        | Call::Shift { .. }
        | Call::Promote { .. }
        | Call::Revert { .. }
        | Call::Now
        | Call::Sleep { .. } => 0,
    };
    64 + names + text
}

#[cfg(test)]
mod tests {
    use hotswap_core::Level;

    use super::*;

    fn budget(calls: u32, bytes: u64) -> CallBudget {
        CallBudget::new(&StrategyLimits {
            calls,
            bytes,
            ..StrategyLimits::default()
        })
    }

    /// Makes a new call.
    fn spend(budget: &mut CallBudget, call: &Call) -> Result<(), Cause> {
        budget.spend(call);
        budget.check()
    }

    fn log(length: usize) -> Call {
        Call::Log {
            level: Level::Info,
            message: "x".repeat(length),
        }
    }

    #[test]
    fn the_call_after_the_last_one_exceeds_the_budget() {
        let mut budget = budget(2, u64::MAX);
        assert_eq!(spend(&mut budget, &Call::Now), Ok(()));
        assert_eq!(spend(&mut budget, &Call::Now), Ok(()));
        let cause = spend(&mut budget, &Call::Now).unwrap_err();
        assert_eq!(cause.kind, CauseKind::Limit);
        assert_eq!(
            cause.message,
            "the strategy made more than 2 calls, the limit for one deployment"
        );
    }

    #[test]
    fn the_bytes_of_all_calls_add_up() {
        let mut budget = budget(u32::MAX, 2 * (64 + 100));
        assert_eq!(spend(&mut budget, &log(100)), Ok(()));
        assert_eq!(spend(&mut budget, &log(100)), Ok(()));
        let cause = spend(&mut budget, &log(0)).unwrap_err();
        assert_eq!(
            cause.message,
            "the strategy passed more than 328 bytes in its calls, the limit for one deployment"
        );
    }

    #[test]
    fn node_names_count() {
        let nodes = vec!["a".parse().unwrap(), "bcd".parse().unwrap()];
        assert_eq!(size(&Call::Stage { nodes }), 64 + 4 + 6);
    }
}
