//! The backend of the examples, which stands outside of the workspace: built as its README says,
//! checked by the command that third parties use, and watched by an engine's source.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, tools};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use crate::source_feed::SourceFeed;

/// A server with one document, for who has the token.
struct ListServer {
    addr: SocketAddr,
    list: Arc<Mutex<Value>>,
    _task: AbortOnDropHandle<()>,
}

const TOKEN: &str = "token-of-the-list";

impl ListServer {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let list = Arc::new(Mutex::new(json!([])));
        let served = Arc::clone(&list);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read_buf(&mut request).await {
                        Ok(1..) => {}
                        _ => break,
                    }
                }
                let request = String::from_utf8_lossy(&request);
                let (status, body) = match request.contains(&format!("Bearer {TOKEN}\r\n")) {
                    true => ("200 OK", served.lock().expect("not poisoned").to_string()),
                    false => ("401 Unauthorized", "who are you?".to_owned()),
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self {
            addr,
            list,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

/// Builds the component, as a third party does it. The folder of the build is kept, so that only
/// the first run compiles everything.
async fn build() -> Result<PathBuf> {
    let root = tools::repository_root();
    let folder = root.join("examples/discovery/list");
    let target = root.join("target/examples-discovery");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let built = cargo
        .current_dir(&folder)
        .args(["build", "--release", "--offline", "--locked"])
        .args(["--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .output()
        .await?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "{said}");
    let module = std::fs::read(target.join("wasm32-unknown-unknown/release/list.wasm"))?;
    let encoder = wit_component::ComponentEncoder::default().validate(true);
    let component = encoder.module(&module)?.encode()?;
    let file = target.join("list.wasm");
    std::fs::write(&file, component)?;
    Ok(file)
}

#[tokio::test]
async fn a_backend_from_outside_of_the_workspace_keeps_the_contract() -> Result<()> {
    let component = build().await?;
    let server = ListServer::start().await?;
    *server.list.lock().expect("not poisoned") = json!([{
        "id": "edge-1", "address": "10.0.0.1", "ports": { "control": 5001 },
        "labels": { "environment": "production" },
    }]);
    let folder = tempfile::tempdir()?;
    let origin = format!("http://{}", server.addr);
    let config = format!(
        "[[discovery]]\nname = \"mine\"\nbackend = \"{}\"\norigins = [\"{origin}\"]\n\
         secrets = {{ token = \"token\" }}\n[discovery.settings]\nurl = \"{origin}/nodes.json\"\n",
        component.display()
    );
    std::fs::write(folder.path().join("hotswap.toml"), config)?;
    std::fs::write(folder.path().join("token"), TOKEN)?;
    let check = async |name: &str| {
        let mut check = tools::hotswap()?;
        let output = check
            .current_dir(folder.path())
            .args([
                "--json",
                "discovery",
                "check",
                name,
                "--config",
                "hotswap.toml",
            ])
            .output();
        anyhow::Ok(output.await?)
    };
    let output = check("mine").await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let checks: Value = serde_json::from_str(&said)?;
    let checks = checks["checks"].as_array().context("a list of checks")?;
    let passed = checks.iter().filter(|check| check["result"] == "passed");
    // All but those on registering, which it cannot do.
    assert_eq!(passed.count(), 20, "{said}");
    let unknown = check("yours").await?;
    ensure!(!unknown.status.success());
    let said = String::from_utf8_lossy(&unknown.stderr);
    ensure!(said.contains("its sources are: mine"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_uploaded_backend_is_used_by_its_name_and_by_its_digest_and_is_kept_as_long()
-> Result<()> {
    let component = build().await?;
    let server = ListServer::start().await?;
    *server.list.lock().expect("not poisoned") = json!([{
        "id": "edge-1", "address": "10.0.0.1", "ports": { "control": 5001 },
    }]);
    let mut installation = Installation::start("production", 0, &[]).await?;
    let folder = installation.folder().to_owned();
    let url = installation.url.clone();
    let discovery = async |arguments: &[&str]| {
        let mut command = tools::hotswap()?;
        command.current_dir(&folder).args(["--server", &url]);
        command.args(["--token-file", "engine/token", "--json", "discovery"]);
        let output = command.args(arguments).output().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::Ok((output.status.success(), said))
    };
    let file = component.display().to_string();
    let (succeeds, said) = discovery(&["upload", &file]).await?;
    ensure!(succeeds, "{said}");
    let uploaded: Value = serde_json::from_str(&said)?;
    let digest = uploaded["digest"].as_str();
    let digest = digest.context("no digest")?;
    let origin = format!("http://{}", server.addr);
    let sources = [("by-name", "list"), ("by-digest", digest)].map(|(name, backend)| {
        format!(
            "[[discovery]]\nname = \"{name}\"\nbackend = \"{backend}\"\norigins = [\"{origin}\"]\n\
             secrets = {{ token = \"list-token\" }}\n[discovery.settings]\n\
             url = \"{origin}/nodes.json\"\n"
        )
    });
    installation.terminate_engine().await?;
    std::fs::write(folder.join("list-token"), TOKEN)?;
    let config = std::fs::read_to_string(folder.join("hotswap.toml"))?;
    std::fs::write(folder.join("hotswap.toml"), config + &sources.concat())?;
    installation.restart_engine().await?;
    for name in ["by-name", "by-digest"] {
        let mut source = SourceFeed::follow(&installation, name).await?;
        let has_found =
            |source: &Value| source["condition"] == "healthy" && source["instances"] == 1;
        source.until("it finds the node", has_found).await?;
    }
    let (succeeds, said) = discovery(&["delete", "list"]).await?;
    ensure!(!succeeds && said.contains("by-digest"), "{said}");
    let (_, said) = discovery(&["backends"]).await?;
    ensure!(said.contains(digest), "{said}");
    Ok(())
}
