//! What a Consul or an etcd holds, as it says itself.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hotswap_tests::{DiscoveryServer, RegistryKind};
use serde_json::{Value, json};

/// Its text on the instances of a service, which holds their ids and their addresses.
pub async fn registered(server: &DiscoveryServer, service: &str) -> Result<String> {
    let DiscoveryServer::Registry(registry) = server else {
        bail!("nobody registers there")
    };
    if matches!(
        registry.kind(),
        RegistryKind::Consul | RegistryKind::ConsulWithAcls
    ) {
        let path = format!("/v1/health/service/{service}");
        return registry.request("GET", &path, "").await;
    }
    let body = all_keys(json!({ "keys_only": true }));
    let keys = registry.request("POST", "/v3/kv/range", &body).await?;
    let keys: Value = serde_json::from_str(&keys)?;
    let found = keys["kvs"].as_array().cloned().unwrap_or_default();
    let of_service: Vec<_> = found
        .iter()
        .filter_map(|entry| BASE64_STANDARD.decode(entry["key"].as_str()?).ok())
        .map(|key| String::from_utf8_lossy(&key).into_owned())
        .filter(|key| key.contains(service))
        .collect();
    Ok(format!("{of_service:?}"))
}

/// Has etcd forget everything at once, while nodes and engine go on.
pub async fn forget_everything(etcd: &DiscoveryServer) -> Result<()> {
    let (path, body) = ("/v3/kv/deleterange", all_keys(json!({})));
    etcd.request("POST", path, &body).await.map(drop)
}

/// A request of etcd for all keys: from the smallest, in base64, without an end.
fn all_keys(mut request: Value) -> String {
    request["key"] = "AA==".into();
    request["range_end"] = "AA==".into();
    request.to_string()
}
