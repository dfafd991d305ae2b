//! Finds instances in the EndpointSlices of a Kubernetes service.
//!
//! Kubernetes registers pods itself, by the selector of the service and their readiness, so this
//! backend registers nothing.

#[cfg(test)]
mod tests;
mod unite;
mod wire;

use std::collections::BTreeMap;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Endpoints, Error, Line, ListAndWatch, Method, Request, Response, Secret,
    SecretPlace, Snapshot, Waited, encode, list_and_watch,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use unite::unite;
use wire::{Endpoint, EndpointSlice, PodList, SliceList, Status, WatchEvent};

hotswap_sdk::register_backend!(Kubernetes);

/// Of lists of which only the metadata is wanted.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// How long the labels of pods are believed.
const POD_LABELS_FOR: Span = Span::mins(1);

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

/// What is known of the pods. To list them for every change of an endpoint would be a burden to
/// the API server.
#[derive(Default)]
struct Pods {
    /// By their names.
    labels: Labels,
    /// When they were listed, by the clock of the context.
    listed_at: Option<u64>,
    /// Whether it was said that they may not be listed.
    has_warned: bool,
}

/// The labels of pods, by the names of the pods.
type Labels = BTreeMap<String, BTreeMap<String, String>>;

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
        let path = self.slices_path(service);
        let slices: SliceList = self.get(context, &path, |request| request)?;
        let items = slices.items.unwrap_or_default();
        if self.pod_labels {
            self.list_pods(context, &items)?;
        }
        Ok(Snapshot {
            instances: unite(items, &self.pods.labels, &self.metadata)?,
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
        let until = context.now().saturating_add(patience.as_millis());
        // Nothing comes while nothing changes, but for bookmarks.
        let idle = Span::millis(patience.as_millis().saturating_add(10_000));
        let path = format!(
            "{}&watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            self.slices_path(service),
            encode(cursor),
            patience.as_millis().div_ceil(1000).max(1),
        );
        let answer = self.ask(context, &path, |request| request.idle(idle))?;
        if answer.status() == GONE {
            return Ok(Waited::Changed);
        }
        let mut lines = checked(answer)?.lines();
        let mut reached = cursor.to_owned();
        loop {
            let left = Span::millis(until.saturating_sub(context.now()));
            let line = match lines.next(left)? {
                Line::Text(line) => line,
                Line::TimedOut => return Ok(Waited::TimedOut),
                Line::End => return Ok(Waited::Closed(Some(reached))),
            };
            let event: WatchEvent = serde_json::from_str(&line).map_err(|error| {
                Error::Protocol(format!("a line of the API server makes no sense: {error}"))
            })?;
            match event.kind.as_str() {
                "ADDED" | "MODIFIED" | "DELETED" => return Ok(Waited::Changed),
                "BOOKMARK" => {
                    let version = event.object.metadata.resource_version;
                    if is_older(&version, cursor) {
                        // Its store was restored.
                        return Ok(Waited::Changed);
                    }
                    reached = version;
                }
                "ERROR" if event.object.code == GONE => return Ok(Waited::Changed),
                "ERROR" => return Err(explain(event.object.code, &event.object.message)),
                _ => {}
            }
        }
    }
}

impl Kubernetes {
    /// The slices of a service.
    fn slices_path(&self, service: &str) -> String {
        let selector = format!("kubernetes.io/service-name={service}");
        let (namespace, selector) = (encode(&self.namespace), encode(&selector));
        format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={selector}"
        )
    }

    /// Learns the labels of the namespace's pods, where one is not known or what is known is old.
    fn list_pods(&mut self, context: &Context, slices: &[EndpointSlice]) -> Result<(), Error> {
        let now = context.now();
        let is_fresh = |at: u64| now.saturating_sub(at) < POD_LABELS_FOR.as_millis();
        let endpoints = slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten());
        let mut pods = endpoints.filter_map(Endpoint::pod);
        let are_known = pods.all(|pod| self.pods.labels.contains_key(pod));
        if are_known && self.pods.listed_at.is_some_and(is_fresh) {
            return Ok(());
        }
        let path = format!("/api/v1/namespaces/{}/pods", encode(&self.namespace));
        let pods = self.get(context, &path, |request| {
            request.header("accept", METADATA_ONLY)
        });
        let pods: PodList = match pods {
            Err(Error::Denied(text)) => {
                if !self.pods.has_warned {
                    context.warn(format!("the nodes have no labels of their pods: {text}"));
                    self.pods.has_warned = true;
                }
                return Ok(());
            }
            pods => pods?,
        };
        let pods = pods.items.unwrap_or_default().into_iter();
        let labels = pods.map(|pod| (pod.metadata.name, pod.metadata.labels.unwrap_or_default()));
        self.pods.labels = labels.collect();
        self.pods.listed_at = Some(now);
        Ok(())
    }

    fn get<T: DeserializeOwned>(
        &mut self,
        context: &Context,
        path: &str,
        complete: impl Fn(Request) -> Request,
    ) -> Result<T, Error> {
        checked(self.ask(context, path, complete)?)?.json()
    }

    fn ask(
        &mut self,
        context: &Context,
        path: &str,
        complete: impl Fn(Request) -> Request,
    ) -> Result<Response, Error> {
        self.api_servers.ask(context, Method::Get, path, complete)
    }
}

/// An answer with status 2xx, or what the API server says instead.
fn checked(answer: Response) -> Result<Response, Error> {
    let status = answer.status();
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let body = answer.bytes()?;
    let said: Option<Status> = serde_json::from_slice(&body).ok();
    let message = said.map_or_else(|| "no reason".to_owned(), |said| said.message);
    Err(explain(status, &message))
}

fn explain(code: u16, message: &str) -> Error {
    let text = format!("the API server answered {code}: {message}");
    match code {
        401 | 403 => Error::Denied(text),
        429 | 500.. => Error::Unavailable(text),
        _ => Error::Protocol(text),
    }
}

/// Whether a version comes before another one. Those of one store rise.
fn is_older(version: &str, than: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    number(version)
        .zip(number(than))
        .is_some_and(|(version, than)| version < than)
}
