//! The end of a deployment that did not succeed: every changed node is reverted.

use hotswap_core::{EventBody, NodeFailure, Outcome, ReplayState, Step};

use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::node_operations::NodeOperations;
use super::revert_queue::RevertQueue;
use super::timers::Timers;
use super::wait_scope::Interrupt;
use crate::metrics::count_revert;

/// Journals the result of a step: its event, where it has one, or that the deployment is
/// being reverted, where the step was interrupted.
pub(super) async fn append_or_begin(
    writer: &mut JournalWriter,
    result: Result<Option<EventBody>, Interrupt>,
) -> Result<(), Error> {
    match result {
        Ok(Some(body)) => writer.push(body),
        Ok(None) => {}
        // An admin's request to terminate the deployment has begun it, or another deployment
        // superseded this one before it began.
        Err(Interrupt::Fail(_))
            if matches!(
                writer.tail().lifecycle.step,
                Step::Reverting | Step::Ended(_)
            ) => {}
        Err(Interrupt::Fail(cause)) => {
            count_revert(cause.kind);
            writer.push(EventBody::Reverting { cause });
        }
        Err(Interrupt::Journal(error)) => return Err(error),
    }
    writer.flush().await
}

/// Reverts every changed node, retrying for as long as the policy says, and journals the end.
///
/// The policy's `maxUnavailable` does not limit it. A revert is a swap in place, which drops no
/// request, and each node that waits for its turn serves a version that was rejected.
pub(super) async fn revert(
    context: &DriverContext,
    timers: &Timers,
    mut writer: JournalWriter,
    state: ReplayState,
) -> Result<(), Error> {
    // With a new fence, nodes ignore orders of the strategy that are still under way.
    writer.renew_lease().await?;
    let policy = &state.header.policy;
    let patience = timers.revert_patience(state.reverting_since, policy.revert_patience);
    let operations = NodeOperations {
        fleet: context.fleet.as_ref(),
        deployment: state.header.id,
        environment: &state.header.environment,
        module: &state.header.module,
        plan: &state.nodes,
        concurrency: context.limits.fan_out,
        fence: writer.fence(),
    };
    let changed = state.changed();
    let queue = RevertQueue::new(timers, (&operations, &context.retries), patience, &changed);
    let unreverted = queue.run().await?;
    let outcome = outcome(changed.len(), &unreverted.failed);
    writer.push(EventBody::Ended {
        outcome,
        failures: unreverted.into_failures(),
        not_updated: Vec::new(),
    });
    writer.flush().await
}

/// Where no node was touched, there was nothing to roll back: the deployment just failed.
pub(super) fn outcome(touched: usize, failures: &[NodeFailure]) -> Outcome {
    if touched > 0 && failures.is_empty() {
        Outcome::RolledBack
    } else {
        Outcome::Failed
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::NodeError;

    use super::*;

    #[test]
    fn a_deployment_is_rolled_back_only_when_every_touched_node_is_reverted() {
        let failure = NodeFailure {
            node: "a".parse().unwrap(),
            error: NodeError::Unreachable("no answer".into()),
        };
        assert_eq!(outcome(2, &[]), Outcome::RolledBack);
        assert_eq!(outcome(2, &[failure]), Outcome::Failed);
        assert_eq!(outcome(0, &[]), Outcome::Failed);
    }
}
