use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::Health;
use hotswap_fleet::discovery::{Backend, Error, Found, Snapshot};
use hotswap_plugins::discovery::{
    BackendComponent, BackendInstance, BackendSettings, Instance, InstanceHealth,
};

use super::{to_error, to_start_error};

/// The instances of one service, as a discovery component finds them.
pub struct ComponentBackend {
    component: BackendComponent,
    settings: BackendSettings,
    service: String,
    /// `None` before the first call, and after one that has ended it.
    instance: Option<BackendInstance>,
}

impl ComponentBackend {
    /// Watches a service through instances of `component` with these settings. Starts none yet.
    pub fn new(
        component: BackendComponent,
        settings: BackendSettings,
        service: impl Into<String>,
    ) -> Self {
        Self {
            component,
            settings,
            service: service.into(),
            instance: None,
        }
    }
}

#[async_trait]
impl Backend for ComponentBackend {
    async fn watch(
        &mut self,
        cursor: Option<String>,
        patience: Duration,
    ) -> Result<Snapshot, Error> {
        // Where this is cancelled, the instance is gone with the call.
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let started = self.component.start(self.settings.clone()).await;
                started.map_err(|error| to_start_error(&error))?
            }
        };
        let watched = instance.watch(self.service.clone(), cursor, patience);
        let watched = watched.await;
        if !watched.as_ref().is_err_and(|error| error.has_ended()) {
            self.instance = Some(instance);
        }
        let snapshot = watched.map_err(|error| to_error(&error))?;
        let (mut instances, mut invalid) = (Vec::new(), Vec::new());
        for found in snapshot.instances {
            match to_found(found).into_instance() {
                Ok(instance) => instances.push(instance),
                Err(reason) => invalid.push(reason),
            }
        }
        Ok(Snapshot {
            instances,
            invalid,
            cursor: snapshot.cursor,
        })
    }
}

fn to_found(instance: Instance) -> Found {
    let ports = instance.ports.into_iter();
    Found {
        id: instance.id,
        address: instance.address,
        ports: ports.map(|port| (port.name, port.number)).collect(),
        health: match instance.health {
            InstanceHealth::Passing => Health::Passing,
            InstanceHealth::Warning => Health::Warning,
            InstanceHealth::Critical => Health::Critical,
            InstanceHealth::Unknown => Health::Unknown,
        },
        version: instance.version,
        zone: instance.zone,
        metadata: instance.metadata.into_iter().collect(),
    }
}
