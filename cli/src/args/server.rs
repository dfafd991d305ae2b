use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hotswap_api::Origin;

use super::path::path_parser;
use super::quote::shorten;
use super::span::{parse_drain, parse_lame_duck, parse_wait};
use super::tls::ServerTlsArgs;
use crate::defaults;
use crate::logging::LogFormat;

/// The longest origin, in bytes: a scheme, a host name of 253 bytes and a port.
const MAX_ORIGIN: usize = 272;

/// `hotswap dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// The engine's port, on loopback; 0 takes a free one
    #[arg(long, default_value_t = 5000)]
    pub port: u16,
    /// The data folder; a second start continues where the first ended
    #[arg(long, alias = "dir", value_name = "FOLDER", default_value = defaults::DEV_FOLDER, value_parser = path_parser())]
    pub data_dir: PathBuf,
    /// The folder for compiled strategies and modules, of the engine and all nodes [default: compiled
    /// in the data folder]
    #[arg(long, value_name = "FOLDER", env = "HOTSWAP_COMPILED_DIR", value_parser = path_parser())]
    pub compiled_dir: Option<PathBuf>,
    /// Requests a second, over all nodes together; 0 sends none
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub rate: u32,
    /// Stop after this time
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_wait)]
    pub duration: Option<Duration>,
    /// Start a registry, too, where the nodes register and the engine finds them; it must be on the
    /// PATH
    #[arg(long, value_enum, value_name = "KIND")]
    pub discovery: Option<DevRegistry>,
    /// A web page that may call the engine, such as http://localhost:3000; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_parser = parse_origin)]
    pub cors_origins: Vec<Origin>,
}

/// A registry that `hotswap dev` can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DevRegistry {
    /// HashiCorp Consul.
    Consul,
    /// etcd.
    Etcd,
}

/// `hotswap serve`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The configuration file [default: hotswap.toml, if it exists]
    #[arg(long, short, value_name = "FILE", env = "HOTSWAP_CONFIG", value_parser = path_parser())]
    pub config: Option<PathBuf>,
    /// The address that the API listens on [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The folder for journals and artifacts [default: .hotswap/engine]
    #[arg(long, value_name = "FOLDER", value_parser = path_parser())]
    pub data_dir: Option<PathBuf>,
    /// The folder for compiled strategies and discovery backends; several engines and nodes of one
    /// user may share it [default: compiled in the data folder]
    #[arg(long, value_name = "FOLDER", value_parser = path_parser())]
    pub compiled_dir: Option<PathBuf>,
    /// A file with the token of the nodes
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub node_token_file: Option<PathBuf>,
    /// A web page that may call the engine, such as http://localhost:3000; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_parser = parse_origin)]
    pub cors_origins: Vec<Origin>,
    /// How long the engine goes on serving after SIGTERM, though it is not ready any more, before it
    /// closes its port; longer than load balancers need to notice. A second signal ends it
    /// [default: 0s on loopback, else 5s]
    #[arg(long, value_name = "SPAN", value_parser = parse_lame_duck)]
    pub lame_duck: Option<Duration>,
    /// How long requests under way may go on once the port is closed [default: 10s]
    #[arg(long, value_name = "SPAN", value_parser = parse_drain)]
    pub drain: Option<Duration>,
    /// The format of the log [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// HTTPS.
    #[command(flatten)]
    pub tls: ServerTlsArgs,
}

/// Parses an origin. Refuses a text that no origin is as long as: the error of an origin
/// quotes it.
fn parse_origin(text: &str) -> Result<Origin, String> {
    if text.len() > MAX_ORIGIN {
        let text = shorten(text);
        return Err(format!(
            "'{text}' is longer than an origin can be, {MAX_ORIGIN} bytes"
        ));
    }
    text.parse().map_err(|error| format!("{error}"))
}
