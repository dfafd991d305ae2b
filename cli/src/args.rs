//! The command line. Nothing here does I/O: parsing comes first, then resolving, then
//! the command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use hotswap_api::{Origin, Role};
use hotswap_core::{DeploymentId, Environment, ModuleName, NodeId, StrategyName};

use crate::setting::Setting;
use crate::target::{Release, Target};

/// Rolls new versions of modules out to fleets of nodes, by strategies of your own.
#[derive(Debug, Parser)]
#[command(
    name = "hotswap",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done, 1 error, 2 usage, 3 failed or rolled back, \
    4 timed out, 5 awaiting approval, 130 interrupted.\n\
    Try it on this machine: hotswap dev"
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// The engine [default: that of `./.hotswap/dev`, else http://127.0.0.1:5000]
    #[arg(long, global = true, env = "HOTSWAP_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// What opens the engine; a file is better, for others see command lines
    /// [env: HOTSWAP_TOKEN; of a node HOTSWAP_NODE_TOKEN]
    // Not clap's `env`: a variable would then conflict with --token-file.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        conflicts_with = "token_file"
    )]
    pub token: Option<String>,
    /// A file that holds the token [default: `./.hotswap/dev/token`, with its server]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where to reach you [env: HOTSWAP_EMAIL; default: your name at this host]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Write without colours, as with NO_COLOR in the environment
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start an engine, six nodes, sample modules and traffic, to try things out
    Dev(Dev),
    /// Start an engine
    Serve(Box<Serve>),
    /// Start a node
    Node(Box<Node>),
    /// Modules: push, list
    #[command(subcommand)]
    Module(ModuleCommand),
    /// Roll a version of a module out
    Deploy(Box<Deploy>),
    /// Show a deployment
    Get {
        /// Its id
        id: DeploymentId,
    },
    /// List deployments, newest first
    List(List),
    /// Follow a deployment until it has ended
    Watch(Watch),
    /// Hold a deployment before its next step
    Pause {
        /// Its id
        id: DeploymentId,
    },
    /// Let a paused deployment go on
    Resume {
        /// Its id
        id: DeploymentId,
    },
    /// End a deployment and put its nodes back
    Abort {
        /// Its id
        id: DeploymentId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a deployment go on that waits for a decision
    Approve(Decide),
    /// Refuse a deployment that waits for a decision: it is rolled back
    Reject(Decide),
    /// Deploy the version that ran before a deployment
    Rollback {
        /// The id of the deployment to undo
        id: DeploymentId,
        #[command(flatten)]
        until: Until,
    },
    /// Strategies: list, show, push, delete
    #[command(subcommand)]
    Strategy(StrategyCommand),
    /// List the nodes and how they are
    Nodes {
        /// Only of this environment
        #[arg(long, short, value_name = "ENV")]
        environment: Option<Environment>,
    },
    /// Make a signed token that opens an engine in a role, for a while
    Token(Token),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the OpenAPI document of the engine
    #[command(hide = true)]
    Openapi,
    /// Print the OpenAPI document of the node
    #[command(hide = true)]
    NodeOpenapi,
}

/// `hotswap dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where the engine listens, on loopback; 0 takes a free port
    #[arg(long, default_value_t = 5000)]
    pub port: u16,
    /// Where everything is kept; a second start goes on where the first ended
    #[arg(long, value_name = "FOLDER", default_value = crate::settings::DEV_DIR)]
    pub dir: PathBuf,
    /// Requests a second over all nodes together; 0 sends none
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub rate: u32,
    /// End by itself after so long
    #[arg(long = "for", value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub span: Option<Duration>,
    /// A page that may call the engine from a browser, as http://localhost:3000; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,
}

