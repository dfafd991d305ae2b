//! Nothing that is open in the store is abandoned: clients that leave in the middle of a
//! request, and deployments that nobody told the engine of.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{Clock, Status, SystemClock};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, EMAIL};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PRODUCTION: &str = "production";
/// Clients that leave, each with a module of its own.
const CLIENTS: u64 = 300;
const TIMEOUT: Duration = Duration::from_secs(60);

/// As after an append whose answer was lost: the journal exists, and no request did more.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_exists_only_in_the_store_is_driven() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    let strategy = ("direct", json!({}));
    let finished = cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, strategy)
        .await?;
    let mut header = finished.header;
    header.id = hotswap_core::DeploymentId::generate();
    let id = header.id;
    let journal: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    journal.create(header, SystemClock.now()).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::Succeeded);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_of_clients_that_left_are_driven_or_were_never_created() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    let address = cluster.url.trim_start_matches("http://").to_owned();
    for client in 0..CLIENTS {
        let module = format!("module-{client}");
        cluster
            .upload(&module, "1.0.0", hotswap_guests::HELLO_V1)
            .await?;
        let body = json!({
            "moduleName": module,
            "version": "1.0.0",
            "targetEnvironment": PRODUCTION,
            "requesterEmail": EMAIL,
            "strategy": "direct",
        })
        .to_string();
        let token = cluster.token;
        let length = body.len();
        let request = format!(
            "POST /api/v1/deployments HTTP/1.1\r\nhost: {address}\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        // The moments at which a client leaves, spread over the time that a request takes.
        tokio::time::sleep(Duration::from_micros(client % 20 * 100)).await;
        drop(stream);
    }
    let all_ended = async {
        while !cluster.engine.deployments.open().await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    let ended = tokio::time::timeout(TIMEOUT, all_ended).await;
    ensure!(ended.is_ok(), "deployments are open that nobody drives");
    ended??;
    let query = hotswap_store::Query {
        limit: 1000,
        ..Default::default()
    };
    let (created, _) = cluster.engine.deployments.list(&query).await?;
    // A race that one side always wins tests nothing.
    ensure!(!created.is_empty(), "no request of {CLIENTS} got through");
    for state in created {
        assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    }
    cluster.shutdown().await;
    Ok(())
}
