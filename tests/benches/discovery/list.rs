use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hotswap_core::Health;
use hotswap_fleet::discovery::{Discovery as _, Instance, WatchedSource};
use hotswap_tests::bench::{median, print_row, resident_memory};
use hotswap_tests::{RegistryKind, RegistryServer};
use serde::Deserialize;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::instance::INSTANCES;
use crate::watching::Watching;
use crate::{MEBIBYTE, SERVICE, etcd};

const LISTS: usize = 7;

/// A long list through a component, beside a client that gets the same list and reads each instance,
/// without one.
pub async fn measure() -> Result<()> {
    let server = RegistryServer::start(RegistryKind::Etcd).await?;
    fill(&server).await?;
    let watching = etcd::watching(&server).await?;
    let before = resident_memory()? as f64;
    let listed = find_all(&watching).await?;
    let memory = (resident_memory()? as f64 - before) / MEBIBYTE;
    drop(listed);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..LISTS {
        let started = Instant::now();
        let listed = find_all(&watching).await?;
        own.push(started.elapsed().as_secs_f64() * 1e3);
        drop(listed);
        let started = Instant::now();
        let listed = list_all(&client, &server.url()).await?;
        bare.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(listed.len() == INSTANCES, "{} instances", listed.len());
    }
    let (own, bare) = (median(own), median(bare));
    print_row(
        "10,000 instances of etcd: to the view",
        &format!("{own:.0} ms"),
        &format!("a client of its own {bare:.0} ms"),
        own / bare,
        5.0,
    );
    print_row(
        "memory of 10,000 instances with their component",
        &format!("{memory:.1} MiB"),
        "128 MiB",
        memory / 128.0,
        1.0,
    );
    Ok(())
}

/// Starts to watch, and returns once the view has all.
async fn find_all(watching: &Watching) -> Result<(WatchedSource, AbortOnDropHandle<()>)> {
    let (source, task) = watching.watch(SERVICE);
    let mut changes = source.changes();
    while source.state().instances < INSTANCES {
        changes.changed().await?;
    }
    Ok((source, task))
}

/// Puts all instances into etcd, as many at once as it takes.
async fn fill(server: &RegistryServer) -> Result<()> {
    let numbers: Vec<_> = (0..INSTANCES).collect();
    for numbers in numbers.chunks(100) {
        let puts = numbers.iter().map(|number| {
            let key = format!("/hotswap/{SERVICE}/node-{number:05}");
            let value = json!({
                "address": "10.0.0.1", "ports": { "control": 5001, "data": 8080 },
                "health": "passing", "version": "0.1.0", "zone": "eu-west-1", "weight": 1,
                "metadata": { "environment": "production", "tier": "edge" },
            });
            let value = STANDARD.encode(value.to_string());
            json!({ "request_put": { "key": STANDARD.encode(key), "value": value } })
        });
        let body = json!({ "success": puts.collect::<Vec<_>>() }).to_string();
        server.request("POST", "/v3/kv/txn", &body).await?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Range {
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct Document {
    address: String,
    ports: BTreeMap<String, u16>,
    version: String,
    zone: String,
    metadata: BTreeMap<String, String>,
}

async fn list_all(client: &reqwest::Client, url: &str) -> Result<Vec<Instance>> {
    // Everything.
    let body = json!({ "key": "AA==", "range_end": "AA==" });
    let answer = client.post(format!("{url}/v3/kv/range")).json(&body).send();
    let range: Range = serde_json::from_slice(&answer.await?.bytes().await?)?;
    let instance = |entry: KeyValue| {
        let key = String::from_utf8(STANDARD.decode(entry.key)?)?;
        let id = key.rsplit('/').next().unwrap_or_default().parse()?;
        let mut found: Document = serde_json::from_slice(&STANDARD.decode(entry.value)?)?;
        let environment = found.metadata.remove("environment");
        let url = |port: &str| {
            Some(format!(
                "http://{}:{}",
                found.address,
                found.ports.get(port)?
            ))
        };
        Ok(Instance {
            id,
            environment: environment.map(|name| name.parse()).transpose()?,
            control_url: url("control"),
            data_url: url("data"),
            zone: Some(found.zone),
            version: Some(found.version),
            labels: found.metadata,
            health: Health::Passing,
        })
    };
    range.kvs.into_iter().map(instance).collect()
}
