use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Cause, DeploymentId, Digest, Environment, ModuleVersion, Node, StrategyName,
};
use semver::Version;
use serde_json::Value;

use crate::convert;
use crate::drive::End;
use crate::end::cut;
use crate::program::Program;
use crate::schema::{ConfigError, ConfigSchema};

/// What answers the calls of a strategy: the runner, a replay, a simulation.
#[async_trait]
pub trait Calls: Send {
    /// Answers one call, with the answer that fits it, or ends the run.
    async fn call(&mut self, call: Call) -> Result<Answer, Stop>;
}

/// Why a run is to end without the strategy's consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It will wait for long: give the instance back, and run it again from the top later.
    Suspend,
    /// The deployment does not succeed.
    Fail(Cause),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The strategy returned ok.
    Succeeded,
    /// The strategy returned this error.
    Refused(String),
    /// It crashed, or used more than it may; the cause tells a person what happened.
    Trapped(Cause),
    /// The calls ended it.
    Stopped(Stop),
}

/// What a strategy says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// How requests name it.
    pub name: StrategyName,
    /// Its own version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema (2020-12) of its configuration.
    pub config_schema: Value,
}

/// What is to be rolled out, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its environment.
    pub environment: Environment,
    /// What to roll out.
    pub module: ModuleVersion,
    /// Where, sorted by id.
    pub nodes: Vec<Node>,
    /// Valid by the strategy's schema, defaults filled in.
    pub config: Value,
}

/// A strategy, compiled and linked. Cheap to clone; each run has an instance of its own.
#[derive(Clone)]
pub struct Strategy {
    inner: Arc<Inner>,
}

struct Inner {
    digest: Digest,
    wit: Version,
    descriptor: Descriptor,
    schema: ConfigSchema,
    program: Program,
}

impl Strategy {
    pub(crate) fn new(
        digest: Digest,
        wit: Version,
        descriptor: Descriptor,
        schema: ConfigSchema,
        program: Program,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                digest,
                wit,
                descriptor,
                schema,
                program,
            }),
        }
    }

    /// Of the component.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// What it says of itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }

    /// The version of the contract that it was built for.
    pub fn wit(&self) -> &Version {
        &self.inner.wit
    }

    /// What a request says of the configuration, with the defaults of the strategy's schema
    /// for what it does not say, in nested objects too. Nothing, or null, is all defaults.
    ///
    /// # Errors
    /// Every place where it does not fit the schema.
    pub fn configure(&self, config: Option<Value>) -> Result<Value, ConfigError> {
        self.inner.schema.configure(config)
    }

    /// Runs the strategy to its end, from the top, as soon as fewer than
    /// [`Limits::runs`](crate::Limits::runs) are running. What it asks is answered by `calls`,
    /// one call after the other, on the stack of the caller's own task.
    ///
    /// Cancel safe: dropping the future, whenever it may be, ends the run there and drops
    /// the instance. Needs a tokio runtime.
    pub async fn run(&self, plan: &Plan, calls: &mut dyn Calls) -> Exit {
        let plan = convert::plan(plan);
        match self.inner.program.run(&plan, calls).await {
            Ok(Ok(())) => Exit::Succeeded,
            Ok(Err(reason)) => Exit::Refused(cut(&reason).to_owned()),
            Err(End::Trapped(cause)) => Exit::Trapped(cause),
            Err(End::Stopped(stop)) => Exit::Stopped(stop),
            // On demand there is no pool that could be full: this cannot be.
            Err(End::Full) => Exit::Stopped(Stop::Suspend),
        }
    }
}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strategy")
            .field("name", &self.inner.descriptor.name)
            .field("version", &self.inner.descriptor.version)
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}
