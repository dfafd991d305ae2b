//! Finds instances in the EndpointSlices of a Kubernetes service.
//!
//! Kubernetes registers pods itself, by the selector of the service and their readiness, so this
//! backend registers nothing.

mod pods;
mod slices;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Endpoints, Error, ListAndWatch, Method, Path, Response, Secret, SecretPlace,
    Snapshot, Waited, error_of_status, follow, list_and_watch,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pods::Pods;
use slices::instances;
use wire::{SliceList, Status, WatchEvent, WatchObject};

hotswap_sdk::register_backend!(Kubernetes);

/// HTTP's "Gone": the API server no longer has the changes since a version.
const GONE: u16 = 410;

/// Settings of `kubernetes`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The URLs of API servers. The first that answers is used, until it no longer does.
    api_servers: Vec<String>,
    /// The namespace of the service.
    namespace: String,
    /// Whether to take over the labels of the pods, which needs the right to list pods. Goes on
    /// without them where that is denied.
    pod_labels: bool,
    /// Metadata of each instance, such as its environment. Labels of its pod go before it.
    metadata: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api_servers: vec!["https://kubernetes.default.svc".to_owned()],
            namespace: "default".to_owned(),
            pod_labels: true,
            metadata: BTreeMap::new(),
        }
    }
}

/// The backend.
pub struct Kubernetes {
    api_servers: Endpoints,
    namespace: String,
    pod_labels: bool,
    metadata: BTreeMap<String, String>,
    pods: Pods,
}

impl Backend for Kubernetes {
    type Config = Config;
    const NAME: &'static str = "kubernetes";
    const SUMMARY: &'static str = "Finds instances in the EndpointSlices of a Kubernetes service.";
    const SECRETS: &'static [Secret] = &[Secret {
        name: "token",
        summary: "The token of a service account.",
        place: SecretPlace::Header {
            name: "authorization",
            prefix: "Bearer ",
        },
    }];

    fn new(config: Config) -> Result<Self, Error> {
        if config.namespace.is_empty() {
            let text = "namespace is empty: name the namespace of the service";
            return Err(Error::InvalidConfig(text.to_owned()));
        }
        Ok(Self {
            api_servers: Endpoints::new("apiServers", config.api_servers)?,
            namespace: config.namespace,
            pod_labels: config.pod_labels,
            metadata: config.metadata,
            pods: Pods::default(),
        })
    }

    fn watch(
        &mut self,
        context: &Context,
        service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        list_and_watch(self, context, service, cursor, patience)
    }
}

impl ListAndWatch for Kubernetes {
    fn list(&mut self, context: &Context, service: &str) -> Result<Snapshot, Error> {
        let path = self.slices_path(service).to_string();
        let servers = &mut self.api_servers;
        let answer = servers.ask(context, Method::Get, &path, |request| request)?;
        let slices: SliceList = checked(answer)?.json()?;
        let items = slices.items.unwrap_or_default();
        if self.pod_labels {
            let path = Path::new("/api/v1/namespaces").segment(&self.namespace);
            let path = path.segment("pods").to_string();
            self.pods.update(context, servers, &path, &items)?;
        }
        Ok(Snapshot {
            instances: instances(items, self.pods.labels(), &self.metadata)?,
            cursor: slices.metadata.resource_version,
        })
    }

    fn wait(
        &mut self,
        context: &Context,
        service: &str,
        cursor: &str,
        patience: Span,
    ) -> Result<Waited, Error> {
        if cursor.parse::<u64>().is_err() {
            // Of another backend. The API server would answer it with status 500.
            return Ok(Waited::Changed);
        }
        let seconds = patience.as_millis().div_ceil(1000).max(1);
        let path = self
            .slices_path(service)
            .query("watch", 1)
            .query("allowWatchBookmarks", true)
            .query("resourceVersion", cursor)
            .query("timeoutSeconds", seconds)
            .to_string();
        let servers = &mut self.api_servers;
        let answer = servers.ask(context, Method::Get, &path, |request| {
            request.streams_for(patience)
        })?;
        if answer.status() == GONE {
            return Ok(Waited::Changed);
        }
        let mut reached = cursor.to_owned();
        let waited = follow(context, checked(answer)?, patience, |event: WatchEvent| {
            let WatchObject {
                metadata,
                code,
                message,
            } = event.object;
            match event.kind.as_str() {
                "ADDED" | "MODIFIED" | "DELETED" => Ok(Some(Waited::Changed)),
                // Its store was restored.
                "BOOKMARK" if is_older(&metadata.resource_version, cursor) => {
                    Ok(Some(Waited::Changed))
                }
                "BOOKMARK" => {
                    reached = metadata.resource_version;
                    Ok(None)
                }
                "ERROR" if code == GONE => Ok(Some(Waited::Changed)),
                "ERROR" => {
                    let text = format!("the API server ended the watch with {code}: {message}");
                    Err(error_of_status(code, text))
                }
                _ => Ok(None),
            }
        });
        Ok(match waited? {
            Waited::Closed(_) => Waited::Closed(Some(reached)),
            other => other,
        })
    }
}

impl Kubernetes {
    /// The slices of a service.
    fn slices_path(&self, service: &str) -> Path {
        let selector = format!("kubernetes.io/service-name={service}");
        Path::new("/apis/discovery.k8s.io/v1/namespaces")
            .segment(&self.namespace)
            .segment("endpointslices")
            .query("labelSelector", selector)
    }
}

/// An answer with status 2xx, or what the API server says instead.
fn checked(answer: Response) -> Result<Response, Error> {
    answer.ok_or(|body| {
        let said: Status = serde_json::from_slice(body).ok()?;
        Some(said.message)
    })
}

/// Whether a version comes before another one. Those of one store rise.
fn is_older(version: &str, than: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    number(version)
        .zip(number(than))
        .is_some_and(|(version, than)| version < than)
}
