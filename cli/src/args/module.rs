use std::path::PathBuf;

use clap::Subcommand;
use hotswap_core::{Environment, ModuleName};

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
