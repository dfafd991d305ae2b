//! A client that does nothing but send requests.

use anyhow::{Result, ensure};
use hotswap_core::Digest;
use hotswap_tests::NODE_TOKEN;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Brings a node that has seen no orders to `hello` 1.0.0, as a repair does: asks what it runs,
/// stages, promotes and settles. Returns the number of requests.
pub async fn repair(client: &Client, control_url: &str) -> Result<u64> {
    let version = json!({ "version": "1.0.0", "digest": Digest::of(hotswap_guests::HELLO_V1) });
    let module = format!("{control_url}/v1/modules/hello");
    // 404: the node has no version of the module.
    let asked = client.get(&module).bearer_auth(NODE_TOKEN).send().await?;
    ensure!(
        asked.status() == StatusCode::NOT_FOUND,
        "{}",
        asked.status()
    );
    let mut requests = 1;
    for (name, action) in [
        ("stage", json!({ "type": "stage", "version": version })),
        ("promote", json!({ "type": "promote", "version": version })),
        ("settle", json!({ "type": "settle" })),
    ] {
        let url = format!("{module}/operations/bare-{name}");
        let body = json!({ "fence": 1, "deployment": "bare", "action": action });
        // A node that needs longer says how far it is, and is asked again.
        while {
            requests += 1;
            send(client.put(&url).json(&body)).await? == StatusCode::ACCEPTED
        } {}
    }
    Ok(requests)
}

/// Registers a node.
pub async fn register(client: &Client, engine_url: &str, registration: &Value) -> Result<()> {
    let url = format!("{engine_url}/api/v1/nodes/bare");
    send(client.put(url).json(registration)).await?;
    Ok(())
}

async fn send(request: RequestBuilder) -> Result<StatusCode> {
    let answer = request.bearer_auth(NODE_TOKEN).send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    ensure!(status.is_success(), "{status} {body}");
    Ok(status)
}
