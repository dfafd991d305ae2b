//! Why a strategy gives up.

use std::fmt;

use crate::{Act, Decision, NodeError, Span, Verdict};

/// How many nodes a sentence names before it counts the rest: a fleet of thousands
/// that fails as one must not fill the log.
const NAMED: usize = 5;

/// What a strategy comes to: nothing to say, or the reason for which the rollout is
/// taken back.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a strategy gives up. The text is one sentence, and people read it as the
/// reason of the rollback. A strategy's own reasons come in by `?` from a string.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// Nodes did not do what they were asked.
    Nodes {
        /// What they were asked.
        act: Act,
        /// How many were asked.
        asked: usize,
        /// Those that did not, and why; in the order asked.
        failed: Vec<(String, NodeError)>,
    },
    /// Nodes that run the new version no longer report in.
    Gone(Vec<String>),
    /// The new version did worse than was allowed, or too little was seen of it.
    Verdict(Verdict),
    /// A person did not approve, or nobody did in time.
    NotApproved {
        /// What was decided.
        decision: Decision,
        /// How long it was waited for.
        timeout: Span,
    },
    /// The configuration does not make sense.
    Config(String),
    /// A reason of the strategy's own.
    Message(String),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes { act, failed, .. } if failed.len() == 1 => {
                let (node, reason) = &failed[0];
                write!(f, "{node} {}: {reason}", act.failure())
            }
            Self::Nodes { act, asked, failed } => {
                write!(f, "{} of {asked} nodes {}: ", failed.len(), act.failure())?;
                list(f, failed, |f, (node, reason)| {
                    write!(f, "{node} ({reason})")
                })
            }
            Self::Gone(nodes) => {
                list(f, nodes, |f, node| f.write_str(node))?;
                let verb = if nodes.len() == 1 {
                    "reports"
                } else {
                    "report"
                };
                write!(f, " no longer {verb} in since the new version runs there")
            }
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::NotApproved { decision, timeout } if decision.by.is_empty() => {
                write!(f, "nobody approved within {timeout}")
            }
            Self::NotApproved { decision, .. } => {
                write!(f, "{} did not approve", decision.by)?;
                match &decision.comment {
                    Some(comment) => write!(f, ": {comment}"),
                    None => Ok(()),
                }
            }
            Self::Config(reason) => write!(f, "the configuration does not fit: {reason}"),
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

/// Writes the first few, and how many more there are.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    write_one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, one) in all.iter().take(NAMED).enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_one(f, one)?;
    }
    match all.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use crate::{Act, Decision, NodeError, Span};

    #[test]
    fn many_failed_nodes_are_named_up_to_a_point() {
        let failed = |n: usize| {
            (1..=n)
                .map(|i| (format!("n{i}"), NodeError::Refused("full".into())))
                .collect()
        };
        let error = Error::Nodes {
            act: Act::Promote,
            asked: 9,
            failed: failed(2),
        };
        assert_eq!(
            error.to_string(),
            "2 of 9 nodes could not promote the new version: n1 (refused: full), n2 (refused: full)"
        );
        let error = Error::Nodes {
            act: Act::Probe,
            asked: 9,
            failed: failed(7),
        };
        assert!(
            error.to_string().ends_with("n5 (refused: full) and 2 more"),
            "{error}"
        );
    }

    #[test]
    fn an_approval_that_never_came_is_told_from_a_refusal() {
        let decision = Decision {
            approved: false,
            by: String::new(),
            comment: None,
        };
        let error = Error::NotApproved {
            decision,
            timeout: Span::hours(1),
        };
        assert_eq!(error.to_string(), "nobody approved within 1h");
        let decision = Decision {
            approved: false,
            by: "ann".into(),
            comment: Some("too late today".into()),
        };
        let error = Error::NotApproved {
            decision,
            timeout: Span::hours(1),
        };
        assert_eq!(error.to_string(), "ann did not approve: too late today");
    }
}
