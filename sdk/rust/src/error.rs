//! Why a strategy fails.

use std::fmt;

use crate::{Decision, NodeError, Operation, Span, Verdict};

/// How many nodes an error names before it counts the rest. An error of a fleet of thousands
/// must not fill the log.
const NAMED_NODES: usize = 5;

/// The result of a strategy. An error rolls the deployment back.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a strategy fails. People read the text, which is one sentence, as the reason of the
/// rollback.
///
/// A string converts into an error, so a strategy can give a reason of its own:
///
/// ```
/// use hotswap_sdk::{Node, Plan, Result};
///
/// fn nodes_in_zone<'a>(plan: &'a Plan<()>, zone: &str) -> Result<Vec<&'a Node>> {
///     let nodes: Vec<_> = plan
///         .nodes
///         .iter()
///         .filter(|node| node.zone.as_deref() == Some(zone))
///         .collect();
///     if nodes.is_empty() {
///         return Err(format!("no node in zone {zone}").into());
///     }
///     Ok(nodes)
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An operation failed on some nodes.
    Nodes {
        /// The operation.
        operation: Operation,
        /// How many nodes it was requested on.
        requested: usize,
        /// The nodes on which it failed, each with the reason, in the order of the request.
        failed: Vec<(String, NodeError)>,
    },
    /// Nodes that run the new version stopped reporting in.
    Gone(Vec<String>),
    /// A check failed, or there was too little data to judge it.
    Verdict(Verdict),
    /// A person rejected, or the timeout passed without a decision.
    NotApproved {
        /// The decision. `by` is empty if the timeout passed.
        decision: Decision,
        /// How long the strategy was prepared to wait.
        timeout: Span,
    },
    /// The configuration is invalid in a way that its schema does not express.
    Config(String),
    /// A reason that the strategy gives itself.
    Message(String),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes {
                operation, failed, ..
            } if failed.len() == 1 => {
                let (node, reason) = &failed[0];
                write!(f, "{node} {}: {reason}", operation.failure())
            }
            Self::Nodes {
                operation,
                requested,
                failed,
            } => {
                let count = failed.len();
                write!(f, "{count} of {requested} nodes {}: ", operation.failure())?;
                list(f, failed, |f, (node, reason)| {
                    write!(f, "{node} ({reason})")
                })
            }
            Self::Gone(nodes) => {
                list(f, nodes, |f, node| f.write_str(node))?;
                f.write_str(" stopped reporting in after the switch to the new version")
            }
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::NotApproved { decision, timeout } if decision.by.is_empty() => {
                write!(f, "no approval within {timeout}")
            }
            Self::NotApproved { decision, .. } => {
                write!(f, "rejected by {}", decision.by)?;
                match &decision.comment {
                    Some(comment) => write!(f, ": {comment}"),
                    None => Ok(()),
                }
            }
            Self::Config(reason) => write!(f, "the configuration is invalid: {reason}"),
            Self::Message(reason) => f.write_str(reason),
        }
    }
}

impl From<String> for Error {
    fn from(reason: String) -> Self {
        Self::Message(reason)
    }
}

impl From<&str> for Error {
    fn from(reason: &str) -> Self {
        Self::Message(reason.to_owned())
    }
}

/// Writes the first few items, and counts the rest.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    write_one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, one) in all.iter().take(NAMED_NODES).enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_one(f, one)?;
    }
    match all.len().saturating_sub(NAMED_NODES) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use crate::{Decision, NodeError, Operation, Span};

    #[test]
    fn error_names_the_first_failed_nodes_and_counts_the_rest() {
        let failed = |n: usize| {
            (1..=n)
                .map(|i| (format!("n{i}"), NodeError::Refused("full".into())))
                .collect()
        };
        let error = Error::Nodes {
            operation: Operation::Promote,
            requested: 9,
            failed: failed(2),
        };
        assert_eq!(
            error.to_string(),
            "2 of 9 nodes could not promote the new version: n1 (refused: full), n2 (refused: full)"
        );
        let error = Error::Nodes {
            operation: Operation::Probe,
            requested: 9,
            failed: failed(7),
        };
        assert!(
            error.to_string().ends_with("n5 (refused: full) and 2 more"),
            "{error}"
        );
    }

    #[test]
    fn error_distinguishes_a_timeout_from_a_rejection() {
        let decision = Decision {
            approved: false,
            by: String::new(),
            comment: None,
        };
        let error = Error::NotApproved {
            decision,
            timeout: Span::hours(1),
        };
        assert_eq!(error.to_string(), "no approval within 1h");
        let decision = Decision {
            approved: false,
            by: "ann".into(),
            comment: Some("too late today".into()),
        };
        let error = Error::NotApproved {
            decision,
            timeout: Span::hours(1),
        };
        assert_eq!(error.to_string(), "rejected by ann: too late today");
    }
}
