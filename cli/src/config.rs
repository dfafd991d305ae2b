//! The engine's configuration: defaults, then a file, then environment variables, then
//! flags. A later source overrides an earlier one.
//!
//! `docs/CONFIGURATION.md` and `hotswap.example.toml` are generated from these types: the
//! doc comments of the fields are their texts. See [`crate::reference`].

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use hotswap_api::Origin;
use hotswap_core::{Environment, Policy, Selector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::args::{ClientTlsArgs, Serve, shorten};
use crate::defaults;
use crate::logging::LogFormat;

mod artifacts;
mod discovery;
mod jwt;
mod limits;
mod metric_provider;
mod nodes;
mod policy;
mod retention;
mod span;
mod store;
mod telemetry;
mod tls;
mod without_secrets;

pub use artifacts::Artifacts;
pub use discovery::{CheckKind, DiscoverySource, STATIC};
pub use jwt::Jwt;
pub use limits::Limits;
pub use metric_provider::MetricProvider;
pub use nodes::Nodes;
pub use policy::PolicyOverrides;
pub use retention::Retention;
pub use span::Span;
pub use store::{PASSWORD_VARIABLE, Store};
pub use telemetry::{OtlpProtocol, Telemetry};
use tls::Certificate;
pub use tls::Tls;

/// The longest URL of an engine, in bytes: a host name has 253.
const MAX_ADVERTISE: usize = 272;

/// The longest that each phase of stopping may last: more than any supervisor waits.
const MAX_STOP: Duration = Duration::from_secs(3600);

/// How long a server serves on after SIGTERM by default, where others can reach it: Kubernetes
/// takes a second or two to take a pod that stops out of its services, cloud load balancers more.
const LAME_DUCK: Duration = Duration::from_secs(5);

/// How long a server that listens on these addresses serves on after SIGTERM by default. Nobody
/// follows the readiness of one on loopback.
pub fn default_lame_duck(addresses: &[SocketAddr]) -> Duration {
    match addresses.iter().all(|addr| addr.ip().is_loopback()) {
        true => Duration::ZERO,
        false => LAME_DUCK,
    }
}

/// An engine's configuration, as `hotswap.toml` spells it. Unknown keys are rejected: a
/// policy with a misspelt key would silently not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The address that the API listens on. On any address but loopback, `tokenFile` and
    /// `nodeTokenFile` or their environment variables are required.
    pub listen: SocketAddr,
    /// The URL by which nodes and registries reach the engine, as `http://host:port` or
    /// `https://host:port`. Without it,
    /// the address that the API listens on; if that is every address of the machine, the one from
    /// which the engine reaches the other side.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"http://engine.example.org:5000")]
    pub advertise: Option<String>,
    /// The folder for journals, artifacts and generated tokens.
    pub data_dir: PathBuf,
    /// The folder for compiled strategies and discovery backends, which several engines and nodes of
    /// one user may share. Whoever can write to it can run code as the engine. Without it, `compiled`
    /// in `dataDir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/var/cache/hotswap")]
    pub compiled_dir: Option<PathBuf>,
    /// The format of the log: `text` for people, or `json`, an object a line.
    pub log_format: LogFormat,
    /// A file with the API token, which grants the role admin. On loopback, a token is
    /// generated and stored as `token` in `dataDir` where none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/token")]
    pub token_file: Option<PathBuf>,
    /// A file with the token that nodes and the engine share. On loopback, a token is
    /// generated and stored as `node-token` in `dataDir` where none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/node-token")]
    pub node_token_file: Option<PathBuf>,
    /// Web pages that may call the API from a browser, each as `"http://host:port"`.
    #[schemars(with = "Vec<String>")]
    pub cors_origins: Vec<Origin>,
    /// How long the engine goes on serving after SIGTERM, though it is not ready any more, before
    /// it closes its port: longer than load balancers need to notice, at most `"1h"`. Without it,
    /// `"0s"` on loopback, where none can be, else `"5s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5s", with = "Option<String>")]
    pub lame_duck: Option<Span>,
    /// How long requests under way may go on once the port is closed, from 1 s to 1 hour. A
    /// supervisor must give the engine longer than `lameDuck` and this together.
    pub drain: Span,
    /// HTTPS.
    pub tls: Tls,
    /// Where the engine keeps its state: in `dataDir`, or on a server that engines share.
    pub store: Store,
    /// Where artifacts are kept.
    pub artifacts: Artifacts,
    /// How many resources deployments may use.
    pub limits: Limits,
    /// How long the engine waits for its nodes.
    pub nodes: Nodes,
    /// What is kept of what has ended, and how much of the disk is kept in reserve. Ages count
    /// once the engine has run for an hour, and no earlier than an hour after the machine's date
    /// was set.
    pub retention: Retention,
    /// The policy of each environment, and the nodes that belong to it by their labels. A key
    /// that is left out has the default for the environment's name.
    #[schemars(with = "BTreeMap<String, PolicyOverrides>")]
    pub environments: BTreeMap<Environment, PolicyOverrides>,
    /// Registries that know of nodes, besides the engine itself: an array of tables. See
    /// docs/SERVICE_DISCOVERY_GUIDE.md.
    #[schemars(with = "Vec<String>")]
    pub discovery: Vec<DiscoverySource>,
    /// Servers that soaks may ask for metrics: an array of tables. See docs/canary.md.
    #[schemars(with = "Vec<String>")]
    pub metric_providers: Vec<MetricProvider>,
    /// Where traces and metrics go. See docs/OBSERVABILITY.md.
    pub telemetry: Telemetry,
    /// How signed tokens (JWT) are validated. Without this section, signed tokens are
    /// rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 5000).into(),
            advertise: None,
            data_dir: ".hotswap/engine".into(),
            compiled_dir: None,
            log_format: LogFormat::Text,
            token_file: None,
            node_token_file: None,
            jwt: None,
            cors_origins: Vec::new(),
            lame_duck: None,
            drain: Span(hotswap_api::Limits::default().grace),
            tls: Tls::default(),
            environments: BTreeMap::new(),
            discovery: Vec::new(),
            metric_providers: Vec::new(),
            store: Store::default(),
            artifacts: Artifacts::default(),
            limits: Limits::default(),
            nodes: Nodes::default(),
            retention: Retention::default(),
            telemetry: Telemetry::default(),
        }
    }
}

