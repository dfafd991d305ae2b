//! Where the nodes are: what registries say, answered from memory.
//!
//! A [`Discovery`] is one source of instances: the built-in [`Registry`](crate::Registry), or a
//! [`WatchedSource`], which watches a [`Backend`] and keeps what it last said. [`Sources`] merges
//! several. A look-up never waits for a registry.
//!
//! When a registry fails, its last view stays, and its [`SourceState`] says how old that is. An
//! answer that is empty, or that loses more than half of the instances, is held until a second
//! answer confirms it and a [`Prober`] finds that the lost instances do not answer either: a
//! registry that forgets is more likely than that all nodes are gone. An instance that says that it
//! stops has deregistered: its loss is believed at once.

mod backend;
mod instance;
mod networks;
mod polled;
mod probe;
mod rules;
mod source_problem;
mod sources;
mod state;
mod static_file;
mod view;
mod watched;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{Environment, NodeId};
use tokio::sync::watch;

pub use self::backend::{Backend, Error, ErrorKind, Snapshot};
pub use self::instance::{Found, Instance, InvalidInstance};
pub use self::networks::{Network, NetworkError, Networks};
pub use self::polled::{Poll, Polled};
pub use self::probe::{Liveness, Prober, TcpProber};
pub use self::rules::{FleetView, SourceRules, StaleSource};
pub use self::source_problem::SourceProblem;
pub use self::sources::{Conflict, MergedInstance, Sources};
pub use self::state::{Condition, Held, LastError, Outcomes, SourceState};
pub use self::static_file::StaticFile;
pub use self::watched::{WatchOptions, WatchedSource};

/// A source of instances.
///
/// # Guarantees
/// All but [`Self::refresh`] answer from memory, at once.
#[async_trait]
pub trait Discovery: Send + Sync + 'static {
    /// Its name, unique among the sources of an engine.
    fn name(&self) -> &str;

    /// What kind of registry it is: `consul`, `static`.
    fn kind(&self) -> &str;

    /// The service whose instances it finds. `None` if it has no services.
    fn service(&self) -> Option<&str> {
        None
    }

    /// All instances, sorted by id.
    fn instances(&self) -> Vec<Arc<Instance>>;

    /// The instance with this id.
    fn instance(&self, id: &NodeId) -> Option<Arc<Instance>> {
        let mut instances = self.instances().into_iter();
        instances.find(|instance| instance.id == *id)
    }

    /// The instances of an environment, sorted by id.
    fn instances_of(&self, environment: &Environment) -> Vec<Arc<Instance>> {
        let mut instances = self.instances();
        instances.retain(|instance| instance.environment.as_ref() == Some(environment));
        instances
    }

    /// How the source is.
    fn state(&self) -> SourceState;

    /// Changes whenever the instances or the condition of the source change. Where only its last
    /// error, or what it counts, is another one, it changes once a second at most.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Asks the registry again, and waits until it has answered or failed.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Why it did not answer. The view stays as it was.
    async fn refresh(&self) -> Result<(), Error>;
}
