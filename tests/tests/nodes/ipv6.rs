//! An engine and nodes that have IPv6 addresses only, as pods of such a cluster.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Result, ensure};
use hotswap_tests::{ChildProcess, Installation, tools};
use serde_json::json;

const LOCALHOST: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_run_modules_and_are_listed_over_ipv6() -> Result<()> {
    let mut installation = Installation::start_at("staging", 1, LOCALHOST).await?;
    ensure!(
        installation.url.starts_with("http://[::1]:"),
        "{}",
        installation.url
    );
    // Without brackets, as Kubernetes gives a pod its address.
    installation.add_node_flags(&["--advertise", "::1"]);
    installation.start_node("staging-2")?;
    installation.wait_for_nodes(2).await?;

    let id = installation.propose("1.0.0", "direct", json!({})).await?;
    installation.approve(&id).await?;
    let state = installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state}");
    for url in installation.data_urls().await? {
        ensure!(url.starts_with("http://[::1]:"), "{url}");
        let answer = reqwest::get(&url).await?.error_for_status()?;
        ensure!(
            answer.headers()["x-hotswap-version"] == "1.0.0",
            "{answer:?}"
        );
    }

    let mut list = tools::hotswap()?;
    list.current_dir(installation.folder())
        .args(["--server", &installation.url])
        .args(["--token-file", "engine/token", "node", "list"]);
    let exit = ChildProcess::start(list)?.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    let listed = exit.stdout.join("\n");
    for node in ["staging-1", "staging-2"] {
        ensure!(listed.contains(node), "{listed}");
    }
    Ok(())
}
