use std::path::PathBuf;

use clap::Subcommand;
use hotswap_core::StrategyName;

use super::path::path_parser;

/// `hotswap strategy …`.
#[derive(Debug, Subcommand)]
pub enum StrategyCommand {
    /// Upload a strategy; it replaces the one with the same name
    #[command(alias = "push")]
    Upload {
        /// The component, a .wasm file
        #[arg(value_parser = path_parser())]
        file: PathBuf,
    },
    /// List the strategies
    List,
    /// Show a strategy and its settings
    #[command(alias = "show")]
    Get {
        /// The strategy's name
        name: StrategyName,
    },
    /// Delete a strategy; deployments that already use it continue
    Delete {
        /// The strategy's name
        name: StrategyName,
    },
}
