use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hotswap_core::{Environment, LabelKey, LabelValue, NodeId, ParseError};

use super::path::path_parser;
use super::setting::parse_pair;
use super::span::{parse_drain, parse_lame_duck, parse_wait};
use super::tls::ServerTlsArgs;
use crate::config::{OtlpProtocol, Telemetry};
use crate::defaults;
use crate::logging::LogFormat;

/// The longest address of an engine, in bytes.
const MAX_URL: usize = 2048;

/// `hotswap node …`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run a node; `hotswap node --environment ENV` does the same
    Run(Box<RunNode>),
    /// List the nodes and their health
    List {
        /// List only the nodes of this environment
        #[arg(long, short, value_name = "ENV")]
        environment: Option<Environment>,
    },
    /// Show a node
    Get {
        /// The node's id
        id: NodeId,
    },
    /// Take a node out of deployments and repairs
    ///
    /// Every new plan leaves it out, and the engine does not bring it to what it should run. It
    /// keeps serving what it runs, until it is uncordoned. A deployment whose plan has it already
    /// goes on with it.
    Cordon {
        /// The node's id
        id: NodeId,
        /// Why; shown with the node and in the events of its environment
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a cordon or a drain
    ///
    /// The engine brings the node to what it should run.
    Uncordon {
        /// The node's id
        id: NodeId,
        /// Why; shown in the events of its environment
        #[arg(long)]
        reason: Option<String>,
    },
    /// Cordon a node, and take its traffic away
    ///
    /// The node reports that it is not ready, so that load balancers send its requests elsewhere.
    /// It stays so until it is uncordoned, also if it is restarted.
    Drain(DrainNode),
    /// Forget a node that is gone for good, and its cordon
    ///
    /// If it still runs, it registers again, as a new one.
    #[command(visible_alias = "forget")]
    Delete {
        /// The node's id
        id: NodeId,
        /// Why; shown in the events of its environment
        #[arg(long)]
        reason: Option<String>,
    },
}

/// `hotswap node drain`.
#[derive(Debug, Args)]
pub struct DrainNode {
    /// The node's id
    pub id: NodeId,
    /// Why; shown with the node and in the events of its environment
    #[arg(long)]
    pub reason: Option<String>,
    /// Drain it even if more nodes are then unavailable than the policy allows
    #[arg(long)]
    pub force: bool,
    /// Wait until the node reports that it is not ready and has no request in flight
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this time, with exit code 4; the node stays drained [default: 10m]
    #[arg(long, value_name = "SPAN", value_parser = parse_wait, requires = "wait")]
    pub timeout: Option<Duration>,
}

impl DrainNode {
    /// How long to wait.
    pub fn time_limit(&self) -> Duration {
        /// More than a request may take, and than load balancers need to notice.
        const TIMEOUT: Duration = Duration::from_secs(10 * 60);
        self.timeout.unwrap_or(TIMEOUT)
    }
}

/// `hotswap node run`.
#[derive(Debug, Args)]
pub struct RunNode {
    /// The environment that the node belongs to
    /// [default: the one whose selector matches the labels]
    #[arg(
        long,
        short,
        value_name = "ENV",
        env = "HOTSWAP_NODE_ENVIRONMENT",
        required_unless_present_any = ["labels", "zone"]
    )]
    pub environment: Option<Environment>,
    /// The engine that the node reports in to
    /// [default: http://127.0.0.1:5000, unless an engine finds the node in a registry]
    #[arg(long, value_name = "URL", env = "HOTSWAP_NODE_ENGINE", value_parser = parse_url)]
    pub engine: Option<String>,
    /// Register the node in the registries of a file, which has the tables of the same name of the
    /// engine's configuration; an engine finds the node there
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub discovery: Option<PathBuf>,
    /// Wait for an engine that finds the node in a registry where others have registered it
    #[arg(long, conflicts_with = "engine")]
    pub discovered: bool,
    /// The node's id, unique among the engine's nodes [default: the host's name]
    #[arg(long, env = "HOTSWAP_NODE_ID")]
    pub id: Option<NodeId>,
    /// The address that serves requests
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HOTSWAP_NODE_DATA",
        default_value = "127.0.0.1:8080"
    )]
    pub data: SocketAddr,
    /// The address that receives the engine's orders
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HOTSWAP_NODE_CONTROL",
        default_value = "127.0.0.1:8081"
    )]
    pub control: SocketAddr,
    /// The host name or address that others use to reach the node
    /// [default: the addresses above; for 0.0.0.0 and ::, the one from which the node reaches
    /// the engine]
    #[arg(long, value_name = "HOST", env = "HOTSWAP_NODE_ADVERTISE", value_parser = parse_host)]
    pub advertise: Option<String>,
    /// The node's zone, which selectors see as its label zone
    #[arg(long, env = "HOTSWAP_NODE_ZONE")]
    pub zone: Option<String>,
    /// A label of the node, as key=value; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// How long the node goes on serving after SIGTERM, though it is not ready any more, before it
    /// closes its ports; longer than load balancers need to notice. A second signal ends it
    /// [default: 0s on loopback, else 5s]
    #[arg(long, value_name = "SPAN", env = "HOTSWAP_LAME_DUCK", value_parser = parse_lame_duck)]
    pub lame_duck: Option<Duration>,
    /// How long requests and orders under way may go on once the ports are closed
    #[arg(
        long,
        value_name = "SPAN",
        env = "HOTSWAP_DRAIN",
        default_value = "32s",
        value_parser = parse_drain
    )]
    pub drain: Duration,
    /// The folder for slots and artifacts
    #[arg(long, alias = "dir", value_name = "FOLDER", default_value = defaults::NODE_FOLDER, value_parser = path_parser())]
    pub data_dir: PathBuf,
    /// The folder for compiled modules; several nodes and engines of one user may share it
    /// [default: compiled in the data folder]
    #[arg(long, value_name = "FOLDER", env = "HOTSWAP_COMPILED_DIR", value_parser = path_parser())]
    pub compiled_dir: Option<PathBuf>,
    /// The format of the log
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// HTTPS of both ports.
    #[command(flatten)]
    pub tls: ServerTlsArgs,
    /// Where traces and metrics go.
    #[command(flatten)]
    pub telemetry: NodeTelemetry,
    /// Stop when standard input closes, so that the node ends with the process that started it
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// Where a node's traces and metrics go. The environment variables of OpenTelemetry say the same, and more.
#[derive(Debug, Clone, Args)]
pub struct NodeTelemetry {
    /// The collector that gets the node's spans and metrics by OTLP; without one, no spans are
    /// recorded
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    pub otlp_endpoint: Option<String>,
    /// The protocol of the collector [default: http/protobuf]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<OtlpProtocol>,
    /// The share of the traces that are recorded, from 0 to 1 [default: 0.1]
    #[arg(long, value_name = "RATIO", value_parser = parse_ratio)]
    pub sampling_ratio: Option<f64>,
}

