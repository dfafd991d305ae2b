use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::Environment;

use super::instance::{Instance, InvalidInstance};

/// A registry, as a [`WatchedSource`](super::WatchedSource) asks it.
#[async_trait]
pub trait Backend: Send + 'static {
    /// The instances: without a cursor at once, with one after they have changed, at most after
    /// `patience`. A call that is dropped leaves the backend usable.
    ///
    /// # Errors
    /// [`Error`]. The next call may succeed.
    async fn watch(
        &mut self,
        cursor: Option<String>,
        patience: Duration,
    ) -> Result<Snapshot, Error>;
}

/// All instances at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The instances.
    pub instances: Vec<Instance>,
    /// Those that cannot be nodes.
    pub invalid: Vec<InvalidInstance>,
    /// What the next watch continues from.
    pub cursor: String,
}

impl Snapshot {
    /// Places the instances that name no environment in this one. Those that name another cannot be
    /// its nodes.
    pub(super) fn limit_to(&mut self, environment: &Environment) {
        let instances = std::mem::take(&mut self.instances);
        for mut instance in instances {
            match &instance.environment {
                Some(other) if other != environment => self.invalid.push(InvalidInstance {
                    id: instance.id.to_string(),
                    reason: format!(
                        "it belongs to environment {other}, and the source is for {environment}"
                    ),
                }),
                _ => {
                    instance.environment = Some(environment.clone());
                    self.instances.push(instance);
                }
            }
        }
    }

    /// Keeps the first instance of each id. The others cannot be nodes: which of them was shown would
    /// be chance.
    pub(super) fn drop_repeated(&mut self) {
        let mut ids = BTreeSet::new();
        let instances = std::mem::take(&mut self.instances);
        for instance in instances {
            match ids.insert(instance.id.clone()) {
                true => self.instances.push(instance),
                false => self.invalid.push(InvalidInstance {
                    id: instance.id.to_string(),
                    reason: "another instance of the answer has the same id".to_owned(),
                }),
            }
        }
    }
}

/// Why a registry has not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind, for programs.
    pub kind: ErrorKind,
    /// One or two sentences for people.
    pub message: String,
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// It could not be reached, or did not answer in time.
    Unavailable,
    /// It does not allow the request, or the engine does not.
    Denied,
    /// Its answer makes no sense.
    Protocol,
    /// The backend's configuration cannot be used.
    Config,
    /// The backend crashed, or exceeded a limit. It is restarted.
    Crashed,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Unavailable,
        Self::Denied,
        Self::Protocol,
        Self::Config,
        Self::Crashed,
    ];

    /// The kind in one word, as metrics and the API name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Protocol => "protocol",
            Self::Config => "config",
            Self::Crashed => "crashed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
