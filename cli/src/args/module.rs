use std::path::PathBuf;

use clap::{Args, Subcommand};
use hotswap_core::{DeploymentId, Environment, ModuleName, parse_version};

use super::deployment::Stay;
use super::module_ref::{ModuleRef, ModuleVersionRef};
use super::path::path_parser;

/// `hotswap module …`.
#[derive(Debug, Subcommand)]
pub enum ModuleCommand {
    /// Upload a version of a module
    #[command(alias = "push")]
    Upload {
        /// The module and its version, such as hello@1.2.3
        #[arg(value_name = "MODULE@VERSION")]
        module: ModuleVersionRef,
        /// The component, a .wasm file
        #[arg(value_parser = path_parser())]
        file: PathBuf,
    },
    /// List modules and their versions
    List {
        /// List only the versions of this module
        module: Option<ModuleName>,
    },
    /// Show the versions of a module, or one of them
    Get {
        /// The module, or one version of it
        #[arg(value_name = "MODULE[@VERSION]")]
        module: ModuleRef,
    },
    /// List what was decided for a module in an environment, newest first
    History {
        /// The module
        module: ModuleName,
        /// The environment
        #[arg(short, long, value_name = "ENV")]
        environment: Environment,
        /// List at most this many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Go back to an earlier success of a module in an environment
    ///
    /// Deploys its version again, with its strategy and settings. By default that is the last
    /// success of another version than the present one, so that a second undo returns; if the
    /// present one is for a part of the environment, only its nodes go back.
    Undo(Undo),
    /// Remove a module from every node of an environment
    ///
    /// From then on no version of it should run there: nodes that join or come back later lose
    /// it too. A deployment of the module brings it back.
    Retire {
        /// The module
        module: ModuleName,
        /// The environment
        #[arg(short, long, value_name = "ENV")]
        environment: Environment,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// `hotswap module undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// The module
    pub module: ModuleName,
    /// The environment
    #[arg(short, long, value_name = "ENV")]
    pub environment: Environment,
    /// The success to go back to: its version, or the id of its deployment
    #[arg(long, value_name = "VERSION|DEPLOYMENT", value_parser = parse_target)]
    pub to: Option<String>,
    #[command(flatten)]
    pub stay: Stay,
}

/// Checks that a text is a version or the id of a deployment.
fn parse_target(text: &str) -> Result<String, String> {
    if let Ok(id) = text.parse::<DeploymentId>() {
        return Ok(id.to_string());
    }
    match parse_version(text) {
        Ok(version) => Ok(version.to_string()),
        Err(error) => Err(format!("{error}, or be the id of a deployment")),
    }
}
