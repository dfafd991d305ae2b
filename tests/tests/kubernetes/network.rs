//! Who may reach whom, where the network enforces the policies that the chart installs.

use anyhow::{Result, bail};
use serde_json::json;

use crate::release::{ENGINE, Release};

const CONTROL: u16 = 8081;
const DATA: u16 = 8080;
const API: u16 = 5000;

/// Whether a pod reaches an address. `hotswap`, the only program of the image, asks there as it asks
/// an engine: who is no engine answers, too, but otherwise.
///
/// # Errors
/// If the answer says neither.
pub fn reaches(release: &Release, pod: &str, address: &str, port: u16) -> Result<bool> {
    let server = format!("http://{address}:{port}");
    let list = [
        "exec", pod, "--", "hotswap", "node", "list", "--server", &server,
    ];
    let said = match release.kubectl(&list) {
        Ok(said) => said,
        Err(error) => error.to_string(),
    };
    match said {
        said if said.contains("no engine answers at") => Ok(false),
        said if said.contains("is not a HotSwap engine") || said.contains("HTTP 4") => Ok(true),
        // Who speaks no HTTP ends the connection.
        said if said.contains("did not answer completely") => Ok(true),
        said => bail!("{pod} asks {server}: {said}"),
    }
}

#[test]
#[ignore = "needs a node: cargo xtask kubernetes"]
fn policies_let_through_what_is_needed_and_nothing_else() -> Result<()> {
    let release = Release::install("guarded", "")?;
    // Its own pods may go everywhere: what stops them is the policy of the others.
    let strangers = Release::install("strangers", "networkPolicy: {enabled: false}")?;
    let engine = release.pods("engine")?.remove(0);
    let nodes = release.pods("node-nodes")?;
    let stranger = strangers.pods("node-nodes")?.remove(0);
    let engine_service = format!("{ENGINE}.guarded.svc");
    let node = release.pod_address(&nodes[0])?;
    let strange = strangers.pod_address(&stranger)?;
    for (from, pod, address, port, may) in [
        // The API and the modules are for all, by default.
        (&strangers, &stranger, engine_service.as_str(), API, true),
        (&strangers, &stranger, &node, DATA, true),
        // Only the node token stands between a control port and whoever reaches it.
        (&strangers, &stranger, &node, CONTROL, false),
        (&release, &nodes[1], &node, CONTROL, false),
        (&release, &engine, &node, CONTROL, true),
        // Without the policies nothing would stop them.
        (&strangers, &stranger, &strange, CONTROL, true),
        // Out to where neither engines nor nodes have anything to do.
        (&release, &nodes[0], &strange, DATA, false),
        (&release, &engine, &strange, DATA, false),
        (&release, &nodes[0], "kubernetes.default.svc", 443, false),
        (&release, &nodes[0], &engine_service, API, true),
    ] {
        let reached = reaches(from, pod, address, port)?;
        assert_eq!(reached, may, "{pod} to {address}:{port}");
    }
    // With all of that, a rollout works.
    release.deploy("1.0.0", "direct", &[])?;
    release.wait_for_versions("1.0.0", 3)?;
    Ok(())
}

/// Without the policies of others in their way, and small.
const CALLERS: &str = "
networkPolicy: {enabled: false}
node: {replicaCount: 1, podDisruptionBudget: {enabled: false}}
";

#[test]
#[ignore = "needs a node: cargo xtask kubernetes"]
fn policies_let_in_whom_the_values_name_and_no_other_pod() -> Result<()> {
    let named = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "friends" } },
    });
    // The tests themselves: everything but pods, whose network up.sh sets.
    let machine = json!({ "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"] } });
    let values = json!({ "networkPolicy": {
        "apiFrom": [named, machine], "dataFrom": [named], "metricsFrom": [named],
    } });
    // JSON is YAML.
    let release = Release::install("limited", &values.to_string())?;
    let friends = Release::install("friends", CALLERS)?;
    let strangers = Release::install("strange", CALLERS)?;
    let engine = format!("{ENGINE}.limited.svc");
    let nodes = release.pods("node-nodes")?;
    let node = release.pod_address(&nodes[0])?;
    let friend = friends.pods("node-nodes")?.remove(0);
    let stranger = strangers.pods("node-nodes")?.remove(0);
    for (address, port) in [(engine.as_str(), API), (&node, DATA), (&node, CONTROL)] {
        for (from, pod, may) in [(&friends, &friend, true), (&strangers, &stranger, false)] {
            let reached = reaches(from, pod, address, port)?;
            assert_eq!(reached, may, "{pod} to {address}:{port}");
        }
    }
    assert!(reaches(&release, &nodes[0], &engine, API)?);
    release.deploy("1.0.0", "direct", &[])?;
    release.wait_for_versions("1.0.0", 3)?;
    Ok(())
}
