use std::sync::Arc;

use anyhow::Result;
use hotswap_common::Secret;
use hotswap_plugins::discovery::{BackendSettings, TlsFiles};
use hotswap_tests::KubeApiServer;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::latency::{self, CHANGES};
use crate::watching::Watching;
use crate::{SERVICE, idle};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn watching(server: &KubeApiServer) -> Result<Watching> {
    let rules = json!([{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
        "verbs": ["list", "watch"] }]);
    let token = Secret::new(server.account("bench", &rules).await?);
    let settings = BackendSettings {
        config: Some(json!({ "apiServers": [server.url()], "podLabels": false })),
        origins: vec![server.url().parse()?],
        tls: TlsFiles {
            authorities: Some(server.authority()),
            client: None,
        },
        secrets: [("token".to_owned(), token.into())].into(),
        ..BackendSettings::new("bench")
    };
    Watching::new(hotswap_guests::KUBERNETES, settings).await
}

/// The endpoint slice of the one instance.
fn slice(port: u16) -> Value {
    json!({
        "metadata": { "name": "bench", "labels": { "kubernetes.io/service-name": SERVICE } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.0.0.1"] }],
        "ports": [{ "name": "control", "port": port }],
    })
}

/// How soon the view has a change, beside a watch of its own.
pub async fn measure_latency() -> Result<()> {
    let server = Arc::new(KubeApiServer::start().await?);
    let watching = watching(&server).await?;
    server.create(SLICES, &slice(9)).await?;
    let (seen, client) = watch::channel(0);
    let watched = Arc::clone(&server);
    let own = tokio::spawn(async move {
        let path = format!("{SLICES}?watch=1");
        let count = |_: &[u8]| seen.send_modify(|count| *count += 1);
        watched.watch(&path, count).await
    });
    let _own = AbortOnDropHandle::new(own);
    let change = async |port: u16| {
        let path = format!("{SLICES}/bench");
        let slice = slice(port).to_string();
        server.request("PUT", &path, &slice).await.map(drop)
    };
    let latencies = latency::measure(&watching, CHANGES, Some(client), change).await?;
    latency::print("Kubernetes", latencies);
    Ok(())
}

/// What watches cost while nothing changes.
pub async fn measure_idle() -> Result<()> {
    let server = KubeApiServer::start().await?;
    let watching = watching(&server).await?;
    idle::measure("Kubernetes", |service| watching.watch_as_engine(service)).await
}
