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
    /// Write everything that the store of a configuration holds to a file, while no engine runs
    Export {
        /// The file to write, or - for standard output
        #[arg(value_name = "FILE", value_parser = path_parser())]
        file: PathBuf,
        /// The configuration file of the engine [default: hotswap.toml, if it exists]
        #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG", value_parser = path_parser())]
        config: Option<PathBuf>,
    },
    /// Write what an export holds into the empty store of a configuration, while no engine runs
    Import {
        /// The file of an export, or - for standard input
        #[arg(value_name = "FILE", value_parser = path_parser())]
        file: PathBuf,
        /// The configuration file of the engine [default: hotswap.toml, if it exists]
        #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG", value_parser = path_parser())]
        config: Option<PathBuf>,
    },
}
