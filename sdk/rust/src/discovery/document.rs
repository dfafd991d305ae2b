use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Health, HealthCheck, Instance, Port, Registration};

/// An instance as a JSON document, for registries that hold documents under keys. Others may write
/// it, too, so all but the address may be absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    address: String,
    #[serde(default)]
    ports: BTreeMap<String, u16>,
    #[serde(default)]
    health: StoredHealth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredHealth {
    #[default]
    Passing,
    Warning,
    Critical,
    Unknown,
}

fn one() -> u16 {
    1
}

impl Document {
    /// An instance as it wants to be found.
    #[must_use]
    pub fn of(registration: &Registration) -> Self {
        let ports = registration.ports.iter();
        Self {
            address: registration.address.clone(),
            ports: ports.map(|port| (port.name.clone(), port.number)).collect(),
            // One that reports in may get no requests before it has reported that it is ready.
            health: match registration.check {
                Some(HealthCheck::Ttl(_)) => StoredHealth::Critical,
                _ => StoredHealth::Passing,
            },
            version: registration.version.clone(),
            zone: registration.zone.clone(),
            weight: 1,
            metadata: registration.metadata.iter().cloned().collect(),
        }
    }

    /// The document under a key.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the value is none.
    pub fn read(key: &str, value: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(value)
            .map_err(|error| Error::Protocol(format!("the value of {key} is no instance: {error}")))
    }

    /// The same with another health.
    #[must_use]
    pub fn with_health(&self, health: Health) -> Self {
        Self {
            health: match health {
                Health::Passing => StoredHealth::Passing,
                Health::Warning => StoredHealth::Warning,
                Health::Critical => StoredHealth::Critical,
                Health::Unknown => StoredHealth::Unknown,
            },
            ..self.clone()
        }
    }

    /// What it says of the instance.
    #[must_use]
    pub fn instance(self, id: String) -> Instance {
        let ports = self.ports.into_iter();
        Instance {
            id,
            address: self.address,
            ports: ports.map(|(name, number)| Port { name, number }).collect(),
            health: match self.health {
                StoredHealth::Passing => Health::Passing,
                StoredHealth::Warning => Health::Warning,
                StoredHealth::Critical => Health::Critical,
                StoredHealth::Unknown => Health::Unknown,
            },
            version: self.version,
            zone: self.zone,
            weight: self.weight,
            metadata: self.metadata.into_iter().collect(),
        }
    }
}