impl From<NodeTelemetry> for Telemetry {
    fn from(args: NodeTelemetry) -> Self {
        Self {
            endpoint: args.otlp_endpoint,
            protocol: args.otlp_protocol,
            sampling_ratio: args.sampling_ratio,
        }
    }
}

impl RunNode {
    /// The engine that the node reports in to. `None` where an engine finds the node.
    pub fn engine(&self) -> Option<&str> {
        let is_found = self.discovered || self.discovery.is_some();
        let default = (!is_found).then_some(defaults::SERVER);
        self.engine.as_deref().or(default)
    }
}

/// Parses a label. The engine would refuse the node for one that is not valid.
fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = parse_pair(text)?;
    let key: LabelKey = key.parse().map_err(|error: ParseError| error.to_string())?;
    let value: LabelValue = value
        .parse()
        .map_err(|error: ParseError| error.to_string())?;
    Ok((key.into(), value.into()))
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok();
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "use a number from 0 to 1".to_owned())
}

/// Refuses a text that no host name is as long as: errors about it quote it.
fn parse_host(text: &str) -> Result<String, String> {
    /// RFC 1035, section 2.3.4.
    const MAX_HOST: usize = 255;
    let length = text.len();
    if length > MAX_HOST {
        return Err(format!(
            "the host name has {length} bytes, and {MAX_HOST} are allowed"
        ));
    }
    Ok(text.to_owned())
}

/// Refuses a text that no address is as long as: the error about an address quotes it.
fn parse_url(text: &str) -> Result<String, String> {
    let length = text.len();
    if length > MAX_URL {
        return Err(format!(
            "the address has {length} bytes, and {MAX_URL} are allowed"
        ));
    }
    Ok(text.to_owned())
}

/// Inserts `run` into `hotswap node --environment …`, the older form of `hotswap node run`.
///
/// Not clap's `args_conflicts_with_subcommands`: with it, options of all commands could not
/// stand before the verb, and `hotswap node --help` would mix verbs and options of `run`.
pub(super) fn insert_run(cli: &clap::Command, mut arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(noun) = next_word(cli, &arguments, 1) else {
        return arguments;
    };
    if arguments[noun] != "node" {
        return arguments;
    }
    // A word that is not a verb is left to clap, which suggests one.
    let is_option = match next_word(cli, &arguments, noun + 1) {
        Some(next) => {
            let next = arguments[next].to_string_lossy();
            next.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(&&*next)
        }
        None => true,
    };
    if is_option {
        arguments.insert(noun + 1, "run".into());
    }
    arguments
}

/// The index of the first argument from `start` on that is neither an option of all commands
/// nor the value of one.
fn next_word(cli: &clap::Command, arguments: &[OsString], start: usize) -> Option<usize> {
    let mut index = start;
    while index < arguments.len() {
        let word = arguments[index].to_string_lossy();
        let (name, has_value) = match word.strip_prefix("--") {
            Some(option) => match option.split_once('=') {
                Some((name, _)) => (name, true),
                None => (option, false),
            },
            None => return Some(index),
        };
        let global = cli
            .get_arguments()
            .find(|argument| argument.is_global_set() && argument.get_long() == Some(name));
        let Some(global) = global else {
            return Some(index);
        };
        let value_follows = global.get_action().takes_values() && !has_value;
        index += if value_follows { 2 } else { 1 };
    }
    None
}
