//! The value of an instance's key.

use std::collections::BTreeMap;

use hotswap_sdk::discovery::{Health, Instance, Port, Registration};
use serde::{Deserialize, Serialize};

/// An instance as etcd holds it. Others may write it, too, so all but the address may be absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Value {
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

impl Value {
    /// An instance as it wants to be found.
    pub fn of(registration: &Registration) -> Self {
        let ports = registration.ports.iter();
        Self {
            address: registration.address.clone(),
            ports: ports.map(|port| (port.name.clone(), port.number)).collect(),
            health: StoredHealth::Passing,
            version: registration.version.clone(),
            zone: registration.zone.clone(),
            weight: 1,
            metadata: registration.metadata.iter().cloned().collect(),
        }
    }

    /// The same with another health.
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