/// `hotswap serve`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The configuration [default: hotswap.toml, if there is one]
    #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where to keep the journal and the artifacts [default: .hotswap/engine]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// A file that holds the token of the nodes
    #[arg(long, value_name = "FILE")]
    pub node_token_file: Option<PathBuf>,
    /// A page that may call the engine from a browser, as http://localhost:3000; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,
    /// How to write the log
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// `hotswap token`.
#[derive(Debug, Args)]
pub struct Token {
    /// What it opens: viewer, operator or admin
    #[arg(long, default_value_t = Role::Viewer)]
    pub role: Role,
    /// Whose it is, as the journal will name them [default: where to reach you]
    #[arg(long, value_name = "NAME")]
    pub subject: Option<String>,
    /// For how long it opens anything
    #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = humantime::parse_duration)]
    pub expires: Duration,
    /// The engine's configuration, whose secret signs it [default: that of `./.hotswap/dev`
    /// while it runs, else hotswap.toml]
    #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `hotswap node`.
#[derive(Debug, Args)]
pub struct Node {
    /// The environment that it belongs to
    #[arg(long, short, value_name = "ENV")]
    pub environment: Environment,
    /// The engine that it takes orders from
    #[arg(long, value_name = "URL", default_value = crate::settings::SERVER)]
    pub engine: String,
    /// Its name, unique among the engine's nodes [default: the host's name]
    #[arg(long)]
    pub id: Option<NodeId>,
    /// Where it answers requests
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub data: SocketAddr,
    /// Where it takes orders
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub control: SocketAddr,
    /// The host name or address that others reach it by [default: the addresses above]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Where it stands
    #[arg(long)]
    pub zone: Option<String>,
    /// What you say of it, as key=value; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = crate::setting::pair)]
    pub labels: Vec<(String, String)>,
    /// Where it keeps slots and artifacts
    #[arg(long, value_name = "FOLDER", default_value = ".hotswap/node")]
    pub dir: PathBuf,
    /// How to write the log
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// End when standard input closes: so it ends with whoever started it
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// How to write the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

/// `hotswap module …`.
#[derive(Debug, Subcommand)]
pub enum ModuleCommand {
    /// Upload a version of a module
    Push {
        /// Module and version, as `hello@1.2.3`
        #[arg(value_name = "MODULE@VERSION")]
        release: Release,
        /// The component, a .wasm file
        file: PathBuf,
    },
    /// List modules and their versions
    List {
        /// Only this one
        module: Option<ModuleName>,
    },
}

/// `hotswap strategy …`.
#[derive(Debug, Subcommand)]
pub enum StrategyCommand {
    /// List the strategies
    List,
    /// Show a strategy and what it can be configured with
    Show {
        /// Its name
        name: StrategyName,
    },
    /// Upload a strategy; it takes the place of one of the same name
    Push {
        /// The component, a .wasm file
        file: PathBuf,
    },
    /// Delete a strategy; deployments that run by it go on
    Delete {
        /// Its name
        name: StrategyName,
    },
}

/// `hotswap deploy`.
#[derive(Debug, Args)]
pub struct Deploy {
    /// The module; without a version, the newest that is no pre-release
    #[arg(value_name = "MODULE[@VERSION]")]
    pub target: Target,
    /// Where to
    #[arg(long, short, value_name = "ENV")]
    pub environment: Environment,
    /// By which strategy [default: the environment's]
    #[arg(long, short, value_name = "STRATEGY")]
    pub strategy: Option<StrategyName>,
    /// A setting of the strategy, as soak=10s, batch=25% or probe.path=/live; repeatable
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub settings: Vec<Setting>,
    /// A JSON file with the strategy's settings; --config goes on top
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// What it is about
    #[arg(long, short)]
    pub description: Option<String>,
    /// Anything to attach, as key=value; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::setting::pair)]
    pub metadata: Vec<(String, String)>,
    /// Ask for a person's approval before it begins
    #[arg(long)]
    pub require_approval: bool,
    #[command(flatten)]
    pub until: Until,
}

/// Whether to stay until a deployment has ended.
#[derive(Debug, Clone, Copy, Args)]
pub struct Until {
    /// Show what happens until it has ended
    #[arg(long, short)]
    pub watch: bool,
    /// Wait until it has ended, and tell only how
    #[arg(long, conflicts_with = "watch")]
    pub wait: bool,
    #[command(flatten)]
    pub patience: Patience,
}

/// How long to stay.
#[derive(Debug, Clone, Copy, Args)]
pub struct Patience {
    /// Give up after so long with exit code 4; the deployment goes on
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Stay while a person decides, instead of ending with exit code 5 where nobody looks on
    #[arg(long)]
    pub through_approval: bool,
}

/// `hotswap watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The deployment's id
    pub id: DeploymentId,
    #[command(flatten)]
    pub patience: Patience,
}

/// `hotswap approve` and `hotswap reject`.
#[derive(Debug, Args)]
pub struct Decide {
    /// The deployment's id
    pub id: DeploymentId,
    /// What you say of it
    #[arg(long)]
    pub comment: Option<String>,
}

/// `hotswap list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only of this module
    #[arg(long, short)]
    pub module: Option<ModuleName>,
    /// Only in this environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<Environment>,
    /// Only with this status: pending, awaitingApproval, running, paused, rollingBack,
    /// succeeded, rolledBack or failed
    #[arg(long, value_parser = status)]
    pub status: Option<hotswap_core::Status>,
    /// At most that many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Reads a status as the API writes it.
fn status(text: &str) -> Result<hotswap_core::Status, String> {
    serde_json::from_value(text.into()).map_err(|_| {
        "write pending, awaitingApproval, running, paused, rollingBack, succeeded, rolledBack \
         or failed"
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
