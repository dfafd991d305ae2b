use anyhow::Result;
use hotswap_plugins::discovery::{BackendInstance, InstanceHealth};
use hotswap_tests::KubeApiServer;
use serde_json::{Value, json};

use crate::fixture::{SERVICE, registration};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Changes a registry as nodes do, or as Kubernetes' controllers do for them.
pub enum Writer<'a> {
    Component(Box<BackendInstance>),
    Kubernetes(&'a KubeApiServer),
}

impl Writer<'_> {
    pub async fn register(&mut self, id: &str) -> Result<()> {
        match self {
            Self::Component(instance) => Ok(instance.register(registration(id)).await?),
            Self::Kubernetes(server) => {
                server.create(PODS, &pod(id)).await?;
                server
                    .create(SLICES, &slice(id, InstanceHealth::Passing))
                    .await?;
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
                let slice = slice(id, health).to_string();
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

/// A slice with one endpoint: the same as [`registration`] says.
fn slice(id: &str, health: InstanceHealth) -> Value {
    let (ready, serving) = match health {
        InstanceHealth::Passing => (true, true),
        InstanceHealth::Warning => (false, true),
        InstanceHealth::Critical | InstanceHealth::Unknown => (false, false),
    };
    json!({
        "metadata": { "name": id, "labels": { "kubernetes.io/service-name": SERVICE } },
        "addressType": "IPv4",
        "ports": [{ "name": "control", "port": 5001 }, { "name": "data", "port": 8080 }],
        "endpoints": [{
            "addresses": ["10.0.0.1"], "zone": "eu",
            "conditions": { "ready": ready, "serving": serving, "terminating": false },
            "targetRef": { "kind": "Pod", "name": id, "namespace": "default" },
        }],
    })
}

fn pod(id: &str) -> Value {
    json!({
        "metadata": { "name": id, "labels": {
            "environment": "production",
            "hotswap.dev/tier": "edge",
            "app.kubernetes.io/version": "0.1.0",
        } },
        "spec": { "containers": [{ "name": "node", "image": "hotswap" }] },
    })
}
