use clap::Subcommand;

/// `hotswap store …`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Show what takes room on the engine's disk
    Usage,
}
