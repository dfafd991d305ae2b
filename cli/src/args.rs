//! The command line: a noun, then a verb. Parsing does no I/O; resolving and running come
//! after it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use hotswap_core::DeploymentId;

mod apply;
mod context;
mod debug;
mod deployment;
mod discovery;
mod environment;
mod module;
mod module_ref;
mod node;
mod path;
mod quote;
mod rejection;
mod server;
mod setting;
mod short_form;
mod span;
mod store;
mod strategy;
mod tls;
mod token;

pub use apply::Apply;
pub use context::ContextCommand;
pub use debug::{Bundle, DebugCommand};
pub use deployment::{
    Create, Decide, DeploymentCommand, Events, ListDeployments, Patience, Promote,
};
pub use deployment::{Retry, Rollback, Stay, Watch};
pub use discovery::DiscoveryCommand;
pub use environment::EnvironmentCommand;
pub use module::{ModuleCommand, Undo};
pub use module_ref::{ModuleRef, ModuleVersionRef};
pub use node::{DrainNode, NodeCommand, RunNode};
pub use quote::shorten;
pub use rejection::Rejection;
pub use server::{Dev, DevRegistry, Serve};
pub use setting::Setting;
pub use short_form::ShortForm;
pub use store::StoreCommand;
pub use strategy::StrategyCommand;
pub use tls::{ClientTlsArgs, pair};
pub use token::SignToken;

use crate::contexts::ContextName;
use crate::exit::Exit;

/// Rolls out new versions of modules to fleets of nodes, by strategies that you can write.
#[derive(Debug, Parser)]
#[command(
    name = "hotswap",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = after_help(),
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// The engine [default: the one of `./.hotswap/dev`, else of the context in use, else
    /// http://127.0.0.1:5000]
    #[arg(long, global = true, env = "HOTSWAP_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// The engine that was saved under this name by `hotswap context add`
    #[arg(long, global = true, env = "HOTSWAP_CONTEXT", value_name = "NAME")]
    pub context: Option<ContextName>,
    /// API token. Prefer --token-file: other users can see command lines
    /// [env: HOTSWAP_TOKEN; for a node HOTSWAP_NODE_TOKEN]
    // Not clap's `env`: a variable would then conflict with --token-file.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        conflicts_with = "token_file"
    )]
    pub token: Option<String>,
    /// A file with the API token [default: `./.hotswap/dev/token`, for its engine]
    #[arg(long, global = true, value_name = "FILE", value_parser = path::path_parser())]
    pub token_file: Option<PathBuf>,
    /// Your e-mail address [env: HOTSWAP_EMAIL; default: your user name at this host]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Print JSON; a command that waits or changes something prints one object however it ends
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no colours, as with NO_COLOR in the environment
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Connections with TLS.
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}

/// A noun, or a program to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start an engine, six nodes, sample modules and traffic, to try things out
    Dev(Dev),
    /// Start an engine
    Serve(Box<Serve>),
    /// Nodes: run, list, get, cordon, drain and more
    #[command(subcommand)]
    Node(NodeCommand),
    /// Deployments: create, list, get, watch, pause, promote, abort, retry and more
    #[command(subcommand, alias = "deployments")]
    Deployment(DeploymentCommand),
    /// Modules: upload, list, get, history, undo, retire
    #[command(subcommand, alias = "modules")]
    Module(ModuleCommand),
    /// Strategies: upload, list, get, delete
    #[command(subcommand, alias = "strategies")]
    Strategy(StrategyCommand),
    /// Environments: list, get, events
    #[command(subcommand, alias = "environments")]
    Environment(EnvironmentCommand),
    /// Set the policies of environments from a file, for all engines on the store
    Apply(Apply),
    /// The registries that know of nodes: list, get, check
    #[command(subcommand)]
    Discovery(DiscoveryCommand),
    /// The engine's store: usage, check
    #[command(subcommand)]
    Store(StoreCommand),
    /// Reports of faults: bundle
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Engines by name, with their tokens and certificates: add, use, list, delete
    #[command(subcommand, alias = "contexts")]
    Context(ContextCommand),
    /// Sign a token that grants a role until it expires
    Token(SignToken),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// A short form of one of the above.
    #[command(flatten)]
    ShortForm(ShortForm),
    /// Print the OpenAPI document of the engine
    #[command(hide = true)]
    Openapi,
    /// Print the OpenAPI document of the node
    #[command(hide = true)]
    NodeOpenapi,
    /// Print a reference that is committed to the repository
    #[command(hide = true)]
    Reference {
        /// Which one
        document: Reference,
    },
}

/// A reference that is generated from this program and committed to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// `docs/CLI.md`
    Cli,
    /// `docs/CONFIGURATION.md`
    Configuration,
    /// `hotswap.example.toml`
    Example,
}

impl Cli {
    /// Parses a command line, whose first item is the program's name.
    ///
    /// # Errors
    /// If it is not a command line of this program, or asks for help.
    pub fn parse_line(arguments: Vec<OsString>) -> Result<Self, Rejection> {
        let wants_json = rejection::wants_json(&arguments);
        let parsed = Self::try_parse_from(node::insert_run(&Self::command(), arguments));
        parsed.map_err(|error| Rejection::new(error, wants_json))
    }
}

impl Command {
    /// The deployment that the command is about, if it names one.
    pub fn deployment(&self) -> Option<DeploymentId> {
        match self {
            Self::Deployment(command) => command.deployment(),
            Self::ShortForm(short) => short.deployment(),
            _ => None,
        }
    }
}

fn after_help() -> String {
    let exit_codes = Exit::ALL.map(|exit| format!("{} {}", exit.code(), exit.summary()));
    format!(
        "Short forms: deploy is deployment create, nodes is node list; get, list, watch, pause, \
         resume, promote, abort, approve, reject, rollback and retry are the verbs of deployment.\n\
         Exit codes: {}.\n\
         Try it on this machine: hotswap dev",
        exit_codes.join(", ")
    )
}

#[cfg(test)]
mod tests;
