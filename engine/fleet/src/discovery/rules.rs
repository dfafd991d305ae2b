use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotswap_core::Environment;

use super::networks::Networks;
use super::polled::Polled;
use super::source_problem::SourceProblem;
use super::sources::Sources;
use super::state::{Condition, SourceState};

/// What an operator has decided about a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceRules {
    /// The networks that its nodes may be in.
    pub networks: Networks,
    /// The only environment that its nodes may belong to. `None` for all.
    pub environment: Option<Environment>,
    /// How old its view may be for a new deployment, while its registry fails. `None` for any age.
    pub max_age: Option<Duration>,
}

/// The sources of an engine with their rules: what it may conclude from them.
#[derive(Debug, Clone)]
pub struct FleetView {
    /// The sources.
    pub sources: Sources,
    /// Their rules, by their names.
    pub rules: BTreeMap<String, SourceRules>,
    /// Whether their instances have answered this engine.
    pub polled: Polled,
    /// Before it, nothing can have answered.
    pub since: Instant,
}

/// A source whose registry has failed for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleSource {
    /// Its name.
    pub name: String,
    /// How old its view is; how long the engine has waited for the first.
    pub age: Duration,
    /// How old it may be.
    pub max_age: Duration,
    /// Why the registry failed last.
    pub reason: Option<String>,
}

impl SourceRules {
    fn allow(&self, environment: &Environment) -> bool {
        let only = self.environment.as_ref();
        only.is_none_or(|only| only == environment)
    }
}

impl FleetView {
    /// The first source for an environment whose view is too old. `None` if there is none.
    pub fn stale_source(&self, environment: &Environment, now: Instant) -> Option<StaleSource> {
        self.sources.iter().find_map(|source| {
            let rules = self.rules.get(source.name())?;
            let max_age = rules.max_age?;
            if !rules.allow(environment) {
                return None;
            }
            let state = source.state();
            let age = self.failing_for(&state, now)?;
            (age > max_age).then(|| StaleSource {
                name: source.name().to_owned(),
                age,
                max_age,
                reason: state.last_error.map(|error| error.message),
            })
        })
    }

    /// What is wrong with the sources that may have nodes for an environment.
    pub fn problems(&self, environment: &Environment) -> Vec<SourceProblem> {
        let problem = |source: &std::sync::Arc<dyn super::Discovery>| {
            let rules = self.rules.get(source.name())?;
            let is_relevant = rules.allow(environment);
            is_relevant.then(|| SourceProblem::of(source.name(), &source.state(), &self.polled))?
        };
        self.sources.iter().filter_map(problem).collect()
    }

    fn failing_for(&self, state: &SourceState, now: Instant) -> Option<Duration> {
        match state.condition {
            Condition::Healthy | Condition::Held => None,
            Condition::Stale => state.age,
            Condition::Starting => Some(now.saturating_duration_since(self.since)),
        }
    }
}
