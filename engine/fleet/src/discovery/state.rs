use std::collections::BTreeMap;
use std::time::Duration;

use hotswap_core::Timestamp;

use super::backend::ErrorKind;

/// How a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Its condition.
    pub condition: Condition,
    /// How long ago the registry last said what the view shows. `None` before its first answer.
    pub age: Option<Duration>,
    /// Why it last failed, also if it has answered since.
    pub last_error: Option<LastError>,
    /// How many instances the view has.
    pub instances: usize,
    /// How many of them are passing.
    pub passing: usize,
    /// How many instances of the last answer cannot be nodes.
    pub invalid: usize,
    /// One of those, with the reason.
    pub invalid_example: Option<String>,
    /// An answer that waits to be confirmed.
    pub held: Option<Held>,
    /// How often the registry was asked since the engine started.
    pub outcomes: Outcomes,
}

/// How often a registry was asked, by how that ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// It answered.
    pub answered: u64,
    /// It failed. The backend is restarted after each crash.
    pub failed: BTreeMap<ErrorKind, u64>,
}

/// The condition of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The registry has not answered yet.
    Starting,
    /// The view is what the registry last said.
    Healthy,
    /// The registry does not answer. The view is what it said before.
    Stale,
    /// The registry has lost so much that its answer is held. The view is what it says, and what it
    /// has lost.
    Held,
}

/// Why a registry has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// The kind of reason.
    pub kind: ErrorKind,
    /// One or two sentences for people.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// An answer that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How many instances it has.
    pub instances: usize,
    /// How many of the view's it has lost.
    pub lost: usize,
    /// How many of those still answer the engine; `None` before they were asked.
    pub alive: Option<usize>,
}
