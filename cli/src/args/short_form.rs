use clap::Subcommand;
use hotswap_core::{DeploymentId, Environment};

use super::Command;
use super::deployment::{
    Create, Decide, DeploymentCommand, ListDeployments, Promote, Retry, Rollback, Watch,
};
use super::node::NodeCommand;

/// Commands without a noun, for what people type most. Each is the same as one with a noun.
// Hidden from the list of commands, which shows the one grammar; `hotswap --help` names them
// at its end.
#[derive(Debug, Subcommand)]
pub enum ShortForm {
    /// Short for `deployment create`: roll out a version of a module
    #[command(hide = true)]
    Deploy(Box<Create>),
    /// Short for `deployment get`: show the state of a deployment
    #[command(hide = true)]
    Get {
        /// The deployment's id
        id: DeploymentId,
    },
    /// Short for `deployment list`: list deployments, newest first
    #[command(hide = true)]
    List(ListDeployments),
    /// Short for `deployment watch`: follow a deployment until it ends
    #[command(hide = true)]
    Watch(Watch),
    /// Short for `deployment pause`: pause a deployment before its next step
    #[command(hide = true)]
    Pause {
        /// The deployment's id
        id: DeploymentId,
    },
    /// Short for `deployment resume`: resume a paused deployment
    #[command(hide = true)]
    Resume {
        /// The deployment's id
        id: DeploymentId,
    },
    /// Short for `deployment abort`: stop a deployment and roll it back
    #[command(hide = true)]
    Abort {
        /// The deployment's id
        id: DeploymentId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Short for `deployment approve`: approve a deployment that waits for a decision
    #[command(hide = true)]
    Approve(Decide),
    /// Short for `deployment reject`: reject a deployment that waits for a decision
    #[command(hide = true)]
    Reject(Decide),
    /// Short for `deployment rollback`: deploy the version that ran before a deployment
    #[command(hide = true)]
    Rollback(Rollback),
    /// Short for `deployment promote`: end the present wait of a deployment
    #[command(hide = true)]
    Promote(Promote),
    /// Short for `deployment retry`: try a deployment again that ended without success
    #[command(hide = true)]
    Retry(Retry),
    /// Short for `node list`: list the nodes and their health
    #[command(hide = true)]
    Nodes {
        /// List only the nodes of this environment
        #[arg(long, short, value_name = "ENV")]
        environment: Option<Environment>,
    },
}

impl ShortForm {
    /// The deployment that the command is about, as for its long form.
    pub(super) fn deployment(&self) -> Option<DeploymentId> {
        match self {
            Self::Get { id } | Self::Pause { id } | Self::Resume { id } => Some(*id),
            Self::Abort { id, .. } => Some(*id),
            Self::Promote(args) => Some(args.id),
            Self::Watch(args) => Some(args.id),
            Self::Approve(args) | Self::Reject(args) => Some(args.id),
            Self::Deploy(_)
            | Self::List(_)
            | Self::Rollback(_)
            | Self::Retry(_)
            | Self::Nodes { .. } => None,
        }
    }

    /// The same command with its noun.
    pub fn expand(self) -> Command {
        Command::Deployment(match self {
            Self::Nodes { environment } => {
                return Command::Node(NodeCommand::List { environment });
            }
            Self::Deploy(args) => DeploymentCommand::Create(args),
            Self::Get { id } => DeploymentCommand::Get { id },
            Self::List(args) => DeploymentCommand::List(args),
            Self::Watch(args) => DeploymentCommand::Watch(args),
            Self::Pause { id } => DeploymentCommand::Pause { id },
            Self::Resume { id } => DeploymentCommand::Resume { id },
            Self::Abort { id, reason } => DeploymentCommand::Abort { id, reason },
            Self::Approve(args) => DeploymentCommand::Approve(args),
            Self::Reject(args) => DeploymentCommand::Reject(args),
            Self::Rollback(args) => DeploymentCommand::Rollback(args),
            Self::Promote(args) => DeploymentCommand::Promote(args),
            Self::Retry(args) => DeploymentCommand::Retry(args),
        })
    }
}
