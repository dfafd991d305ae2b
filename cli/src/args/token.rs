use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hotswap_api::Role;

use super::path::path_parser;
use super::span::parse_validity;

/// `hotswap token`.
#[derive(Debug, Args)]
pub struct SignToken {
    /// The role that the token grants: viewer, operator or admin
    #[arg(long, default_value_t = Role::Viewer)]
    pub role: Role,
    /// The name that the journal records for the token's user [default: your e-mail address]
    #[arg(long, value_name = "NAME")]
    pub subject: Option<String>,
    /// How long the token is valid
    #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = parse_validity)]
    pub expires: Duration,
    /// The engine's configuration file, which names the secret that signs the token
    /// [default: the configuration of `./.hotswap/dev` while it runs, else hotswap.toml]
    #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG", value_parser = path_parser())]
    pub config: Option<PathBuf>,
}
