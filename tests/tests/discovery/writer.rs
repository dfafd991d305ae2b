use anyhow::Result;
use hotswap_plugins::discovery::{BackendInstance, InstanceHealth};
use hotswap_tests::KubeApiServer;
use hotswap_tests::kube_objects::{Endpoint, PODS, SERVICE, SLICES, pod, slice};

use crate::fixture::registration;

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
                let endpoint = endpoint(id, InstanceHealth::Passing);
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
                let slice = slice(&endpoint(id, health)).to_string();
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

/// The same as [`registration`] says.
fn endpoint(id: &str, health: InstanceHealth) -> Endpoint<'_> {
    Endpoint {
        id,
        address: "10.0.0.1".to_owned(),
        control: 5001,
        data: 8080,
        health,
    }
}
