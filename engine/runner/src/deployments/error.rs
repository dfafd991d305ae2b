use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{
    Damage, DeploymentId, Environment, IllegalTransition, ModuleName, ModuleVersion, Selector,
    StrategyName,
};
use hotswap_fleet::discovery::{SourceProblem, StaleSource};
use hotswap_plugins::ConfigError;
use hotswap_store::{AppendError, ReadError};
use humantime::format_duration;
use semver::Version;

use crate::{UnreadablePolicy, projections, strategies};

/// A deployment that succeeded, and the version that it rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// The deployment.
    pub id: DeploymentId,
    /// The version.
    pub version: Version,
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.id)
    }
}

/// Why a request concerning deployments failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such deployment.
    #[error("no deployment {0}")]
    Unknown(DeploymentId),
    /// Another deployment of the same module in the same environment has not ended.
    #[error("deployment {by} of the same module in the same environment has not ended")]
    Busy {
        /// The other deployment.
        by: DeploymentId,
    },
    /// It has not ended, so it cannot be rolled back or tried again.
    #[error("deployment {0} has not ended")]
    NotEnded(DeploymentId),
    /// It has succeeded, so there is nothing to try again.
    #[error("deployment {0} has succeeded")]
    HasSucceeded(DeploymentId),
    /// The deployment that is to be superseded has a journal that cannot be read: nothing would
    /// act on an abort.
    #[error("deployment {by} cannot be superseded: {damage}")]
    DamagedPredecessor {
        /// The other deployment.
        by: DeploymentId,
        /// Its damage.
        damage: Damage,
    },
    /// The policy that a person gave the environment cannot be read, so it is not known what a
    /// deployment may do there.
    #[error(transparent)]
    UnreadablePolicy(Arc<UnreadablePolicy>),
    /// The idempotency key belongs to a request that differs from this one.
    #[error("the idempotency key belongs to another request, which created deployment {by}")]
    KeyReused {
        /// The deployment that the other request created.
        by: DeploymentId,
    },
    /// The state of the deployment does not allow it.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// The wait that the request is about is over, and the deployment waits for something else.
    #[error("deployment {0} waits for something else by now")]
    WaitOver(DeploymentId),
    /// The journal of the deployment cannot be read, so nothing drives it.
    #[error("{0}")]
    Damaged(Damage),
    /// Only a deployment whose journal cannot be read can be terminated.
    #[error("the journal of deployment {0} can be read: abort the deployment instead")]
    NotDamaged(DeploymentId),
    /// No version of the module was uploaded.
    #[error("no module '{0}'")]
    UnknownModule(ModuleName),
    /// This version of the module was not uploaded.
    #[error("module '{module}' has no version {version}")]
    UnknownVersion {
        /// The module.
        module: ModuleName,
        /// The requested version.
        version: Version,
        /// The versions that were uploaded.
        known: Vec<Version>,
    },
    /// The version that was deployed then was deleted since.
    #[error("{0} ({digest}) was deleted since", digest = .0.digest)]
    VersionGone(ModuleVersion),
    /// No version was requested, and a pre-release must be named.
    #[error("every version of module '{module}' is a pre-release")]
    OnlyPreReleases {
        /// The module.
        module: ModuleName,
        /// The versions that were uploaded.
        known: Vec<Version>,
    },
    /// There is no such strategy.
    #[error("no strategy '{name}'")]
    UnknownStrategy {
        /// The requested name.
        name: StrategyName,
        /// The strategies that there are.
        known: Vec<StrategyName>,
    },
    /// The configuration does not match the strategy's schema.
    #[error("the configuration does not match the strategy's schema")]
    Config(#[source] ConfigError),
    /// The configuration asks of its soaks what cannot be done.
    #[error("the configuration is not valid: {0}")]
    SoakSettings(String),
    /// The strategy waits for longer than the policy allows, even if all goes well.
    #[error(
        "with {nodes} nodes, strategy '{strategy}' takes at least {}, and the deadline of \
         environment '{environment}' is {}",
        format_duration(*shortest),
        format_duration(*deadline)
    )]
    ExceedsDeadline {
        /// The strategy.
        strategy: StrategyName,
        /// The environment.
        environment: Environment,
        /// The nodes that it would roll out to.
        nodes: usize,
        /// How long it takes at least.
        shortest: Duration,
        /// How long the policy allows.
        deadline: Duration,
    },
    /// A registry of the environment has failed for so long that its nodes may be others by now.
    #[error(
        "the registry of source '{}' has not answered for {}, and a new deployment to {environment} needs a view that is at most {} old{}",
        stale.name,
        format_duration(whole_seconds(stale.age)),
        format_duration(stale.max_age),
        stale.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
    )]
    StaleView {
        /// The environment.
        environment: Environment,
        /// The source.
        stale: StaleSource,
    },
    /// The environment has no nodes.
    #[error("environment '{environment}' has no nodes{}", listed(problems))]
    NoNodes {
        /// The environment.
        environment: Environment,
        /// What is wrong with the sources that may have some.
        problems: Vec<SourceProblem>,
    },
    /// The selector matches no node of the environment.
    #[error("no node of environment '{environment}' matches {selector}")]
    NoneSelected {
        /// The environment.
        environment: Environment,
        /// The selector.
        selector: Selector,
        /// The labels that its nodes have, as `key=value`, sorted.
        labels: Vec<String>,
    },
    /// No node ran the module before the deployment, so there is nothing to roll back to.
    #[error("no node ran the module before deployment {0}")]
    NoPreviousVersion(DeploymentId),
    /// The nodes ran different versions before the deployment, and no deployment of another
    /// version succeeded before.
    #[error(
        "the nodes ran different versions before deployment {id} ({}), and none succeeded before",
        versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    DifferentPreviousVersions {
        /// The deployment.
        id: DeploymentId,
        /// The versions.
        versions: Vec<Version>,
    },
    /// There is no success to go back to.
    #[error("no earlier deployment of another version of '{module}' succeeded in {environment}")]
    NoEarlierSuccess {
        /// The module.
        module: ModuleName,
        /// The environment.
        environment: Environment,
        /// Those that there are.
        successes: Vec<Success>,
    },
    /// Another deployment has succeeded since the engine has chosen where to go back to, or the
    /// module was retired.
    #[error("deployment {0} is not what should run any more")]
    NothingToUndo(DeploymentId),
    /// The requested deployment is not a success of the module in the environment.
    #[error("{target} is not a successful deployment of '{module}' in {environment}")]
    NotASuccess {
        /// The version or the deployment.
        target: String,
        /// The module.
        module: ModuleName,
        /// The environment.
        environment: Environment,
        /// Those that there are.
        successes: Vec<Success>,
    },
    /// No deployment succeeded before, to compare this one with.
    #[error("no deployment of the module succeeded in the environment before deployment {0}")]
    NothingToCompare(DeploymentId),
    /// It must not be deleted.
    #[error("deployment {id} cannot be deleted: {reason}")]
    InUse {
        /// The deployment.
        id: DeploymentId,
        /// Why it is needed, and what to do.
        reason: String,
    },
    /// The disk is full. What is left is for the deployments that are under way.
    #[error("the engine's disk is full")]
    Full,
    /// The strategy could not be read.
    #[error("the strategy could not be read")]
    Strategy(#[from] strategies::Error),
    /// The store failed. It is unknown whether the request had an effect.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// `: source 'main' cannot be read: …; source …`, or nothing.
fn listed(problems: &[SourceProblem]) -> String {
    let mut text = String::new();
    for (number, problem) in problems.iter().enumerate() {
        text.push_str(if number == 0 { ": " } else { "; " });
        text.push_str(&problem.to_string());
    }
    text
}

fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        projections::Error::from(error).into()
    }
}

impl From<projections::Error> for Error {
    fn from(error: projections::Error) -> Self {
        use projections::Error as E;
        match error {
            E::Unknown(id) => Self::Unknown(id),
            E::Damaged(damage) => Self::Damaged(damage),
            E::IllegalTransition(illegal) => Self::IllegalTransition(illegal),
            E::Store(source) => Self::Store(source),
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unknown(id) => Self::Unknown(id),
            AppendError::IllegalTransition(illegal) => Self::IllegalTransition(illegal),
            AppendError::Store(source) => Self::Store(source),
            unexpected @ (AppendError::Conflict(_) | AppendError::Fenced(_)) => {
                Self::Store(Box::new(unexpected))
            }
        }
    }
}
