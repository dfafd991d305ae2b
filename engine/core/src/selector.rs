//! Label selectors: which nodes a deployment is for. Uses the grammar of Kubernetes.

mod parse;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{LabelKey, LabelValue, NodeLabels};

pub use parse::SelectorError;

/// Chooses nodes by their labels: `zone=eu,tier!=edge`.
///
/// | Condition | A node matches if it |
/// |---|---|
/// | `a=x`, `a==x` | has the label with this value |
/// | `a!=x` | does not have the label with this value; also if it does not have the label |
/// | `a in (x,y)` | has the label with one of these values |
/// | `a notin (x,y)` | has the label with none of these values; also if it does not have the label |
/// | `a` | has the label |
/// | `!a` | does not have the label |
///
/// Commas join conditions; all must hold. Two selectors are equal if they have the same
/// conditions, in any order and spelling; [`fmt::Display`] writes the one form that all of them
/// have, which parses to the same selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    /// At least one, sorted, without repetition.
    requirements: Vec<Requirement>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Requirement {
    key: LabelKey,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Operator {
    In(BTreeSet<LabelValue>),
    NotIn(BTreeSet<LabelValue>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// The most bytes of a selector, as it is written and in its one form.
    pub const MAX_BYTES: usize = 1024;

    /// Whether a node with these labels is selected.
    pub fn matches(&self, labels: NodeLabels<'_>) -> bool {
        self.requirements.iter().all(|one| one.holds(labels))
    }

    fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }
}

impl Requirement {
    fn holds(&self, labels: NodeLabels<'_>) -> bool {
        let value = labels.get(self.key.as_str());
        let is_in = |values: &BTreeSet<LabelValue>| {
            value.is_some_and(|value| values.iter().any(|one| one.as_str() == value))
        };
        match &self.operator {
            Operator::In(values) => is_in(values),
            Operator::NotIn(values) => !is_in(values),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text)
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let (sign, word, values) = match &self.operator {
            Operator::Exists => return write!(f, "{key}"),
            Operator::DoesNotExist => return write!(f, "!{key}"),
            Operator::In(values) => ("=", "in", values),
            Operator::NotIn(values) => ("!=", "notin", values),
        };
        let values: Vec<_> = values.iter().map(LabelValue::as_str).collect();
        match &values[..] {
            [only] => write!(f, "{key}{sign}{only}"),
            values => write!(f, "{key} {word} ({})", values.join(",")),
        }
    }
}

#[cfg(test)]
mod tests;
