//! What an engine is configured with: defaults, then a file, then the environment, then
//! flags; the later wins.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use hotswap_api::Origin;
use hotswap_core::{Amount, Environment, Policy, StrategyName};
use serde::{Deserialize, Serialize};

use crate::args::{LogFormat, Serve};
use crate::jwt::Jwt;

/// The file that is read where none is named and this one exists.
pub const FILE: &str = "hotswap.toml";

/// An engine's configuration, as `hotswap.toml` has it. Keys that are not known are
/// refused: a policy with a slip of the pen would be no policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where the journal, the artifacts and generated tokens are kept.
    pub data_dir: PathBuf,
    /// How the log is written.
    pub log_format: LogFormat,
    /// A file with the token that opens the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A file with the token that nodes and the engine show each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_token_file: Option<PathBuf>,
    /// How tokens are checked that somebody signed; without it none are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// The pages that may call the API from a browser, each as `"http://host:port"`.
    pub cors_origins: Vec<Origin>,
    /// What holds in each environment; what is left out has the default for its name.
    pub environments: BTreeMap<Environment, PolicyFile>,
    /// What deployments may use.
    pub limits: Limits,
}

/// The policy of one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyFile {
    /// The strategy of a deployment that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_strategy: Option<StrategyName>,
    /// Nodes that are changed at any moment: a count, or a share as `"25%"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
    /// Failed nodes that do not end a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerated_failures: Option<Amount>,
    /// A deployment that takes longer is rolled back: `"2h"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// How long to try to put a node back that does not answer: `"1m"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revert_patience: Option<Span>,
}

/// What deployments may use; what is left out has the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Calls of one strategy in one deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Bytes that the arguments of all its calls take together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// A wait longer than this gives the strategy's instance back: `"2s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub park_after: Option<Span>,
    /// Nodes that are ordered side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<usize>,
    /// Strategies that run at the same moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
}

/// A span of time, written `"1h 30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let span = humantime::parse_duration(&text);
        span.map(Self)
            .map_err(|error| format!("'{text}' is no span of time such as 2h or 30s: {error}"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        humantime::format_duration(span.0).to_string()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 5000).into(),
            data_dir: ".hotswap/engine".into(),
            log_format: LogFormat::Text,
            token_file: None,
            node_token_file: None,
            jwt: None,
            cors_origins: Vec::new(),
            environments: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// The environment variables that set a key of the configuration.
pub const VARIABLES: [(&str, &str); 5] = [
    ("HOTSWAP_LISTEN", "listen"),
    ("HOTSWAP_DATA_DIR", "dataDir"),
    ("HOTSWAP_LOG_FORMAT", "logFormat"),
    ("HOTSWAP_TOKEN_FILE", "tokenFile"),
    ("HOTSWAP_NODE_TOKEN_FILE", "nodeTokenFile"),
];

impl Config {
    /// Reads it all: `variable` tells environment variables, the file is looked for in
    /// the current folder.
    ///
    /// # Errors
    /// Where a key is unknown or a value does not fit: the error names it, where it stands,
    /// and what would fit.
    pub fn read(args: &Serve, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match &args.config {
            Some(file) => {
                ensure!(
                    file.is_file(),
                    "there is no configuration at {}",
                    file.display()
                );
                figment = figment.merge(Toml::file_exact(file));
            }
            None if Path::new(FILE).is_file() => figment = figment.merge(Toml::file_exact(FILE)),
            None => {}
        }
        for (name, key) in VARIABLES {
            if let Some(value) = variable(name) {
                figment = figment.merge((key, value));
            }
        }
        if let Some(listen) = args.listen {
            figment = figment.merge(("listen", listen));
        }
        if let Some(dir) = &args.data_dir {
            figment = figment.merge(("dataDir", dir));
        }
        if let Some(file) = &args.node_token_file {
            figment = figment.merge(("nodeTokenFile", file));
        }
        if !args.cors_origins.is_empty() {
            figment = figment.merge(("corsOrigins", &args.cors_origins));
        }
        if let Some(format) = args.log_format {
            figment = figment.merge(("logFormat", format));
        }
        figment.extract().context("the configuration does not fit")
    }

    /// The policies that differ from the default for their environment's name.
    pub fn policies(&self) -> BTreeMap<Environment, Policy> {
        let policy = |(environment, file): (&Environment, &PolicyFile)| {
            let mut policy = Policy::default_for(environment);
            let PolicyFile {
                default_strategy,
                max_unavailable,
                tolerated_failures,
                deadline,
                revert_patience,
            } = file.clone();
            if let Some(strategy) = default_strategy {
                policy.default_strategy = strategy;
            }
            policy.max_unavailable = max_unavailable.unwrap_or(policy.max_unavailable);
            policy.tolerated_failures = tolerated_failures.unwrap_or(policy.tolerated_failures);
            policy.deadline = deadline.map_or(policy.deadline, |span| span.0);
            policy.revert_patience = revert_patience.map_or(policy.revert_patience, |span| span.0);
            (environment.clone(), policy)
        };
        self.environments.iter().map(policy).collect()
    }

    /// What deployments may use.
    pub fn limits(&self) -> hotswap_runner::Limits {
        let default = hotswap_runner::Limits::default();
        hotswap_runner::Limits {
            calls: self.limits.calls.unwrap_or(default.calls),
            bytes: self.limits.bytes.unwrap_or(default.bytes),
            suspend_after: self
                .limits
                .park_after
                .map_or(default.suspend_after, |span| span.0),
            fan_out: self.limits.fan_out.unwrap_or(default.fan_out),
            instances: self.limits.instances.unwrap_or(default.instances),
        }
    }
}

#[cfg(test)]
mod tests;
