//! What goes into a run and what comes out of it.

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Cause, DeploymentId, Environment, ModuleVersion, Node, StrategyLimits,
};
use serde_json::Value;

/// What to roll out, and where, and what the strategy may use for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The environment of the deployment.
    pub environment: Environment,
    /// The module version to roll out.
    pub module: ModuleVersion,
    /// The nodes to roll it out to, sorted by id.
    pub nodes: Vec<Node>,
    /// Configuration of the strategy: valid against its schema, defaults included.
    pub config: Value,
    /// The limits of this run. The fuel and the memory count here; whoever answers the calls
    /// counts them.
    pub limits: StrategyLimits,
}

/// Answers the calls of a strategy. The runner, a replay and a simulation implement it.
#[async_trait]
pub trait CallHandler: Send {
    /// Answers one call. The answer must be of the variant that belongs to the call.
    ///
    /// # Errors
    /// [`Stop`] ends the run instead of answering.
    async fn call(&mut self, call: Call) -> Result<Answer, Stop>;

    /// Whether the strategy has made its next call before. It was within the limit of fuel
    /// then, so that does not end the run before the call.
    fn is_replaying(&self) -> bool {
        false
    }

    /// Whether the strategy may compute on the thread that polls the run, for one slice of fuel
    /// (10 million units, some milliseconds) at a time. A strategy that computes for longer
    /// between two calls moves to the host's own threads. Only where that thread serves no
    /// requests: say no if in doubt.
    fn may_compute_here(&self) -> bool {
        false
    }

    /// What answers calls before they are passed to [`Self::call`]. Asked for at the start of a
    /// run.
    fn ready_answers(&self) -> Option<Arc<dyn ReadyAnswers>> {
        None
    }
}

/// Answers the calls whose answers are at hand, on the thread where the strategy computes. Passing
/// such a call to the caller's task and its answer back would take longer than all else.
pub trait ReadyAnswers: Send + Sync {
    /// The answer to the next call, of the variant that belongs to it. `None` passes the call to
    /// [`CallHandler::call`].
    fn answer(&self, call: &Call) -> Option<Answer>;

    /// As [`CallHandler::is_replaying`].
    fn is_replaying(&self) -> bool {
        false
    }
}

/// Why a [`CallHandler`] ends a run. The strategy has no say in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The wait will be long. Drop the instance, and run the strategy again from the top
    /// later.
    Suspend,
    /// The deployment does not succeed.
    Fail(Cause),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The strategy returned `ok`.
    Succeeded,
    /// The strategy returned this error.
    Failed(String),
    /// The strategy crashed or exceeded a limit. The cause explains it to a person.
    Trapped(Cause),
    /// The [`CallHandler`] ended the run.
    Stopped(Stop),
    /// The strategy did not start: the machine has no memory or address space for another
    /// instance. Not the strategy's fault: try again. Says what was missing.
    NoRoom(String),
}

/// Why a guest function did not return.
pub(crate) enum RunError {
    /// The guest crashed or exceeded a limit.
    Trapped(Cause),
    /// The [`CallHandler`] ended the run.
    Stopped(Stop),
    /// The guest did not start because the pool has no free slot.
    PoolFull,
    /// The guest did not start because the machine has no room, for this reason.
    NoRoom(String),
}

/// Marks the error of a guest that was not instantiated, though it is not at fault.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the strategy cannot be instantiated")]
pub(crate) struct NotInstantiated;
