//! The outcome of one operation on many nodes.

use crate::{Error, NodeError, NodeResult, Operation, Result};

/// The outcome of one operation on each of several nodes, in the order of the request.
///
/// Most strategies call `.all()?`. A strategy that tolerates failures can look at each node.
/// Nodes that failed count against the environment's policy in any case.
///
/// ```
/// use hotswap_sdk::Operation;
/// use hotswap_sdk::testing::ScriptedFleet;
///
/// let script = ScriptedFleet::new(3).refuse(Operation::Stage, "node-2", "no memory");
/// let (fleet, nodes) = (script.fleet(), script.nodes());
///
/// let staged = fleet.stage(&nodes);
/// let ready: Vec<String> = staged.succeeded().map(str::to_owned).collect();
/// assert_eq!(ready, ["node-1", "node-3"]);
/// staged.tolerate(1)?; // at most one node may fail
/// fleet.promote(&ready).all()?; // no node may fail
/// # Ok::<(), hotswap_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "failed nodes have no effect unless the results are inspected: `.all()?`"]
pub struct Results {
    operation: Operation,
    nodes: Vec<NodeResult>,
}

impl Results {
    pub(crate) fn new(operation: Operation, nodes: Vec<NodeResult>) -> Self {
        Self { operation, nodes }
    }

    /// Checks that the operation succeeded on every node.
    ///
    /// # Errors
    /// [`Error::Nodes`] names the nodes that failed, each with the reason.
    pub fn all(self) -> Result {
        self.tolerate(0)
    }

    /// Checks that the operation failed on at most `failures` nodes.
    ///
    /// # Errors
    /// [`Error::Nodes`] names all nodes that failed, each with the reason.
    pub fn tolerate(self, failures: usize) -> Result {
        let (operation, requested) = (self.operation, self.nodes.len());
        let failed: Vec<_> = self
            .nodes
            .into_iter()
            .filter_map(|result| result.outcome.err().map(|error| (result.node, error)))
            .collect();
        if failed.len() <= failures {
            Ok(())
        } else {
            Err(Error::Nodes {
                operation,
                requested,
                failed,
            })
        }
    }

    /// The nodes on which the operation succeeded.
    pub fn succeeded(&self) -> impl Iterator<Item = &str> {
        self.nodes
            .iter()
            .filter(|result| result.outcome.is_ok())
            .map(|result| result.node.as_str())
    }

    /// The nodes on which the operation succeeded.
    #[must_use]
    pub fn into_succeeded(self) -> Vec<String> {
        let nodes = self.nodes.into_iter();
        let succeeded = nodes.filter(|result| result.outcome.is_ok());
        succeeded.map(|result| result.node).collect()
    }

    /// The nodes on which the operation failed, each with the reason.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &NodeError)> {
        self.nodes.iter().filter_map(|result| {
            result
                .outcome
                .as_ref()
                .err()
                .map(|error| (result.node.as_str(), error))
        })
    }

    /// One result for each node, in the order of the request.
    #[must_use]
    pub fn into_inner(self) -> Vec<NodeResult> {
        self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::Results;
    use crate::{NodeError, NodeResult, Operation};

    fn results() -> Results {
        let refused = || Err(NodeError::Refused("no memory".into()));
        Results::new(
            Operation::Stage,
            vec![
                NodeResult {
                    node: "a".into(),
                    outcome: Ok(()),
                },
                NodeResult {
                    node: "b".into(),
                    outcome: refused(),
                },
                NodeResult {
                    node: "c".into(),
                    outcome: refused(),
                },
            ],
        )
    }

    #[test]
    fn failures_are_errors_unless_tolerated() {
        assert_eq!(results().tolerate(2), Ok(()));
        assert!(results().tolerate(1).is_err());
        assert_eq!(
            results().all().unwrap_err().to_string(),
            "2 of 3 nodes could not stage the new version: b (refused: no memory), \
             c (refused: no memory)"
        );
    }

    #[test]
    fn results_list_succeeded_and_failed_nodes() {
        assert_eq!(results().succeeded().collect::<Vec<_>>(), ["a"]);
        assert_eq!(
            results().failed().map(|(node, _)| node).collect::<Vec<_>>(),
            ["b", "c"]
        );
    }
}