/// The environment variables that set a key of the configuration.
pub const VARIABLES: [(&str, &str); 27] = [
    ("HOTSWAP_LISTEN", "listen"),
    ("HOTSWAP_ADVERTISE", "advertise"),
    ("HOTSWAP_DATA_DIR", "dataDir"),
    ("HOTSWAP_COMPILED_DIR", "compiledDir"),
    ("HOTSWAP_LOG_FORMAT", "logFormat"),
    ("HOTSWAP_TOKEN_FILE", "tokenFile"),
    ("HOTSWAP_NODE_TOKEN_FILE", "nodeTokenFile"),
    ("HOTSWAP_LAME_DUCK", "lameDuck"),
    ("HOTSWAP_DRAIN", "drain"),
    ("HOTSWAP_TLS_CERT", "tls.cert"),
    ("HOTSWAP_TLS_KEY", "tls.key"),
    ("HOTSWAP_TLS_CLIENT_CA", "tls.clientCa"),
    ("HOTSWAP_CA", "tls.ca"),
    ("HOTSWAP_CLIENT_CERT", "tls.clientCert"),
    ("HOTSWAP_CLIENT_KEY", "tls.clientKey"),
    ("HOTSWAP_TLS_NODE_NAME", "tls.nodeName"),
    ("HOTSWAP_STORE_URL", "store.url"),
    ("HOTSWAP_STORE_USERNAME", "store.username"),
    ("HOTSWAP_STORE_PASSWORD_FILE", "store.passwordFile"),
    ("HOTSWAP_STORE_CA_FILE", "store.caFile"),
    ("HOTSWAP_NODES_CONNECT_TIMEOUT", "nodes.connectTimeout"),
    ("HOTSWAP_NODES_REQUEST_TIMEOUT", "nodes.requestTimeout"),
    ("HOTSWAP_NODES_PATIENCE", "nodes.patience"),
    ("HOTSWAP_NODES_STALL_TIMEOUT", "nodes.stallTimeout"),
    ("HOTSWAP_NODES_COMPILE_TIMEOUT", "nodes.compileTimeout"),
    ("HOTSWAP_NODES_EXPIRE_AFTER", "nodes.expireAfter"),
    (
        "HOTSWAP_NODES_EXPIRE_STOPPED_AFTER",
        "nodes.expireStoppedAfter",
    ),
];

impl Config {
    /// Reads all sources. `variable` returns the value of an environment variable. Where no
    /// file is named, `hotswap.toml` in the current folder is read, if it exists.
    ///
    /// # Errors
    /// Where a key is unknown or a value is invalid. The error names the key, the source, and
    /// what would be valid.
    pub fn read(args: &Serve, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Self::read_with(args, &ClientTlsArgs::default(), variable)
    }

