//! How many nodes may fail.

use std::collections::BTreeMap;

use hotswap_core::{Answer, Cause, CauseKind, Header, NodeError, NodeFailure, NodeId};

use super::call_limits::leaves_open;

/// Nodes that a message names; it counts the others.
const NAMED: usize = 5;

/// The nodes that failed at least one operation of a deployment, each with its last error.
#[derive(Debug, Clone, Default)]
pub(super) struct FailedNodes {
    nodes: BTreeMap<NodeId, NodeError>,
}

impl FailedNodes {
    /// Adds the nodes that failed by this answer.
    pub(super) fn record(&mut self, answer: &Answer) {
        if let Answer::Nodewise(failures) = answer {
            self.record_all(failures);
        }
    }

    /// Adds these nodes.
    pub(super) fn record_all(&mut self, failures: &[NodeFailure]) {
        let nodes = failures.iter();
        let nodes = nodes.map(|failure| (failure.node.clone(), failure.error.clone()));
        self.nodes.extend(nodes);
    }

    /// The nodes that failed.
    pub(super) fn ids(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.keys()
    }

    /// The nodes whose last order has an unknown outcome.
    pub(super) fn unclear(&self) -> impl Iterator<Item = &NodeId> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(_, error)| leaves_open(error))
            .map(|(node, _)| node)
    }

    /// Checks that no more nodes failed than the policy tolerates of the `total` ones in the
    /// environment.
    ///
    /// # Errors
    /// [`CauseKind::Policy`] where more failed.
    pub(super) fn check(&self, header: &Header, total: usize) -> Result<(), Cause> {
        let tolerated = header.policy.tolerated_failures.of(total);
        let failed = self.nodes.len();
        if failed <= tolerated {
            return Ok(());
        }
        let names = name_failures(&self.nodes);
        let message = format!(
            "{failed} of {total} nodes failed: {names}; the policy of {} tolerates {tolerated}",
            header.environment,
        );
        Err(Cause::new(CauseKind::Policy, message))
    }
}

/// The first nodes, and the number of the others.
pub(super) fn name_nodes<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    join(nodes.into_iter().map(ToString::to_string))
}

/// The first nodes, each with its error, and the number of the others.
pub(super) fn name_failures<'a>(
    failures: impl IntoIterator<Item = (&'a NodeId, &'a NodeError)>,
) -> String {
    let failures = failures.into_iter();
    join(failures.map(|(node, error)| format!("{node} ({error})")))
}

fn join(mut texts: impl Iterator<Item = String>) -> String {
    let named: Vec<_> = texts.by_ref().take(NAMED).collect();
    let more = match texts.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use hotswap_core::Amount;

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
            "2 of 10 nodes failed: a (unhealthy: 404), b (unhealthy: 404); the policy of production \
             tolerates 1"
        );
    }

    #[test]
    fn the_message_counts_the_nodes_that_it_does_not_name() {
        let mut failed = FailedNodes::default();
        failed.record(&failures(&["g", "f", "e", "d", "c", "b", "a"]));
        let cause = check(&failed, Amount::Count(0)).unwrap_err();
        assert_eq!(
            cause.message,
            "7 of 10 nodes failed: a (unhealthy: 404), b (unhealthy: 404), c (unhealthy: 404), \
             d (unhealthy: 404), e (unhealthy: 404) and 2 more; the policy of production tolerates 0"
        );
    }
}
