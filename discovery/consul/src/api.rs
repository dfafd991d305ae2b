//! Consul's JSON, and what it means.

use std::collections::BTreeMap;

use hotswap_sdk::discovery::{
    Health, HealthCheck, Instance, Port, Registration, flat_metadata, instance, read_metadata,
    worst,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// An element of `/v1/health/service`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceEntry {
    node: Node,
    service: Service,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    address: String,
    port: u16,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
    warning: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

impl Check {
    fn health(&self) -> Health {
        match self.status.as_str() {
            "passing" => Health::Passing,
            "warning" => Health::Warning,
            "critical" | "maintenance" => Health::Critical,
            _ => Health::Unknown,
        }
    }
}

impl ServiceEntry {
    /// What it says of the instance.
    pub fn instance(self) -> Instance {
        let service = self.service;
        let health = worst(self.checks.iter().map(Check::health));
        // An instance without an address has that of its machine.
        let address = match service.address.is_empty() {
            true => self.node.address,
            false => service.address,
        };
        let mut instance = Instance {
            id: service.id,
            health,
            weight: service.weights.map_or(1, |weights| match health {
                Health::Warning => weights.warning,
                _ => weights.passing,
            }),
            ..instance(address)
        };
        read_metadata(&mut instance, service.meta.unwrap_or_default());
        if instance.ports.is_empty() && service.port != 0 {
            instance.ports.push(Port {
                name: String::new(),
                number: service.port,
            });
        }
        instance
    }
}

/// Each id once, with the healthiest of its entries. An id is unique for each agent only: an instance
/// that has moved to another machine, or registered through another agent, is there twice until the
/// entry before expires. Each entry is whole, so nothing of the others is added to it.
pub fn healthiest(mut instances: Vec<Instance>) -> Vec<Instance> {
    let rank = |health: Health| match health {
        Health::Passing => 0,
        Health::Warning => 1,
        Health::Unknown => 2,
        Health::Critical => 3,
    };
    instances.sort_by(|a, b| a.id.cmp(&b.id).then(rank(a.health).cmp(&rank(b.health))));
    instances.dedup_by(|other, first| other.id == first.id);
    instances
}

/// The body that registers an instance.
pub fn agent_registration(registration: &Registration, tags: &[String]) -> Value {
    let mut body = json!({
        "ID": registration.id,
        "Name": registration.service,
        "Address": registration.address,
        "Port": registration.ports.first().map_or(0, |port| port.number),
        "Tags": tags,
        "Meta": flat_metadata(registration),
    });
    if let Some(check) = &registration.check {
        let mut check = match check {
            // Nobody may send requests to it before it has reported that it is ready.
            HealthCheck::Ttl(span) => json!({ "TTL": millis(*span), "Status": "critical" }),
            HealthCheck::Http(http) => json!({
                "HTTP": http.url,
                "Interval": millis(http.interval),
                "Timeout": millis(http.timeout),
            }),
            HealthCheck::Other(_) => return body,
        };
        // `heartbeat` finds it by this.
        check["CheckID"] = json!(format!("service:{}", registration.id));
        if let Some(span) = registration.deregister_after {
            // Less than a minute is not accepted.
            check["DeregisterCriticalServiceAfter"] = json!(millis(span.max(60_000)));
        }
        body["Check"] = check;
    }
    body
}

/// Whether an agent says that it does not know a check. Older ones say it with status 500, as they
/// say that they have no leader.
pub fn says_unknown_check(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("Unknown check") || text.contains("CheckID")
}

fn millis(span: u64) -> String {
    format!("{span}ms")
}
