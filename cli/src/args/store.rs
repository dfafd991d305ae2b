use std::path::PathBuf;

use clap::Subcommand;

use super::path::path_parser;

/// `hotswap store …`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Show what takes room on the engine's disk
    Usage,
    /// Connect to the store of a configuration, measure it, and say what it may lose
    Check {
        /// The configuration file of the engine [default: hotswap.toml, if it exists]
        #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG", value_parser = path_parser())]
        config: Option<PathBuf>,
    },
}
