//! The chart's own Valkey, in a pod of a real node.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{RedisKind, tools};
use serde_json::json;

use crate::load;
use crate::network;
use crate::release::{ENGINE, NODES, Release, kubernetes, run};

const IMAGE: &str = "localhost/valkey:test";

const STORE: &str = "hotswap-redis";

const POD: &str = "hotswap-redis-0";

const VALUES: &str = "
redis:
  enabled: true
  image: {registry: localhost, repository: valkey, tag: test, pullPolicy: Never}
";

/// Gives the node the image of a real server.
fn import_image() -> Result<()> {
    let script = tools::repository_root().join("tests/kubernetes/valkey-image.sh");
    let mut script = Command::new(script);
    script.arg(kubernetes()?).arg(IMAGE);
    run(script.arg(RedisKind::Valkey.program()?))?;
    Ok(())
}

/// A field of the server's pod.
fn pod_field(release: &Release, path: &str) -> Result<String> {
    let output = format!("jsonpath={{{path}}}");
    release.kubectl(&["get", "pod", POD, "--output", &output])
}

/// The secret's password, in base64.
fn password(release: &Release) -> Result<String> {
    let output = "jsonpath={.data.password}";
    release.kubectl(&["get", "secret", STORE, "--output", output])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn engines_share_the_valkey_of_the_chart_and_its_pod_may_go() -> Result<()> {
    import_image()?;
    // Engines and server start together.
    let release = Release::install("own-store", VALUES)?;
    let engines = release.pods("engine")?;
    assert_eq!(engines.len(), 3);
    let restarted = release.restarted_pods()?;
    assert!(restarted.is_empty(), "started again: {restarted:?}");
    release.deploy("1.0.0", "direct", &[])?;

    let node = release.pods("node-nodes")?.remove(0);
    let server = format!("{STORE}.own-store.svc");
    assert!(network::reaches(&release, &engines[0], &server, 6379)?);
    assert!(!network::reaches(&release, &node, &server, 6379)?);

    let clients = load::start(&release, NODES)?;
    let id = release.begin("2.0.0", "canary", &["--set", "soak=10s"])?;
    release.wait_until("the first node", || {
        Ok(release.versions()?.contains(&"2.0.0".to_owned()))
    })?;
    let before = pod_field(&release, ".metadata.uid")?;
    release.kubectl(&["delete", "pod", POD])?;
    wait_for_server(&release)?;
    assert_ne!(pod_field(&release, ".metadata.uid")?, before);
    let report = release.wait_for_end(&id)?;
    assert_eq!(report["state"], "succeeded", "{report}");
    release.wait_for_versions("2.0.0", 3)?;
    load::end(&release, clients).await?;

    let (uid, held) = (pod_field(&release, ".metadata.uid")?, password(&release)?);
    release.upgrade(&["--set=node.lameDuckSeconds=6"])?;
    assert_eq!(password(&release)?, held, "it survives an upgrade");
    assert_eq!(pod_field(&release, ".metadata.uid")?, uid);

    change_password(&release)?;
    // Helm keeps the claim: what is on it is the user's.
    let claim = format!("persistentvolumeclaim/data-{POD}");
    assert_eq!(release.uninstall_but(&[&claim])?, claim);
    Ok(())
}

fn wait_for_server(release: &Release) -> Result<()> {
    let status = format!("statefulset/{STORE}");
    release.kubectl(&["rollout", "status", &status, "--timeout=120s"])?;
    Ok(())
}

/// Puts another password into the secret, and waits until server and engines have it. No engine is
/// started again for that, and nodes go on serving.
fn change_password(release: &Release) -> Result<()> {
    let password = r#"an "other" pass\word $HOME"#;
    let patch = json!({ "stringData": { "password": password } });
    let patch = patch.to_string();
    release.kubectl(&["patch", "secret", STORE, "--type=merge", "--patch", &patch])?;
    // The pod has it in the kubelet's own time.
    release.wait_until("the server to start again", || {
        let path = ".status.containerStatuses[0].restartCount";
        Ok(pod_field(release, path)? == "1")
    })?;
    wait_for_server(release)?;
    release.wait_for_pods(ENGINE, 3)?;
    release.wait_until("engines to have the new password", || {
        Ok(release.deploy("3.0.0", "direct", &[]).is_ok())
    })?;
    release.wait_for_versions("3.0.0", 3)?;
    let restarted = release.restarted_pods()?;
    let [server] = &restarted[..] else {
        anyhow::bail!("started again: {restarted:?}");
    };
    ensure!(server.contains(POD), "started again: {server}");
    let asked = release.kubectl(&[
        "exec",
        POD,
        "--",
        "sh",
        "-ec",
        "REDISCLI_AUTH=\"$(cat /etc/valkey-password/password)\" valkey-cli ping",
    ])?;
    ensure!(asked.contains("PONG"), "{asked}");
    release
        .json(&["node", "list"])
        .context("the engines answer")?;
    Ok(())
}
