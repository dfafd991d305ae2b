use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{Environment, StrategyName};
use hotswap_fleet::Registry;
use hotswap_fleet::discovery::{Network, Networks, SourceRules, WatchOptions};
use hotswap_plugins::discovery::{ClientCertificate, Origin, TlsFiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Span;

/// The backend that reads a file.
pub const STATIC: &str = "static";

/// Backends whose registries ask no instance for its health, or take no registrations.
const NEVER_ASK: [&str; 4] = ["etcd", "kubernetes", "dns", STATIC];

/// A poll more often would be a burden to a registry, one less often would miss what a broken
/// watch does.
const POLL_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A registry that asks more often would be a burden to the instances, and one that asks less often
/// would forget an instance after its first bad answer.
const CHECK_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// Less would refuse deployments for each restart of a registry.
const MAX_AGES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);

/// A registry that knows of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiscoverySource {
    /// The name by which the API and the log call it: lower-case letters, digits and hyphens.
    pub name: String,
    /// `consul`, `etcd`, `kubernetes`, `dns`, `static`, the path of a component, which ends with
    /// `.wasm`, or the name or the digest of a component that was uploaded.
    pub backend: String,
    /// The service whose instances are the nodes.
    #[serde(default = "default_service")]
    pub service: String,
    /// The servers that the backend may reach, each as `http://host:port` or
    /// `https://host:port`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// The names that the backend may resolve by DNS, besides the hosts of the origins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The name server to ask, as `host:port`. Those of the system if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_server: Option<String>,
    /// A file with the certificates of the authorities to trust, in PEM form. Those of the system
    /// if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A file with the certificate that the engine shows to the servers, in PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
    /// A file with the key of the client's certificate, in PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// Files with the secrets of the backend, by the names of the secrets.
    #[serde(default)]
    pub secrets: BTreeMap<String, PathBuf>,
    /// The settings of the backend.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// The file of `static`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The networks where the engine asks nodes, such as `10.0.0.0/8`. If empty, it asks nodes
    /// everywhere but on its own machine and at link-local addresses.
    #[serde(default)]
    pub networks: Vec<String>,
    /// The environment of all nodes of the source. Nodes that name another environment are left
    /// out. If absent, the nodes of all environments are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub environment: Option<Environment>,
    /// How old the view of the source may be for a new deployment while its registry fails; from 1 s
    /// to 30 days.
    #[serde(default = "default_max_age")]
    pub max_age: Span,
    /// Whether the engine registers itself there, as `distributed-kernel-orchestrator`, and a node
    /// itself, where the backend can register.
    #[serde(default = "yes")]
    pub register: bool,
    /// How the registry learns whether what is registered is healthy.
    #[serde(default)]
    pub check: CheckKind,
    /// How often the registry asks what is registered with the check `http`; from 1 s to 10 minutes.
    #[serde(default = "default_check_interval")]
    pub check_interval: Span,
    /// How long a watch waits for a change before the registry is asked for everything again;
    /// from 1 s to 1 hour.
    #[serde(default = "default_poll_interval")]
    pub poll_interval: Span,
}

/// How a registry learns whether an instance is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CheckKind {
    /// The instance reports in, and is critical when it has been silent for 30 seconds.
    #[default]
    Ttl,
    /// The registry asks the instance for its readiness by HTTP.
    Http,
}

fn default_service() -> String {
    "hotswap-node".to_owned()
}

fn yes() -> bool {
    true
}

/// A restart of a registry is not a reason to refuse a deployment. A registry that is silent for
/// an hour is down, and the fleet may have changed.
fn default_max_age() -> Span {
    Span(Duration::from_secs(3600))
}

fn default_check_interval() -> Span {
    Span(Duration::from_secs(30))
}

fn default_poll_interval() -> Span {
    Span(WatchOptions::default().poll_interval)
}

