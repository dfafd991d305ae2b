use std::fmt;

use super::polled::Polled;
use super::state::{Condition, SourceState};

/// Why a source has no node for an environment, or fewer than its registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceProblem {
    /// The source's name.
    pub source: String,
    /// The reason, as the end of a sentence that begins with the source.
    pub reason: String,
}

impl SourceProblem {
    /// What is wrong with a source, as its state and the engine's own requests to its instances
    /// tell. `None` if nothing is.
    pub(super) fn of(source: &str, state: &SourceState, polled: &Polled) -> Option<Self> {
        let reason = match (&state.condition, &state.last_error) {
            (Condition::Starting | Condition::Stale, Some(error)) => {
                format!("cannot be read: {}", error.message)
            }
            (Condition::Starting, None) => "has not answered yet".to_owned(),
            _ => match (polled.first_failure(source), &state.invalid_example) {
                (Some((id, failure)), _) => format!(
                    "has {} that cannot be used, such as {id}: {failure}",
                    instances(polled.count(source).1)
                ),
                (None, Some(example)) => format!(
                    "has {} that cannot be nodes, such as {example}",
                    instances(state.invalid)
                ),
                (None, None) => return None,
            },
        };
        Some(Self {
            source: source.to_owned(),
            reason,
        })
    }
}

fn instances(count: usize) -> String {
    match count {
        1 => "an instance".to_owned(),
        count => format!("{count} instances"),
    }
}

impl fmt::Display for SourceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source '{}' {}", self.source, self.reason)
    }
}
