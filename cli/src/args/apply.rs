use std::path::PathBuf;

use clap::Args;

/// `hotswap apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The file: TOML, with the environments, their policies and selectors, as in the engine's
    /// configuration
    #[arg(long, short, value_name = "FILE")]
    pub file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the environments' events
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}
