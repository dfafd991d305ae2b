use std::collections::BTreeMap;

use hotswap_fleet::discovery::{
    Condition, Conflict, Discovery, ErrorKind, Held, LastError, MergedInstance, Poll,
};
use poem_openapi::{Enum, Object};

use super::node::Health;

/// The sources that know of nodes. Where two disagree about a node, the first one counts.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct DiscoverySources {
    /// The sources.
    pub sources: Vec<DiscoverySource>,
    /// The instances of the service that was asked for, in all of these sources, sorted by id.
    /// Absent: the request names no service.
    pub instances: Option<Vec<DiscoveredInstance>>,
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
    /// Whether the source answers, and whether its answer is used.
    pub condition: SourceCondition,
    /// The age of the view: how long ago the registry last confirmed it, in milliseconds. Absent:
    /// it has not answered since the engine started.
    pub age_millis: Option<u64>,
    /// The number of instances in the view.
    pub instances: u64,
    /// How many of them the registry says are passing.
    pub passing: u64,
    /// How many instances of the registry's last answer are invalid, and were ignored: an address is
    /// missing, for example.
    pub invalid: u64,
    /// One of those, with the reason.
    pub invalid_example: Option<String>,
    /// An answer that has no effect yet, because most of the instances are missing in it.
    pub held: Option<HeldAnswer>,
    /// The last failure of the registry. It stays here after the registry answers again.
    pub last_error: Option<SourceError>,
}

/// Whether a source answers, and whether its answer is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "Condition")]
pub(crate) enum SourceCondition {
    /// The registry has not answered yet.
    Starting,
    /// The view is what the registry last said.
    Healthy,
    /// The registry does not answer. The view is what it said before.
    Stale,
    /// The registry's last answer is held. The view is what it says, and what it has lost.
    Held,
}

/// An answer that has no effect yet. It takes effect once a second answer says the same, and the
/// missing instances do not answer the engine.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct HeldAnswer {
    /// The number of instances that it has.
    pub instances: u64,
    /// The number of instances that are in the view, and missing in the answer.
    pub lost: u64,
    /// How many of the missing ones answer the engine. Absent: the engine has not asked them yet.
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
    /// The discovery component crashed, or exceeded a limit. It is restarted.
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
    /// The zone of the node, if the registry says so.
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
    /// The outcome of the engine's own request to the node. Absent: the engine has sent none, because
    /// the node reports in by itself, or was found just now.
    pub poll: Option<InstancePoll>,
    /// The names of all sources that have found it. The fields here are from the first.
    pub sources: Vec<String>,
    /// The fields in which another source differs.
    pub conflicts: Vec<SourceConflict>,
}

/// The outcome of the engine's request to an instance that it knows from a registry alone.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct InstancePoll {
    /// Whether it has answered, has proven that it is a node of this engine, and was taken as one.
    pub ok: bool,
    /// Why not, in one sentence.
    pub reason: Option<String>,
    /// When the request was sent.
    pub at: u64,
    /// The source that its address is from.
    pub source: String,
}

/// What a source says of an instance that another one contradicts.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct SourceConflict {
    /// The field.
    pub field: String,
    /// The source whose value is not used.
    pub source: String,
    /// Its value.
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
            field: conflict.field,
            source: conflict.source,
            says: conflict.says,
        }
    }
}
