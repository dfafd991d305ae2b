use std::path::PathBuf;

use clap::Subcommand;
use hotswap_core::StrategyName;

use super::path::path_parser;

/// `hotswap discovery …`. The names of sources follow the rules of those of strategies.
#[derive(Debug, Subcommand)]
pub enum DiscoveryCommand {
    /// List the sources that know of nodes, and how they are
    List,
    /// Show a source with the instances that it has found
    Get {
        /// The name of the source
        name: StrategyName,
    },
    /// List the discovery backends that were uploaded
    Backends,
    /// Upload a discovery backend; it replaces the one with the same name
    ///
    /// A source of the configuration uses it once the engine starts again, by its name or, so that
    /// no later upload changes it, by its digest.
    Upload {
        /// The component, a .wasm file
        #[arg(value_parser = path_parser())]
        file: PathBuf,
    },
    /// Delete a discovery backend that no source uses
    Delete {
        /// The backend's name
        name: StrategyName,
    },
    /// Have a source ask its registry again, and fail unless it is healthy then; or check that a
    /// backend keeps the contract
    ///
    /// With --config no engine is asked. The backend of the source is run here, with the settings
    /// of the file: first with servers that misbehave, then with the registry that it names. In a
    /// service of its own, `hotswap-contract-check`, an instance is registered and removed again.
    Check {
        /// The name of the source, or with --config its backend
        name: String,
        /// Check the contract: the configuration file with the source
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// With --config: register nothing
        #[arg(long, requires = "config")]
        read_only: bool,
    },
}
