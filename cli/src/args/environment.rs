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
    /// Show what happened in an environment outside of deployments, newest first
    ///
    /// Modules that were retired, nodes that the engine brought to what they should run, and nodes
    /// that were cordoned, drained, uncordoned or removed.
    Events {
        /// The environment's name
        #[arg(value_name = "ENV")]
        name: Environment,
        /// Show at most this many
        #[arg(long, value_name = "COUNT", default_value_t = 20,
            value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Print the oldest first, and further events as they happen, until interrupted; with
        /// --json one JSON object a line
        #[arg(long, short)]
        follow: bool,
    },
}
