//! Nothing that is open in the store is abandoned: clients that leave in the middle of a
//! request, and deployments that nobody told the engine of.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{Clock, DeploymentId, Status, SystemClock};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, EMAIL};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PRODUCTION: &str = "production";
const JSON: &str = "application/json";
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
    header.id = DeploymentId::generate();
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
    for client in 0..CLIENTS {
        let module = format!("module-{client}");
        cluster
            .upload(&module, "1.0.0", hotswap_guests::HELLO_V1)
            .await?;
        let body = deployment(&module, false);
        let request = post(&cluster, "/api/v1/deployments", &body);
        // The moments at which a client leaves, spread over the time that a request takes.
        let delay = Duration::from_micros(client % 20 * 100);
        leave(&cluster, &request, delay).await?;
    }
    wait_until_all_ended(&cluster).await?;
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

/// Each request that changes something, cut off at many points of its bytes, and after them.
/// Whatever a client leaves behind, the next one can repeat the request, and all ends well.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_leave_at_each_point_of_each_request() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster
        .upload("hello", "1.0.0", hotswap_guests::HELLO_V1)
        .await?;
    let creation = post(&cluster, "/api/v1/deployments", &deployment("hello", true));
    leave_everywhere(&cluster, &creation).await?;
    let upload = request(
        &cluster,
        "PUT",
        "/api/v1/modules/hello/versions/2.0.0",
        "application/wasm",
        hotswap_guests::HELLO_V2,
    );
    leave_everywhere(&cluster, &upload).await?;
    let strategy = request(
        &cluster,
        "POST",
        "/api/v1/strategies",
        "application/wasm",
        hotswap_guests::HALVES,
    );
    leave_everywhere(&cluster, &strategy).await?;
    for repeated in [&upload, &strategy] {
        let status = send(&cluster, repeated).await?;
        // 409: one of those who left has uploaded the version.
        ensure!(matches!(status, 200 | 201 | 409), "{status}");
    }
    let id = open_deployment(&cluster).await?;
    for (action, body) in [
        ("pause", json!({})),
        ("resume", json!({})),
        ("approval", json!({ "approved": true })),
        ("abort", json!({ "reason": "enough" })),
    ] {
        let path = format!("/api/v1/deployments/{id}/{action}");
        leave_everywhere(&cluster, &post(&cluster, &path, &body)).await?;
    }
    wait_until_all_ended(&cluster).await?;
    let rollback = post(
        &cluster,
        &format!("/api/v1/deployments/{id}/rollback"),
        &json!({}),
    );
    leave_everywhere(&cluster, &rollback).await?;
    wait_until_all_ended(&cluster).await?;

    // Another engine finds nothing that the first one had forgotten.
    let journal: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(journal).await?;
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    cluster.shutdown().await;
    Ok(())
}

/// What else changes something, in an order in which an operator may ask for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_leave_at_each_point_of_each_request() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    for version in ["1.0.0", "2.0.0"] {
        let strategy = ("direct", json!({}));
        cluster
            .roll_out(("hello", version), PRODUCTION, strategy)
            .await?;
    }
    let by = json!({ "requesterEmail": EMAIL });
    let reason = json!({ "requesterEmail": EMAIL, "reason": "a test" });
    let policy = json!({ "requesterEmail": EMAIL, "policy": { "maxUnavailable": "100%" } });
    let soak = json!({
        "moduleName": "hello", "version": "3.0.0", "targetEnvironment": PRODUCTION,
        "requesterEmail": EMAIL, "strategy": "rolling",
        "config": { "batch": 1, "settle": "1h" },
    });
    let mut supersede = soak.clone();
    supersede["supersede"] = json!(true);
    supersede["config"]["batch"] = json!(2);
    let node = format!("/api/v1/nodes/{PRODUCTION}-1");
    let module = format!("/api/v1/clusters/{PRODUCTION}/modules/hello");
    let environment = format!("/api/v1/environments/{PRODUCTION}");
    for (method, path, body) in [
        ("POST", format!("{node}/cordon"), &reason),
        ("POST", format!("{node}/uncordon"), &reason),
        ("POST", format!("{node}/drain"), &reason),
        ("POST", format!("{node}/uncordon"), &reason),
        ("PUT", environment.clone(), &policy),
        ("DELETE", environment, &reason),
        ("POST", format!("{module}/undo"), &by),
        ("POST", "/api/v1/deployments".to_owned(), &soak),
        ("POST", "/api/v1/deployments".to_owned(), &supersede),
        (
            "POST",
            "/api/v1/deployments/OPEN/promote".to_owned(),
            &reason,
        ),
        ("POST", "/api/v1/deployments/OPEN/abort".to_owned(), &reason),
        ("POST", "/api/v1/deployments/ENDED/retry".to_owned(), &by),
        ("POST", "/api/v1/deployments/OPEN/abort".to_owned(), &reason),
        (
            "DELETE",
            "/api/v1/deployments/ENDED".to_owned(),
            &Value::Null,
        ),
        ("DELETE", module, &reason),
        (
            "DELETE",
            "/api/v1/modules/hello/versions/3.0.0".to_owned(),
            &Value::Null,
        ),
    ] {
        let path = fill(&cluster, &path).await?;
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let asked = request(&cluster, method, &path, JSON, body.as_bytes());
        leave_everywhere(&cluster, &asked).await?;
        let status = send(&cluster, &asked).await?;
        // 404 and 409: one of those who left has done it.
        ensure!(
            matches!(status, 200..=204 | 404 | 409),
            "{method} {path}: {status}"
        );
        if path.ends_with("/abort") || path.ends_with("/undo") {
            wait_until_all_ended(&cluster).await?;
        }
    }
    let cordon = cluster
        .engine
        .nodes
        .cordon_of(&PRODUCTION.parse()?, &format!("{PRODUCTION}-1").parse()?);
    ensure!(cordon.is_none(), "{cordon:?} stays");
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    cluster.shutdown().await;
    Ok(())
}

