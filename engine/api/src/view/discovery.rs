use std::collections::BTreeMap;

use hotswap_fleet::discovery::{
    Condition, Conflict, Discovery, ErrorKind, Held, LastError, MergedInstance, Poll,
};
use poem_openapi::{Enum, Object};

use super::node::Health;

/// The sources that know of nodes, in the order in which they count.
#[derive(Debug, Clone, Object)]
pub(crate) struct DiscoverySources {
    /// The sources.
    pub sources: Vec<DiscoverySource>,
}

/// A source with what it has found.
#[derive(Debug, Clone, Object)]
pub(crate) struct DiscoverySourceDetail {
    /// The source.
    pub source: DiscoverySource,
    /// The instances that it has found, sorted by id.
    pub instances: Vec<DiscoveredInstance>,
}

/// A registry that knows of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DiscoverySource {
    /// The name of the source in the configuration; `built-in` for the engine's own registry.
    pub name: String,
    /// What kind of registry it is, such as `consul`.
    pub kind: String,
    /// The service whose instances it finds. Absent: it has no services.
    pub service: Option<String>,
    /// How the source is.
    pub condition: SourceCondition,
    /// How long ago the registry last said what the view shows, in milliseconds. Absent: it has
    /// not answered since the engine started.
    pub age_millis: Option<u64>,
    /// The number of instances in the view.
    pub instances: u64,
    /// How many of them the registry says are passing.
    pub passing: u64,
    /// How many instances of the registry's last answer cannot be nodes.
    pub invalid: u64,
    /// One of those, with the reason.
    pub invalid_example: Option<String>,
    /// An answer that is not believed yet, because it has lost most of the instances.
    pub held: Option<HeldAnswer>,
    /// Why the registry last failed, also if it has answered since.
    pub last_error: Option<SourceError>,
}

/// How a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "Condition")]
pub(crate) enum SourceCondition {
    /// The registry has not answered yet.
    Starting,
    /// The view is what the registry last said.
    Healthy,
    /// The registry does not answer. The view is what it said before.
    Stale,
    /// The registry's last answer is held. The view is what it said before.
    Held,
}

/// An answer that is not believed yet: it needs a second one that says the same, and the lost
/// instances must not answer the engine.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct HeldAnswer {
    /// The number of instances that it has.
    pub instances: u64,
    /// The number of instances of the view that it has lost.
    pub lost: u64,
    /// How many of those answer the engine. Absent: they have not been asked.
    pub alive: Option<u64>,
}

/// Why a registry has failed.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct SourceError {
    /// The kind of reason.
    pub kind: SourceErrorKind,
    /// One or two sentences.
    pub message: String,
    /// When it failed.
    pub at: u64,
}

/// The kinds of reasons why a registry fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "ErrorKind")]
pub(crate) enum SourceErrorKind {
    /// It could not be reached, or did not answer in time.
    Unavailable,
    /// It does not allow the request, or the engine does not.
    Denied,
    /// Its answer makes no sense.
    Protocol,
    /// The configuration of the source cannot be used.
    Config,
    /// The discovery component crashed, or exceeded a limit. It is started anew.
    Crashed,
}

/// An instance that a source has found.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DiscoveredInstance {
    /// The id of the node.
    pub id: String,
    /// The environment that the registry names, if it does.
    pub environment: Option<String>,
    /// Where the node stands, if the registry says so.
    pub zone: Option<String>,
    /// The version of its software, if the registry says so.
    pub version: Option<String>,
    /// Further keys and values of the registry.
    pub labels: BTreeMap<String, String>,
    /// The URL where it takes orders, if the registry names one.
    pub control_url: Option<String>,
    /// The URL where it serves requests, if the registry names one.
    pub data_url: Option<String>,
    /// What the registry says of its health.
    pub health: Health,
    /// What came of the engine's own question. Absent: it was not asked, because it reports in by
    /// itself, or was just found.
    pub poll: Option<InstancePoll>,
    /// The names of all sources that have found it. What is shown here is what the first says.
    pub sources: Vec<String>,
    /// Where another source says something else.
    pub conflicts: Vec<SourceConflict>,
}

/// What came of asking an instance that only a registry knows.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct InstancePoll {
    /// Whether it has answered, has proven that it is a node of this engine, and was taken as one.
    pub ok: bool,
    /// Why not, in one sentence.
    pub reason: Option<String>,
    /// When it was asked last.
    pub at: u64,
    /// The source that has named its address.
    pub source: String,
}

/// What a source says of an instance that another one contradicts.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct SourceConflict {
    /// The field.
    pub field: String,
    /// The source that is not believed.
    pub source: String,
    /// What it says.
    pub says: String,
}

impl DiscoverySource {
    /// The source as it is now.
    pub fn of(source: &dyn Discovery) -> Self {
        let state = source.state();
        Self {
            name: source.name().to_owned(),
            kind: source.kind().to_owned(),
            service: source.service().map(str::to_owned),
            condition: state.condition.into(),
            age_millis: state
                .age
                .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            instances: state.instances as u64,
            passing: state.passing as u64,
            invalid: state.invalid as u64,
            invalid_example: state.invalid_example,
            held: state.held.map(Into::into),
            last_error: state.last_error.map(Into::into),
        }
    }
}

impl From<Held> for HeldAnswer {
    fn from(held: Held) -> Self {
        Self {
            instances: held.instances as u64,
            lost: held.lost as u64,
            alive: held.alive.map(|alive| alive as u64),
        }
    }
}

impl From<LastError> for SourceError {
    fn from(error: LastError) -> Self {
        Self {
            kind: error.kind.into(),
            message: error.message,
            at: error.at.millis(),
        }
    }
}

impl DiscoveredInstance {
    /// An instance, and what came of asking it.
    pub fn new(merged: MergedInstance, poll: Option<Poll>) -> Self {
        let instance = &merged.instance;
        Self {
            id: instance.id.to_string(),
            environment: instance.environment.as_ref().map(ToString::to_string),
            zone: instance.zone.clone(),
            version: instance.version.clone(),
            labels: instance.labels.clone(),
            control_url: instance.control_url.clone(),
            data_url: instance.data_url.clone(),
            health: instance.health.into(),
            poll: poll.map(Into::into),
            sources: merged.sources,
            conflicts: merged.conflicts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Poll> for InstancePoll {
    fn from(poll: Poll) -> Self {
        Self {
            ok: poll.failure.is_none(),
            reason: poll.failure.as_deref().map(str::to_owned),
            at: poll.at.millis(),
            source: poll.source.to_string(),
        }
    }
}

impl From<Conflict> for SourceConflict {
    fn from(conflict: Conflict) -> Self {
        Self {
            field: conflict.field.to_owned(),
            source: conflict.source,
            says: conflict.says,
        }
    }
}
