use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};
use hotswap_core::{
    DeploymentId, Environment, ModuleName, Selector, Status, StrategyName, parse_version,
};
use semver::Version;

use super::module_ref::ModuleRef;
use super::path::path_parser;
use super::setting::{Setting, parse_pair};
use super::span::parse_wait;

/// How long a non-interactive wait lasts without `--timeout`.
///
/// Shorter than an hour, after which GitLab CI and Azure Pipelines end a job by default: the
/// command then still says how to go on, and ends with an exit code of its own.
const UNATTENDED_TIMEOUT: Duration = Duration::from_secs(50 * 60);
/// How long a deployment may stay paused before an unattended wait ends. Long enough for a
/// script that pauses, looks and resumes.
const UNATTENDED_PAUSE: Duration = Duration::from_secs(30);

/// `hotswap deployment …`.
#[derive(Debug, Subcommand)]
pub enum DeploymentCommand {
    /// Roll out a version of a module
    Create(Box<Create>),
    /// List deployments, newest first
    List(ListDeployments),
    /// Show the state of a deployment
    Get {
        /// The deployment's id
        id: DeploymentId,
    },
    /// Follow a deployment until it ends
    Watch(Watch),
    /// Print the events of a deployment so far
    Events(Events),
    /// Pause a deployment before its next step
    Pause {
        /// The deployment's id
        id: DeploymentId,
    },
    /// Resume a paused deployment
    Resume {
        /// The deployment's id
        id: DeploymentId,
    },
    /// End the present wait of a deployment: a sleep, or a soak of the new version
    ///
    /// A soak judges what it has measured until then. A check that has failed fails; one that
    /// could not be judged yet does not hold the deployment up. A question to a person stays:
    /// approve it instead.
    Promote(Promote),
    /// Stop a deployment and roll it back
    Abort {
        /// The deployment's id
        id: DeploymentId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a deployment whose journal cannot be read, and revert its nodes
    ///
    /// Needs the role admin. Use it where `hotswap deployment get` shows damage: nothing drives
    /// such a deployment, and an abort is rejected. If a newer engine wrote the journal, start
    /// that engine instead: it continues the deployment.
    Terminate {
        /// The deployment's id
        id: DeploymentId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Approve a deployment that waits for a decision
    Approve(Decide),
    /// Reject a deployment that waits for a decision: it is rolled back
    Reject(Decide),
    /// Deploy the version that ran before a deployment, or the last success before it where its
    /// nodes ran different versions
    Rollback(Rollback),
    /// Try a deployment again that ended without success
    ///
    /// The new one asks for the same: version, environment, strategy, settings, and all else.
    /// The strategy is the component that has its name now.
    Retry(Retry),
    /// Show how a deployment's request differs from that of another one
    Diff {
        /// The deployment's id
        id: DeploymentId,
        /// The id of the other one [default: the last success before it]
        #[arg(value_name = "OTHER")]
        with: Option<DeploymentId>,
    },
}

impl DeploymentCommand {
    /// The deployment that the command is about. None for one that creates a deployment.
    pub(super) fn deployment(&self) -> Option<DeploymentId> {
        match self {
            Self::Create(_) | Self::List(_) | Self::Rollback(_) | Self::Retry(_) => None,
            Self::Get { id } | Self::Pause { id } | Self::Resume { id } => Some(*id),
            Self::Abort { id, .. } | Self::Terminate { id, .. } | Self::Diff { id, .. } => {
                Some(*id)
            }
            Self::Watch(args) => Some(args.id),
            Self::Events(args) => Some(args.id),
            Self::Promote(args) => Some(args.id),
            Self::Approve(args) | Self::Reject(args) => Some(args.id),
        }
    }
}

/// `hotswap deployment create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The module; without a version, the newest that is not a pre-release
    #[arg(value_name = "MODULE[@VERSION]")]
    pub module: ModuleRef,
    /// The environment to deploy to
    #[arg(long, short, value_name = "ENV")]
    pub environment: Environment,
    /// The nodes of the environment to deploy to, by their labels: zone=eu,tier!=edge
    /// [default: all of them]
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<Selector>,
    /// The strategy [default: the environment's]
    #[arg(long, short, value_name = "STRATEGY")]
    pub strategy: Option<StrategyName>,
    /// A setting of the strategy, such as soak=10s or probe.path=/live; repeatable
    #[arg(
        long = "set",
        alias = "config",
        short_alias = 'c',
        value_name = "KEY=VALUE",
        action = ArgAction::Append
    )]
    pub settings: Vec<Setting>,
    /// A JSON file with settings of the strategy; --set overrides it
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub config_file: Option<PathBuf>,
    /// What the deployment is about
    #[arg(long, short)]
    pub description: Option<String>,
    /// Metadata to attach, as key=value; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub metadata: Vec<(String, String)>,
    /// Wait for a person's approval before the deployment starts
    #[arg(long)]
    pub require_approval: bool,
    /// Abort the deployment of the module that is under way in the environment, and begin once
    /// it has been rolled back
    #[arg(long)]
    pub supersede: bool,
    /// Show the nodes, the strategy's steps and what would stand against it, and deploy nothing;
    /// exit code 1 where something would
    #[arg(
        long,
        conflicts_with_all = ["watch", "wait", "timeout", "through_approval", "through_pause"]
    )]
    pub plan: bool,
    #[command(flatten)]
    pub stay: Stay,
}