/// The path with the id of the open deployment, or of the one that ended last.
async fn fill(cluster: &Cluster, path: &str) -> Result<String> {
    if path.contains("OPEN") {
        let open = cluster.engine.deployments.open().await?;
        let (id, _) = open.last().context("no deployment is open")?;
        return Ok(path.replace("OPEN", &id.to_string()));
    }
    let query = hotswap_store::Query {
        limit: 1,
        ..Default::default()
    };
    let (ended, _) = cluster.engine.deployments.list(&query).await?;
    let last = ended.first().context("no deployment")?;
    Ok(path.replace("ENDED", &last.id.to_string()))
}

fn deployment(module: &str, require_approval: bool) -> Value {
    json!({
        "moduleName": module,
        "version": "1.0.0",
        "targetEnvironment": PRODUCTION,
        "requesterEmail": EMAIL,
        "strategy": "direct",
        "requireApproval": require_approval,
    })
}

fn post(cluster: &Cluster, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    request(cluster, "POST", path, JSON, body.as_bytes())
}

/// The bytes of an HTTP request.
fn request(cluster: &Cluster, method: &str, path: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let (token, length) = (cluster.token, body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: {media_type}\r\n\
         content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

async fn connect(cluster: &Cluster) -> Result<TcpStream> {
    let address = cluster.url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends `bytes`, and closes the connection after `delay` without reading.
async fn leave(cluster: &Cluster, bytes: &[u8], delay: Duration) -> Result<()> {
    let mut stream = connect(cluster).await?;
    stream.write_all(bytes).await?;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    Ok(())
}

/// Leaves at forty points of the request, and at twenty moments after its last byte.
async fn leave_everywhere(cluster: &Cluster, request: &[u8]) -> Result<()> {
    let step = request.len().div_ceil(40);
    for end in (1..request.len()).step_by(step) {
        leave(cluster, &request[..end], Duration::ZERO).await?;
    }
    for moment in 0..20 {
        leave(cluster, request, Duration::from_micros(moment * 100)).await?;
    }
    Ok(())
}

/// Sends a request and returns the status of the answer.
async fn send(cluster: &Cluster, request: &[u8]) -> Result<u16> {
    let mut stream = connect(cluster).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(TIMEOUT, read).await??;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).context("no answer")?;
    Ok(status.parse()?)
}

/// The deployment that those who left have created, or one that is created now.
async fn open_deployment(cluster: &Cluster) -> Result<DeploymentId> {
    let creation = post(cluster, "/api/v1/deployments", &deployment("hello", true));
    let status = send(cluster, &creation).await?;
    ensure!(matches!(status, 202 | 409), "{status}");
    let open = cluster.engine.deployments.open().await?;
    let (id, _) = open.first().context("no deployment is open")?;
    Ok(*id)
}

async fn wait_until_all_ended(cluster: &Cluster) -> Result<()> {
    let all_ended = async {
        while !cluster.engine.deployments.open().await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    let ended = tokio::time::timeout(TIMEOUT, all_ended).await;
    ensure!(ended.is_ok(), "deployments are open that nobody drives");
    ended?
}