impl DiscoverySource {
    /// Checks what the types do not say, of all sources together.
    ///
    /// # Errors
    /// If a name is invalid or there twice, or a source lacks what its backend needs.
    pub fn check_all(sources: &[Self]) -> Result<()> {
        let mut names = BTreeSet::new();
        for source in sources {
            let name = &source.name;
            // The rules for names are the same.
            if let Err(error) = name.parse::<StrategyName>() {
                anyhow::bail!("discovery: a name is invalid: {error}");
            }
            ensure!(
                names.insert(name) && name != Registry::SOURCE,
                "discovery: there are two sources named '{name}'; give each a name of its own"
            );
            source
                .check()
                .map_err(|error| error.context(format!("discovery source '{name}'")))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.rules()?;
        let (min, max) = (MAX_AGES.start(), MAX_AGES.end());
        ensure!(
            MAX_AGES.contains(&self.max_age.0),
            "maxAge is {:?}; choose a span from {min:?} to {max:?}",
            self.max_age.0
        );
        let (min, max) = (POLL_INTERVALS.start(), POLL_INTERVALS.end());
        ensure!(
            POLL_INTERVALS.contains(&self.poll_interval.0),
            "pollInterval is {:?}; choose a span from {min:?} to {max:?}",
            self.poll_interval.0
        );
        let (min, max) = (CHECK_INTERVALS.start(), CHECK_INTERVALS.end());
        ensure!(
            CHECK_INTERVALS.contains(&self.check_interval.0),
            "checkInterval is {:?}; choose a span from {min:?} to {max:?}",
            self.check_interval.0
        );
        ensure!(
            self.check == CheckKind::Ttl || !NEVER_ASK.contains(&self.backend.as_str()),
            "check is http, and the backend {} does not let its registry ask instances for their \
             health; remove check",
            self.backend
        );
        if self.backend == STATIC {
            ensure!(
                self.file.is_some(),
                "file is missing; name the file with the list of nodes"
            );
            let has_others =
                !self.origins.is_empty() || !self.secrets.is_empty() || !self.settings.is_empty();
            let asks = !self.names.is_empty() || self.name_server.is_some();
            ensure!(
                !has_others && !asks && !self.has_tls_files(),
                "the backend static has no origins, names, secrets, settings or files for TLS; \
                 remove them"
            );
            return Ok(());
        }
        ensure!(
            self.file.is_none(),
            "only the backend static has a file; remove it"
        );
        ensure!(
            !(self.origins.is_empty() && self.names.is_empty()),
            "origins is empty, so the backend could reach nothing; name the servers of the \
             registry, each as http://host:port or https://host:port, or, for DNS, the names to \
             resolve in names"
        );
        ensure!(
            self.client_certificate.is_some() == self.client_key.is_some(),
            "clientCertificate and clientKey belong together; set both or neither"
        );
        if let Some(server) = &self.name_server {
            let port = server.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            ensure!(
                matches!(port, Some(Ok(1..))),
                "nameServer is '{server}'; write it as host:port, such as 10.0.0.2:53"
            );
        }
        let origins = self.parse_origins()?;
        ensure!(
            !self.has_tls_files() || origins.iter().any(Origin::is_tls),
            "there are files for TLS, and no origin is https; write https://host:port, or remove \
             caFile, clientCertificate and clientKey"
        );
        Ok(())
    }

    fn has_tls_files(&self) -> bool {
        let files = [&self.ca_file, &self.client_certificate, &self.client_key];
        files.iter().any(|file| file.is_some())
    }

    /// The files for TLS to the servers.
    pub fn tls_files(&self) -> TlsFiles {
        let client = self.client_certificate.clone().zip(self.client_key.clone());
        TlsFiles {
            authorities: self.ca_file.clone(),
            client: client.map(|(certificate, key)| ClientCertificate { certificate, key }),
        }
    }

    /// What was decided about the source.
    ///
    /// # Errors
    /// If a network is not written as an address or as an address with the length of its prefix.
    pub fn rules(&self) -> Result<SourceRules> {
        let networks = self.networks.iter().map(|text| text.parse::<Network>());
        let networks: Result<_, _> = networks.collect();
        let networks = networks.map_err(|error| anyhow::anyhow!("networks: {error}"))?;
        Ok(SourceRules {
            networks: Networks::new(networks),
            environment: self.environment.clone(),
            max_age: Some(self.max_age.0),
        })
    }

    /// The servers that the backend may reach.
    ///
    /// # Errors
    /// If one is not written as `http://host:port` or `https://host:port`.
    pub fn parse_origins(&self) -> Result<Vec<Origin>> {
        let parse = |text: &String| {
            let origin = text.parse::<Origin>();
            // Not the text: it might hold a password.
            origin.map_err(|error| anyhow::anyhow!("origins: {error}"))
        };
        self.origins.iter().map(parse).collect()
    }
}