/// `hotswap deployment rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The id of the deployment whose change to reverse
    pub id: DeploymentId,
    /// The version to deploy instead
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    pub to: Option<Version>,
    #[command(flatten)]
    pub stay: Stay,
}

/// `hotswap deployment retry`.
#[derive(Debug, Args)]
pub struct Retry {
    /// The id of the deployment to try again
    pub id: DeploymentId,
    #[command(flatten)]
    pub stay: Stay,
}

/// Whether to stay until a deployment ends.
#[derive(Debug, Clone, Copy, Args)]
pub struct Stay {
    /// Show what happens until the deployment ends
    #[arg(long, short)]
    pub watch: bool,
    /// Wait until the deployment ends, and show only its outcome
    #[arg(long, conflicts_with = "watch")]
    pub wait: bool,
    #[command(flatten)]
    pub patience: Patience,
}

/// How long to stay.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Patience {
    /// Stop waiting after this time, with exit code 4, 5 or 6; the deployment continues
    /// [default: 50m if non-interactive, else none]
    #[arg(long, value_name = "SPAN", value_parser = parse_wait)]
    pub timeout: Option<Duration>,
    /// Keep waiting while a person decides, instead of ending with exit code 5 if
    /// non-interactive
    #[arg(long)]
    pub through_approval: bool,
    /// Keep waiting while the deployment is paused, instead of ending with exit code 6 after
    /// 30s if non-interactive
    #[arg(long)]
    pub through_pause: bool,
}

impl Patience {
    /// How long the whole wait may last. `attended`: a person looks on, and can end it.
    pub fn time_limit(self, attended: bool) -> Option<Duration> {
        let default = (!attended).then_some(UNATTENDED_TIMEOUT);
        self.timeout.or(default)
    }

    /// How long the deployment may stay paused.
    pub fn pause_limit(self, attended: bool) -> Option<Duration> {
        (!attended && !self.through_pause).then_some(UNATTENDED_PAUSE)
    }
}

/// `hotswap deployment watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The deployment's id
    pub id: DeploymentId,
    #[command(flatten)]
    pub patience: Patience,
}

/// `hotswap deployment events`.
#[derive(Debug, Args)]
pub struct Events {
    /// The deployment's id
    pub id: DeploymentId,
    /// Print only the events after the one with this number
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// Print further events as they happen, until the deployment ends
    #[arg(long, short)]
    pub follow: bool,
    /// Stop following after this time, with exit code 4, 5 or 6; the deployment continues
    /// [default: 50m if non-interactive, else none]
    #[arg(long, value_name = "SPAN", value_parser = parse_wait, requires = "follow")]
    pub timeout: Option<Duration>,
}

/// `hotswap deployment approve` and `hotswap deployment reject`.
#[derive(Debug, Args)]
pub struct Decide {
    /// The deployment's id
    pub id: DeploymentId,
    /// What is decided: the waitId that the deployment showed [default: what it asks now]
    ///
    /// Fails, and decides nothing, if the deployment asks or waits for something else by now.
    #[arg(long, value_name = "WAIT")]
    pub wait_id: Option<String>,
    /// Why
    #[arg(long)]
    pub comment: Option<String>,
}

/// `hotswap deployment promote`.
#[derive(Debug, Args)]
pub struct Promote {
    /// The deployment's id
    pub id: DeploymentId,
    /// End every later sleep and soak at once too
    #[arg(long)]
    pub full: bool,
    /// The wait to end: the waitId that the deployment showed [default: the present one]
    ///
    /// Fails, and ends nothing, if the deployment waits for something else by now.
    #[arg(long, value_name = "WAIT")]
    pub wait_id: Option<String>,
    /// Why
    #[arg(long)]
    pub reason: Option<String>,
}

/// `hotswap deployment list`.
#[derive(Debug, Args)]
pub struct ListDeployments {
    /// List only deployments of this module
    #[arg(long, short)]
    pub module: Option<ModuleName>,
    /// List only deployments to this environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<Environment>,
    /// List only deployments with this status: pending, awaitingApproval, running, paused,
    /// rollingBack, succeeded, partial, rolledBack or failed
    #[arg(long, value_parser = parse_status)]
    pub status: Option<Status>,
    /// List at most this many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Parses a status as the API spells it.
fn parse_status(text: &str) -> Result<Status, String> {
    serde_json::from_value(text.into()).map_err(|_| {
        "write pending, awaitingApproval, running, paused, rollingBack, succeeded, partial, \
         rolledBack or failed"
            .to_owned()
    })
}
