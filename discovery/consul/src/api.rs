//! Consul's JSON, and what it means.

use std::collections::BTreeMap;

use hotswap_sdk::discovery::{Health, HealthCheck, Instance, Port, Registration};
use serde::Deserialize;
use serde_json::{Value, json};

/// The metadata that holds a named port.
const PORT: &str = "port-";

/// The metadata that holds a key which Consul does not accept: `x_` and its bytes in hexadecimal.
const ENCODED: &str = "x_";

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

impl ServiceEntry {
    /// What it says of the instance.
    pub fn instance(self) -> Instance {
        let service = self.service;
        let health = worst(self.checks.iter().map(|check| check.status.as_str()));
        let weight = service.weights.map_or(1, |weights| match health {
            Health::Warning => weights.warning,
            _ => weights.passing,
        });
        let mut instance = Instance {
            id: service.id,
            // An instance without an address has that of its machine.
            address: if service.address.is_empty() {
                self.node.address
            } else {
                service.address
            },
            ports: Vec::new(),
            health,
            version: None,
            zone: None,
            weight,
            metadata: Vec::new(),
        };
        for (key, value) in service.meta.unwrap_or_default() {
            let port = key.strip_prefix(PORT).zip(value.parse().ok());
            match (key.as_str(), port) {
                (_, Some((name, number))) => instance.ports.push(Port {
                    name: name.to_owned(),
                    number,
                }),
                ("version", _) => instance.version = Some(value),
                ("zone", _) => instance.zone = Some(value),
                _ => instance.metadata.push((decode_key(&key), value)),
            }
        }
        if instance.ports.is_empty() && service.port != 0 {
            instance.ports.push(Port {
                name: String::new(),
                number: service.port,
            });
        }
        instance
    }
}

/// The body that registers an instance.
pub fn agent_registration(registration: &Registration, tags: &[String]) -> Value {
    let mut meta = BTreeMap::new();
    for (key, value) in &registration.metadata {
        meta.insert(encode_key(key), value.clone());
    }
    for port in &registration.ports {
        meta.insert(format!("{PORT}{}", port.name), port.number.to_string());
    }
    for (key, value) in [
        ("version", &registration.version),
        ("zone", &registration.zone),
    ] {
        if let Some(value) = value {
            meta.insert(key.to_owned(), value.clone());
        }
    }
    let mut body = json!({
        "ID": registration.id,
        "Name": registration.service,
        "Address": registration.address,
        "Port": registration.ports.first().map_or(0, |port| port.number),
        "Tags": tags,
        "Meta": meta,
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

fn millis(span: u64) -> String {
    format!("{span}ms")
}

/// The worst status. Without checks an instance is passing.
fn worst<'a>(statuses: impl Iterator<Item = &'a str>) -> Health {
    let rank = |health: &Health| match health {
        Health::Passing => 0,
        Health::Unknown => 1,
        Health::Warning => 2,
        Health::Critical => 3,
    };
    let health = statuses.map(|status| match status {
        "passing" => Health::Passing,
        "warning" => Health::Warning,
        "critical" | "maintenance" => Health::Critical,
        _ => Health::Unknown,
    });
    health.max_by_key(rank).unwrap_or(Health::Passing)
}

/// Consul accepts letters, digits, hyphens and underscores.
fn encode_key(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_ours = ["version", "zone"].contains(&key)
        || [PORT, ENCODED].iter().any(|prefix| key.starts_with(prefix));
    if key.bytes().all(is_plain) && !is_ours {
        return key.to_owned();
    }
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{ENCODED}{hex}")
}

fn decode_key(key: &str) -> String {
    let decoded = key.strip_prefix(ENCODED).and_then(|hex| {
        let digits: Vec<char> = hex.chars().collect();
        let bytes = digits.chunks(2).map(|pair| {
            let pair: String = pair.iter().collect();
            u8::from_str_radix(&pair, 16)
                .ok()
                .filter(|_| pair.len() == 2)
        });
        String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
    });
    decoded.unwrap_or_else(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_survives_consul() {
        for key in [
            "tier",
            "hotswap.dev/tier",
            "zone",
            "port-x",
            "x_y",
            "x_ff",
            "é",
        ] {
            let encoded = encode_key(key);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            assert!(encoded.bytes().all(is_plain), "{encoded}");
            assert_eq!(decode_key(&encoded), key);
        }
        for foreign in ["x_", "x_1", "x_zz", "x_fffe"] {
            decode_key(foreign);
        }
    }

    #[test]
    fn the_worst_check_counts() {
        assert_eq!(worst([].into_iter()), Health::Passing);
        assert_eq!(worst(["passing", "new"].into_iter()), Health::Unknown);
        let all = ["warning", "passing", "critical"];
        assert_eq!(worst(all.into_iter()), Health::Critical);
        assert_eq!(worst(["maintenance"].into_iter()), Health::Critical);
    }
}
