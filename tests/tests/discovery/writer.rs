use anyhow::Result;
use hotswap_plugins::discovery::{BackendInstance, InstanceHealth};
use hotswap_tests::KubeApiServer;
use serde_json::{Value, json};

use crate::fixture::{SERVICE, registration};

/// Where the EndpointSlices are.
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
/// Where the pods are.
pub const PODS: &str = "/api/v1/namespaces/default/pods";

/// Changes a registry as nodes do, or as Kubernetes' controllers do for them.
pub enum Writer<'a> {
    Component(Box<BackendInstance>),
    Kubernetes(&'a KubeApiServer),
}

impl Writer<'_> {
    pub async fn register(&mut self, id: &str) -> Result<()> {
        match self {
            Self::Component(instance) => {
                instance.register(registration(id)).await?;
                self.report(id, InstanceHealth::Passing).await
            }
            Self::Kubernetes(server) => {
                server.create(PODS, &pod(id)).await?;
                let endpoint = Endpoint::registered(id, InstanceHealth::Passing);
                server.create(SLICES, &slice(&endpoint)).await?;
                Ok(())
            }
        }
    }

    pub async fn report(&mut self, id: &str, health: InstanceHealth) -> Result<()> {
        match self {
            Self::Component(instance) => {
                let (service, id) = (SERVICE.to_owned(), id.to_owned());
                Ok(instance.heartbeat(service, id, health).await?)
            }
            Self::Kubernetes(server) => {
                let slice = slice(&Endpoint::registered(id, health)).to_string();
                let path = format!("{SLICES}/{id}");
                server.request("PUT", &path, &slice).await.map(drop)
            }
        }
    }

    pub async fn remove(&mut self, id: &str) -> Result<()> {
        match self {
            Self::Component(instance) => {
                let (service, id) = (SERVICE.to_owned(), id.to_owned());
                Ok(instance.deregister(service, id).await?)
            }
            Self::Kubernetes(server) => {
                let path = format!("{SLICES}/{id}");
                server.request("DELETE", &path, "").await?;
                let path = format!("{PODS}/{id}?gracePeriodSeconds=0");
                server.request("DELETE", &path, "").await.map(drop)
            }
        }
    }
}

/// What Kubernetes says of one pod.
pub struct Endpoint<'a> {
    pub id: &'a str,
    pub address: String,
    pub control: u16,
    pub data: u16,
    pub health: InstanceHealth,
}

impl<'a> Endpoint<'a> {
    /// The same as [`registration`] says.
    fn registered(id: &'a str, health: InstanceHealth) -> Self {
        Self {
            id,
            address: "10.0.0.1".to_owned(),
            control: 5001,
            data: 8080,
            health,
        }
    }
}

/// A slice with one endpoint.
pub fn slice(endpoint: &Endpoint<'_>) -> Value {
    let id = endpoint.id;
    let (ready, serving) = match endpoint.health {
        InstanceHealth::Passing => (true, true),
        InstanceHealth::Warning => (false, true),
        InstanceHealth::Critical | InstanceHealth::Unknown => (false, false),
    };
    json!({
        "metadata": { "name": id, "labels": { "kubernetes.io/service-name": SERVICE } },
        "addressType": "IPv4",
        "ports": [
            { "name": "control", "port": endpoint.control },
            { "name": "data", "port": endpoint.data },
        ],
        "endpoints": [{
            "addresses": [endpoint.address], "zone": "eu",
            "conditions": { "ready": ready, "serving": serving, "terminating": false },
            "targetRef": { "kind": "Pod", "name": id, "namespace": "default" },
        }],
    })
}

/// A pod with the labels that [`registration`] has.
pub fn pod(id: &str) -> Value {
    json!({
        "metadata": { "name": id, "labels": {
            "environment": "production",
            "hotswap.dev/tier": "edge",
            "app.kubernetes.io/version": "0.1.0",
        } },
        "spec": { "containers": [{ "name": "node", "image": "hotswap" }] },
    })
}
