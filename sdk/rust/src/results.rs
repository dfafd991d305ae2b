//! What became of one call on many nodes.

use crate::{Act, Error, NodeError, NodeResult, Result};

/// What became of a call, node by node, in the order asked.
///
/// Most strategies say `.all()?`. One that tolerates failures looks closer; nodes
/// that failed count against the environment's policy all the same.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "nodes that failed are only noticed by looking, most simply with `.all()?`"]
pub struct Results {
    act: Act,
    nodes: Vec<NodeResult>,
}

impl Results {
    pub(crate) fn new(act: Act, nodes: Vec<NodeResult>) -> Self {
        Self { act, nodes }
    }

    /// Fine if every node did it.
    ///
    /// # Errors
    /// [`Error::Nodes`], if any did not: it names them, and why.
    pub fn all(self) -> Result {
        self.tolerate(0)
    }

    /// Fine if at most `failures` nodes did not do it.
    ///
    /// # Errors
    /// [`Error::Nodes`], if more did not: it names them, and why.
    pub fn tolerate(self, failures: usize) -> Result {
        let (act, asked) = (self.act, self.nodes.len());
        let failed: Vec<_> = self
            .nodes
            .into_iter()
            .filter_map(|result| result.outcome.err().map(|error| (result.node, error)))
            .collect();
        if failed.len() <= failures {
            Ok(())
        } else {
            Err(Error::Nodes { act, asked, failed })
        }
    }

    /// The nodes that did it.
    pub fn done(&self) -> impl Iterator<Item = &str> {
        self.nodes
            .iter()
            .filter(|result| result.outcome.is_ok())
            .map(|result| result.node.as_str())
    }

    /// The nodes that did not, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &NodeError)> {
        self.nodes.iter().filter_map(|result| {
            result
                .outcome
                .as_ref()
                .err()
                .map(|error| (result.node.as_str(), error))
        })
    }

    /// The answers as they came, one for each node in the order asked.
    #[must_use]
    pub fn into_inner(self) -> Vec<NodeResult> {
        self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::Results;
    use crate::{Act, NodeError, NodeResult};

    fn results() -> Results {
        let refused = || Err(NodeError::Refused("no memory".into()));
        Results::new(
            Act::Stage,
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
    fn those_that_did_can_be_gone_on_with() {
        assert_eq!(results().done().collect::<Vec<_>>(), ["a"]);
        assert_eq!(
            results().failed().map(|(node, _)| node).collect::<Vec<_>>(),
            ["b", "c"]
        );
    }
}