    /// As [`Self::read`], with the flags of all commands for connections to others.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with(
        args: &Serve,
        client_tls: &ClientTlsArgs,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        let default_file = Path::new(defaults::CONFIG_FILE);
        match &args.config {
            Some(file) => {
                ensure!(
                    file.is_file(),
                    "there is no configuration at {}",
                    shorten(&file.display().to_string())
                );
                figment = figment.merge(Toml::file_exact(file));
            }
            None if default_file.is_file() => {
                figment = figment.merge(Toml::file_exact(default_file));
            }
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
        if let Some(folder) = &args.data_dir {
            figment = figment.merge(("dataDir", folder));
        }
        if let Some(folder) = &args.compiled_dir {
            figment = figment.merge(("compiledDir", folder));
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
        for (key, span) in [("lameDuck", args.lame_duck), ("drain", args.drain)] {
            if let Some(span) = span {
                figment = figment.merge((key, Span(span)));
            }
        }
        for (key, file) in [
            ("tls.cert", &args.tls.tls_cert.first().cloned()),
            ("tls.key", &args.tls.tls_key.first().cloned()),
            ("tls.clientCa", &args.tls.tls_client_ca),
            ("tls.ca", &client_tls.ca),
            ("tls.clientCert", &client_tls.client_cert),
            ("tls.clientKey", &client_tls.client_key),
        ] {
            if let Some(file) = file {
                figment = figment.merge((key, file));
            }
        }
        let further = args.tls.further()?.into_iter().map(Certificate::from);
        let further: Vec<_> = further.collect();
        if !further.is_empty() {
            figment = figment.merge(("tls.certificates", further));
        }
        let config: Self = figment.extract().map_err(|error| {
            // An error repeats the value, which may be megabytes long.
            let text = error.to_string();
            let words = text.split(' ').map(shorten);
            let text = words.collect::<Vec<_>>().join(" ");
            anyhow!(text).context("the configuration is invalid")
        })?;
        config.check().context("the configuration is invalid")?;
        Ok(config)
    }

    /// Where compiled components are.
    pub fn compiled_dir(&self) -> PathBuf {
        let within_data = || self.data_dir.join(defaults::COMPILED_FOLDER);
        self.compiled_dir.clone().unwrap_or_else(within_data)
    }

    /// Checks that every number is in its range, which its type alone does not say.
    fn check(&self) -> Result<()> {
        self.store.check()?;
        self.artifacts.check()?;
        self.tls.check()?;
        let lame_duck = self.lame_duck.map_or(Duration::ZERO, |span| span.0);
        ensure!(
            lame_duck <= MAX_STOP,
            "lameDuck is {lame_duck:?}; choose a span from 0s to 1h"
        );
        ensure!(
            (Duration::from_secs(1)..=MAX_STOP).contains(&self.drain.0),
            "drain is {:?}; choose a span from 1s to 1h",
            self.drain.0
        );
        let limits = hotswap_runner::Limits::from(self.limits);
        if let Err(error) = limits.check() {
            bail!("limits.{error}");
        }
        if let Err(error) = hotswap_fleet::Options::from(self.nodes).check() {
            bail!("nodes.{error}");
        }
        if let Err(error) = hotswap_runner::ExpiryLimits::from(self.nodes).check() {
            bail!("nodes.{error}");
        }
        for (environment, policy) in self.policies() {
            if let Err(error) = policy.check() {
                bail!("environments.{environment}.{error}");
            }
        }
        check_selectors(&self.selectors())?;
        DiscoverySource::check_all(&self.discovery)?;
        MetricProvider::check_all(&self.metric_providers)?;
        if let Some(url) = &self.advertise {
            let is_bare = url.parse::<Origin>().is_ok();
            ensure!(
                is_bare && url.len() <= MAX_ADVERTISE,
                "advertise is no URL by which others reach the engine; write it as \
                 http://host:port or https://host:port, without a path"
            );
        }
        if let Some(jwt) = &self.jwt {
            jwt.check()?;
        }
        Ok(())
    }

    /// The environments that nodes belong to by their labels.
    pub fn selectors(&self) -> BTreeMap<Environment, Selector> {
        let selector = |(name, overrides): (&Environment, &PolicyOverrides)| {
            Some((name.clone(), overrides.selector.clone()?))
        };
        self.environments.iter().filter_map(selector).collect()
    }

    /// What should be the same for all engines on one store, by the names of the keys: selectors, and
    /// what a deployment may take. Policies are not among them: the store has them, or reports them.
    pub fn shared_settings(&self) -> BTreeMap<String, String> {
        let Limits {
            calls,
            bytes,
            bytes_per_node,
            total_fuel,
            ..
        } = self.limits;
        let limits = [
            ("limits.calls", calls.to_string()),
            ("limits.bytes", bytes.to_string()),
            ("limits.bytesPerNode", bytes_per_node.to_string()),
            ("limits.totalFuel", total_fuel.to_string()),
            ("store.lease", String::from(self.store.lease)),
        ];
        let limits = limits.map(|(name, value)| (name.to_owned(), value));
        let selectors = self.selectors().into_iter().map(|(name, selector)| {
            let name = format!("environments.{name}.selector");
            (name, selector.to_string())
        });
        limits.into_iter().chain(selectors).collect()
    }

    /// The policies of the environments that the configuration names.
    pub fn policies(&self) -> BTreeMap<Environment, Policy> {
        let policy = |(environment, overrides): (&Environment, &PolicyOverrides)| {
            let policy = overrides.apply_to(Policy::default_for(environment));
            (environment.clone(), policy)
        };
        self.environments.iter().map(policy).collect()
    }
}

/// Checks that no two environments have the same selector.
///
/// # Errors
/// Where two have. The error names both keys.
pub(crate) fn check_selectors(selectors: &BTreeMap<Environment, Selector>) -> Result<()> {
    for (environment, selector) in selectors {
        let same = selectors.iter().find(|(_, other)| *other == selector);
        if let Some((first, _)) = same.filter(|(first, _)| *first != environment) {
            bail!(
                "environments.{first}.selector and environments.{environment}.selector are the \
                 same, and a node belongs to one environment: change one of them"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
