//! The engine as an operator runs it, with a Consul.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{ChildProcess, RegistryKind, RegistryServer, tools};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::fixture::{Fixture, registration};

#[tokio::test]
async fn an_engine_shows_the_nodes_that_consul_knows() -> Result<()> {
    let mut fixture = Fixture::start(RegistryKind::ConsulWithAcls).await?;
    let secrets = &mut fixture.settings().secrets;
    secrets.insert(
        "token".to_owned(),
        hotswap_common::Secret::new(RegistryServer::TOKEN).into(),
    );
    fixture
        .instance()
        .await?
        .register(registration("edge-1"))
        .await?;
    let folder = tempfile::tempdir()?;
    let url = fixture.server.url();
    std::fs::write(folder.path().join("consul-token"), RegistryServer::TOKEN)?;
    std::fs::write(
        folder.path().join("hotswap.toml"),
        format!(
            "[[discovery]]\nname = \"main\"\nbackend = \"consul\"\norigins = [\"{url}\"]\n\
             secrets = {{ token = \"consul-token\" }}\n[discovery.settings]\nagents = [\"{url}\"]\n"
        ),
    )?;
    let mut serve = tools::hotswap()?;
    serve
        .current_dir(folder.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"])
        .args(["--log-format", "json"]);
    let mut engine = ChildProcess::start(serve)?;
    let addr = engine
        .find_in_stderr(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let is_ready = line["message"] == "engine ready";
            is_ready.then(|| line["addr"].as_str().map(str::to_owned))?
        })
        .await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = loop {
        let mut get = tools::hotswap()?;
        let output = get
            .current_dir(folder.path())
            .args(["--server", &format!("http://{addr}")])
            .args(["--token-file", "engine/token", "--json"])
            .args(["discovery", "get", "main"])
            .output()
            .await?;
        let found: Value = serde_json::from_slice(&output.stdout).context("no JSON")?;
        if found["source"]["condition"] == "healthy" {
            break found;
        }
        ensure!(Instant::now() < deadline, "{found}");
        sleep(Duration::from_millis(50)).await;
    };
    let instance = &found["instances"][0];
    assert_eq!(instance["id"], "edge-1");
    assert_eq!(instance["environment"], "production");
    assert_eq!(instance["controlUrl"], "http://10.0.0.1:5001");
    assert_eq!(instance["labels"]["hotswap.dev/tier"], "edge");
    engine.kill().await
}
