use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hotswap_api::Origin;

use crate::defaults;
use crate::logging::LogFormat;

/// `hotswap dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// The engine's port, on loopback; 0 takes a free one
    #[arg(long, default_value_t = 5000)]
    pub port: u16,
    /// The data folder; a second start continues where the first ended
    #[arg(long, alias = "dir", value_name = "FOLDER", default_value = defaults::DEV_FOLDER)]
    pub data_dir: PathBuf,
    /// Requests a second, over all nodes together; 0 sends none
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub rate: u32,
    /// Stop after this time
    #[arg(long = "for", value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// A web page that may call the engine, such as http://localhost:3000; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,
}

/// `hotswap serve`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The configuration file [default: hotswap.toml, if it exists]
    #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG")]
    pub config: Option<PathBuf>,
    /// The address that the API listens on [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The folder for journals and artifacts [default: .hotswap/engine]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// A file with the token of the nodes
    #[arg(long, value_name = "FILE")]
    pub node_token_file: Option<PathBuf>,
    /// A web page that may call the engine, such as http://localhost:3000; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,
    /// The format of the log [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}
