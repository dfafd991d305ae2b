use clap::Subcommand;
use hotswap_core::Environment;

/// `hotswap environment …`.
#[derive(Debug, Subcommand)]
pub enum EnvironmentCommand {
    /// List the environments with the health of their nodes
    List,
    /// Show an environment: its policy, its nodes and what runs on them
    Get {
        /// The environment's name
        #[arg(value_name = "ENV")]
        name: Environment,
    },
}
