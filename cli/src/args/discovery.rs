use clap::Subcommand;
use hotswap_core::StrategyName;

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
    /// Have a source ask its registry anew, and fail unless it is healthy then
    Check {
        /// The name of the source
        name: StrategyName,
    },
}
