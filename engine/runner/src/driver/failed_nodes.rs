//! How many nodes may fail.

use std::collections::BTreeSet;

use hotswap_core::{Answer, Cause, CauseKind, Header, NodeId};

/// Failed nodes that a message names; it counts the others.
const NAMED: usize = 5;

/// The nodes that failed at least one operation of a deployment.
#[derive(Default)]
pub(super) struct FailedNodes {
    nodes: BTreeSet<NodeId>,
}

impl FailedNodes {
    /// Adds the nodes that failed by this answer.
    pub(super) fn record(&mut self, answer: &Answer) {
        if let Answer::Nodewise(failures) = answer {
            let nodes = failures.iter().map(|failure| failure.node.clone());
            self.nodes.extend(nodes);
        }
    }

    /// Checks that no more nodes failed than the policy tolerates of `planned` ones.
    ///
    /// # Errors
    /// [`CauseKind::Policy`] where more failed.
    pub(super) fn check(&self, header: &Header, planned: usize) -> Result<(), Cause> {
        let tolerated = header.policy.tolerated_failures.of(planned);
        let failed = self.nodes.len();
        if failed <= tolerated {
            return Ok(());
        }
        let names: Vec<_> = self.nodes.iter().take(NAMED).map(NodeId::as_str).collect();
        let more = match failed - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "{failed} of {planned} nodes failed ({}{more}); the policy of {} tolerates {tolerated}",
            names.join(", "),
            header.environment,
        );
        Err(Cause::new(CauseKind::Policy, message))
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Amount, NodeError, NodeFailure};

    use super::super::fixture;
    use super::*;

    fn failures(names: &[&str]) -> Answer {
        let failure = |name: &&str| NodeFailure {
            node: name.parse().unwrap(),
            error: NodeError::Unhealthy("404".into()),
        };
        Answer::Nodewise(names.iter().map(failure).collect())
    }

    fn check(failed: &FailedNodes, tolerated: Amount) -> Result<(), Cause> {
        let mut header = fixture::header();
        header.policy.tolerated_failures = tolerated;
        failed.check(&header, 10)
    }

    #[test]
    fn a_node_that_fails_twice_counts_once() {
        let mut failed = FailedNodes::default();
        assert_eq!(check(&failed, Amount::Count(0)), Ok(()));
        failed.record(&Answer::Done);
        failed.record(&failures(&["a", "b"]));
        failed.record(&failures(&["b"]));
        assert_eq!(check(&failed, Amount::Percent(20)), Ok(()));
        let cause = check(&failed, Amount::Count(1)).unwrap_err();
        assert_eq!(cause.kind, CauseKind::Policy);
        assert_eq!(
            cause.message,
            "2 of 10 nodes failed (a, b); the policy of production tolerates 1"
        );
    }

    #[test]
    fn the_message_counts_the_nodes_that_it_does_not_name() {
        let mut failed = FailedNodes::default();
        failed.record(&failures(&["g", "f", "e", "d", "c", "b", "a"]));
        let cause = check(&failed, Amount::Count(0)).unwrap_err();
        assert_eq!(
            cause.message,
            "7 of 10 nodes failed (a, b, c, d, e and 2 more); the policy of production tolerates 0"
        );
    }
}
