use std::path::PathBuf;

use clap::{Args, Subcommand};
use hotswap_core::{DeploymentId, NodeId};

use super::path::path_parser;

/// `hotswap debug …`.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Collect what a report of a fault needs into one file
    ///
    /// The end of the engine's log, its configuration without secrets, its metrics, its nodes, and
    /// what it knows of deployments. Needs the role admin. What cannot be had is left out, and the
    /// file says why.
    Bundle(Bundle),
}

/// `hotswap debug bundle`.
#[derive(Debug, Args)]
pub struct Bundle {
    /// A deployment to collect with all its events
    #[arg(long, value_name = "ID")]
    pub deployment: Option<DeploymentId>,
    /// A node whose log to collect. Repeat it for several. The nodes of the deployment need not be named
    #[arg(long, value_name = "ID")]
    pub node: Vec<NodeId>,
    /// The file to write, a tar.gz [default: hotswap-debug-TIME.tar.gz]
    #[arg(long, short, value_name = "FILE", value_parser = path_parser())]
    pub output: Option<PathBuf>,
}
