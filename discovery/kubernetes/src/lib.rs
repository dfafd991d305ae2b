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
    Backend, Context, Endpoints, Error, ListAndWatch, ObjectList, Path, Secret, SecretPlace,
    Snapshot, Waited, list_and_watch, list_objects, watch_objects,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pods::Pods;
use slices::instances;
use wire::EndpointSlice;

hotswap_sdk::register_backend!(Kubernetes);

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
        let path = self.slices_path(service);
        let slices: ObjectList<EndpointSlice> =
            list_objects(context, &mut self.api_servers, &path)?;
        if self.pod_labels {
            let path = Path::new("/api/v1/namespaces").segment(&self.namespace);
            let (servers, path) = (&mut self.api_servers, path.segment("pods"));
            self.pods.update(context, servers, &path, &slices.items)?;
        }
        Ok(Snapshot {
            instances: instances(slices.items, self.pods.labels(), &self.metadata)?,
            cursor: slices.version,
        })
    }

    fn wait(
        &mut self,
        context: &Context,
        service: &str,
        cursor: &str,
        patience: Span,
    ) -> Result<Waited, Error> {
        let path = self.slices_path(service);
        watch_objects(context, &mut self.api_servers, &path, cursor, patience)
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
