//! What the chart promises, on a real node.

use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result};
use hotswap_tests::tools;
use serde_json::Value;

use crate::load;
use crate::redis::Redis;
use crate::release::{ENGINE, NODES, Release, Removal, kubernetes};

/// Little memory: what a pod needs is written in the README of the chart.
const SMALL: &str = "
engine: {resources: {limits: {memory: 256Mi}}}
node: {resources: {limits: {memory: 256Mi}}}
";

/// As many nodes may fail as there are, as where an autoscaler removes them.
const TOLERANT: &str = "
engine:
  config: |
    [nodes]
    expireStoppedAfter = \"1m\"
    [environments.production]
    toleratedFailures = \"100%\"
";

/// Where a node keeps the random name of its data folder.
const INSTANCE_KEY: &str = "instance";

/// The values of the tokens.
fn tokens(release: &Release) -> Result<String> {
    let secret = "hotswap-distributed-kernel-tokens";
    release.kubectl(&["get", "secret", secret, "--output", "jsonpath={.data}"])
}

/// The images of the engine's workload and of the nodes'.
fn images(release: &Release) -> Result<Vec<String>> {
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let of = |name| release.kubectl(&["get", "deployment", name, "--output", image]);
    [ENGINE, NODES].into_iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn a_canary_an_upgrade_and_a_rollback_lose_no_request_and_nothing_stays() -> Result<()> {
    let release = Release::install("canary", SMALL)?;
    // The image runs as who it says, on a root that nobody can write to, within 256 MiB.
    let pod = release.pods("engine")?.remove(0);
    let pod: Value =
        serde_json::from_str(&release.kubectl(&["get", "pod", &pod, "--output", "json"])?)?;
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["resources"]["limits"]["memory"], "256Mi");
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    release.helm(&["test", "hotswap"])?;

    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    release.deploy("2.0.0", "canary", &["--set", "soak=4s"])?;
    let report = load::end(&release, clients).await?;
    for version in ["1.0.0", "2.0.0"] {
        assert!(
            report.answers_by_version.contains_key(version),
            "{report:?}"
        );
    }

    let (clients, before) = (load::start(&release, NODES)?, tokens(&release)?);
    let image = images(&release)?;
    release.upgrade_as_documented("next")?;
    assert_eq!(tokens(&release)?, before, "generated tokens survive");
    assert_eq!(images(&release)?, ["localhost/hotswap:next"; 2]);
    release.helm(&["rollback", "hotswap", "--wait", "--timeout=180s"])?;
    load::end(&release, clients).await?;
    // Helm returns while the last of the other pods is still there.
    release.wait_for_nodes(3)?;
    assert_eq!(images(&release)?, image, "back to the image before");
    for component in ["engine", "node-nodes"] {
        let selector = format!("app.kubernetes.io/component={component}");
        let running = "jsonpath={.items[*].spec.containers[0].image}";
        let pods = ["get", "pods", "--selector", &selector, "--output", running];
        // Pods of the other image are not ready any more, and end in their own time.
        release.wait_until(&format!("{component} to run one image"), || {
            let running = release.kubectl(&pods)?;
            Ok(running.split_whitespace().all(|one| one == image[0]))
        })?;
    }
    release.wait_for_versions("2.0.0", 3)?;

    assert_eq!(release.uninstall()?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn a_rollout_survives_the_loss_of_its_engine_and_of_a_node() -> Result<()> {
    let release = Release::install("losses", TOLERANT)?;
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    let id = release.begin("2.0.0", "canary", &["--set", "soak=15s"])?;
    release.wait_until("the first node", || {
        Ok(release.versions()?.contains(&"2.0.0".to_owned()))
    })?;
    let engine = release.pods("engine")?.remove(0);
    release.kubectl(&["delete", "pod", &engine, "--wait=false"])?;
    release.kubectl(&[
        "rollout",
        "status",
        &format!("deployment/{ENGINE}"),
        "--timeout=120s",
    ])?;
    release.wait_until("the engine", || {
        Ok(release.hotswap(&["node", "list"]).is_ok())
    })?;
    let state = release.json(&["deployment", "get", &id])?;
    assert_eq!(state["status"], "running", "{state}");
    // The engine knows what nodes run once they have reported in. Not the only one that runs the new
    // version: a canary without any node is rolled back.
    let mut node = None;
    release.wait_until("a node with the version before", || {
        node = release.pod_with("1.0.0").ok();
        Ok(node.is_some())
    })?;
    let node = node.context("no node")?;
    release.kubectl(&["delete", "pod", &node, "--wait=false"])?;
    let report = release.wait_for_end(&id)?;
    assert!(
        ["succeeded", "partial"].contains(&report["state"].as_str().unwrap()),
        "{report}"
    );
    release.wait_for_nodes(3)?;
    // The pod that came in the middle ran the version before until the end.
    release.wait_until("every node to run what was decided", || {
        Ok(release.versions()? == ["2.0.0"; 3])
    })?;
    load::end(&release, clients).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn several_engines_share_a_redis_and_each_may_go() -> Result<()> {
    let redis = Redis::start()?;
    let values = format!("externalRedis: {{url: \"{}\"}}", redis.url());
    let release = Release::install("engines", &values)?;
    let engines = release.pods("engine")?;
    assert_eq!(engines.len(), 3);
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    // Machines are drained as slowly as the budget says: two of three stay.
    release.evict(&engines[0])?;
    let refused = release.evict(&engines[1]).unwrap_err().to_string();
    assert!(refused.contains("disruption budget"), "{refused}");
    release.wait_until("the second eviction", || {
        Ok(release.evict(&engines[1]).is_ok())
    })?;
    release.wait_until("the successors", || {
        let running = release.pods("engine")?;
        Ok(running.len() == 3 && !running.iter().any(|pod| engines[..2].contains(pod)))
    })?;
    release.wait_for_pods(ENGINE, 3)?;
    let id = release.begin("2.0.0", "canary", &["--set", "soak=20s"])?;
    release.wait_until("the first node", || {
        Ok(release.versions()?.contains(&"2.0.0".to_owned()))
    })?;
    // The one that drives, and then the one that has taken over; without a word of farewell.
    for _ in 0..2 {
        let mut driver = None;
        release.wait_until("an engine to drive", || {
            driver = redis.driver_of(&id)?;
            Ok(driver.is_some())
        })?;
        let driver = driver.context("nobody drives")?;
        release.kubectl(&["delete", "pod", &driver, "--force", "--grace-period=0"])?;
        release.wait_until("another engine to take over", || {
            let next = redis.driver_of(&id)?;
            Ok(next.is_some_and(|next| next != driver))
        })?;
    }
    let report = release.wait_for_end(&id)?;
    assert_eq!(report["state"], "succeeded", "{report}");
    release.wait_for_versions("2.0.0", 3)?;
    let engines = format!("deployment/{ENGINE}");
    let all_are_back = ["rollout", "status", &engines, "--timeout=170s"];
    release.kubectl(&all_are_back)?;
    // Each engine is replaced while others serve, in the middle of a rollout. Back to the version
    // before: the third sample fails a tenth of its requests.
    let id = release.begin("1.0.0", "canary", &["--set", "soak=20s"])?;
    release.kubectl(&["rollout", "restart", &engines])?;
    release.kubectl(&all_are_back)?;
    let report = release.wait_for_end(&id)?;
    assert_eq!(report["state"], "succeeded", "{report}");
    load::end(&release, clients).await?;
    release.wait_for_versions("1.0.0", 3)?;
    assert_eq!(release.uninstall()?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn nodes_may_be_scaled_up_and_down_in_the_middle_of_a_rollout() -> Result<()> {
    let release = Release::install("scaling", TOLERANT)?;
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    let scale = |count: &str| {
        let count = format!("--replicas={count}");
        release.kubectl(&["scale", "deployment", NODES, &count])
    };
    // Longer than it takes three more pods to become ready.
    let id = release.begin("2.0.0", "canary", &["--set", "soak=30s"])?;
    release.wait_until("the first node", || {
        Ok(release.versions()?.contains(&"2.0.0".to_owned()))
    })?;
    // Without its only node a canary learns nothing, and is rolled back, whatever the policy tolerates.
    release.set_removal(&release.pod_with("2.0.0")?, Removal::Last)?;
    scale("6")?;
    release.wait_for_nodes(6)?;
    scale("2")?;
    let state = release.json(&["deployment", "get", &id])?;
    assert_eq!(state["status"], "running", "{state}");
    let report = release.wait_for_end(&id)?;
    assert!(
        ["succeeded", "partial"].contains(&report["state"].as_str().unwrap()),
        "{report}"
    );
    release.wait_for_nodes(2)?;
    release.wait_until("every node to run what was decided", || {
        Ok(release.versions()?.iter().all(|version| version == "2.0.0"))
    })?;
    load::end(&release, clients).await?;
    Ok(())
}

/// With the policy as it is by default no node of a plan may go. The rollout then ends as it began: no
/// node is left with the new version, and no request is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn by_default_a_rollout_is_rolled_back_when_a_node_of_its_plan_is_scaled_away() -> Result<()>
{
    // A budget of two of three, which an eviction would heed and a scaling does not.
    let release = Release::install("default-policy", "")?;
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    // Longer than it takes to remove the pod, also on a busy machine.
    let id = release.begin("2.0.0", "canary", &["--set", "soak=90s"])?;
    release.wait_until("the first node", || {
        Ok(release.versions()?.contains(&"2.0.0".to_owned()))
    })?;
    // One that the rollout has not reached: what it would have to be put back to is not the question.
    release.set_removal(&release.pod_with("1.0.0")?, Removal::First)?;
    release.kubectl(&["scale", "deployment", NODES, "--replicas=2"])?;
    let mut state = Value::Null;
    release.wait_until("the end of the rollout", || {
        state = release.json(&["deployment", "get", &id])?;
        Ok(!state["endedAt"].is_null())
    })?;
    assert_eq!(state["status"], "rolledBack", "{state}");
    assert!(state.to_string().contains("tolerates 0"), "{state}");
    release.wait_for_nodes(2)?;
    release.wait_for_versions("1.0.0", 2)?;
    load::end(&release, clients).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn machines_are_drained_as_slowly_as_the_budget_says() -> Result<()> {
    let release = Release::install("evictions", "")?;
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    let pods = release.pods("node-nodes")?;
    release.evict(&pods[0])?;
    let refused = release.evict(&pods[1]).unwrap_err().to_string();
    assert!(refused.contains("disruption budget"), "{refused}");
    // Once its successor is ready, the next may go.
    release.wait_until("the second eviction", || {
        Ok(release.evict(&pods[1]).is_ok())
    })?;
    release.wait_for_nodes(3)?;
    load::end(&release, clients).await?;
    let engine = release.pods("engine")?.remove(0);
    release.evict(&engine)?;
    release.wait_until("the engine's successor", || {
        let running = release.pods("engine")?;
        Ok(!running.contains(&engine) && release.hotswap(&["node", "list"]).is_ok())
    })?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn the_engine_finds_nodes_through_the_api_server_with_its_own_role() -> Result<()> {
    let values = "
discovery: {mode: kubernetes}
nodeGroups:
  nodes: {environment: production, podLabels: {tier: web}}
  state: {environment: qa, kind: StatefulSet, replicaCount: 2, persistence: {enabled: true}, podDisruptionBudget: {minAvailable: 1}}
";
    let release = Release::install("discovery", values)?;
    let source = release.json(&["discovery", "get", "nodes"])?;
    assert_eq!(source["source"]["condition"], "healthy", "{source}");
    release.deploy("1.0.0", "direct", &["-l", "tier=web"])?;
    // The engine hears of it with its next question.
    release.wait_until("what the nodes run", || {
        Ok(release.versions()? == ["1.0.0"; 3])
    })?;
    let nodes = release.json(&["node", "list", "--environment", "qa"])?;
    assert_eq!(nodes.as_array().unwrap().len(), 2, "{nodes}");
    // The pod of a StatefulSet comes back under its name, with its disk.
    let pod = "hotswap-distributed-kernel-state-0";
    let volume = "jsonpath={.spec.volumeName}";
    let claim = format!("data-{pod}");
    let volume = release.kubectl(&["get", "persistentvolumeclaim", &claim, "--output", volume])?;
    let number = volume.strip_prefix("volume-").context("another class")?;
    // The key is a random name of the folder: a node with an empty one would write another.
    let key = kubernetes()?
        .join("volumes")
        .join(number)
        .join(INSTANCE_KEY);
    let before = std::fs::read_to_string(&key)?;
    release.kubectl(&["delete", "pod", pod])?;
    let stateful = "statefulset/hotswap-distributed-kernel-state";
    release.kubectl(&["rollout", "status", stateful, "--timeout=120s"])?;
    assert_eq!(std::fs::read_to_string(&key)?, before);
    release.wait_until("the node", || {
        let node = release.json(&["node", "get", pod])?;
        Ok(node["health"] == "passing")
    })?;
    assert_eq!(release.uninstall()?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn an_autoscaler_adds_nodes_under_load_and_removes_them_after_it() -> Result<()> {
    let values = "
node:
  resources: {requests: {cpu: 50m}}
  lameDuckSeconds: 2
  autoscaling:
    enabled: true
    minReplicas: 3
    maxReplicas: 5
    targetCPUUtilizationPercentage: 50
    targetMemoryUtilizationPercentage: null
    behavior: {scaleDown: {stabilizationWindowSeconds: 5}}
";
    let release = Release::install("autoscaling", values)?;
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, NODES)?;
    release.wait_for_nodes(5)?;
    // New nodes serve what was decided.
    release.wait_for_versions("1.0.0", 5)?;
    load::end(&release, clients).await?;
    release.wait_for_nodes(3)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn an_autoscaler_adds_engines_under_load_and_removes_them_after_it() -> Result<()> {
    let redis = Redis::start()?;
    let values = format!(
        "
externalRedis: {{url: \"{}\"}}
engine:
  resources: {{requests: {{cpu: 50m}}}}
  lameDuckSeconds: 2
  autoscaling:
    enabled: true
    minReplicas: 2
    maxReplicas: 4
    targetCPUUtilizationPercentage: 60
    targetMemoryUtilizationPercentage: null
    behavior: {{scaleDown: {{stabilizationWindowSeconds: 5}}}}
",
        redis.url()
    );
    let release = Release::install("engine-autoscaling", &values)?;
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start_at(format!("{}/health/live", release.url(ENGINE)?));
    release.wait_for_pods(ENGINE, 4)?;
    // Those that were added drive and serve like the others.
    release.deploy("2.0.0", "canary", &["--set", "soak=4s"])?;
    load::end(&release, clients).await?;
    release.wait_for_pods(ENGINE, 2)?;
    release.deploy("1.0.0", "direct", &[])?;
    release.wait_for_versions("1.0.0", 3)?;
    Ok(())
}

#[test]
#[ignore = "needs a node: cargo xtask kubernetes"]
fn the_guide_goes_from_an_empty_cluster_to_a_canary() -> Result<()> {
    let guide = std::fs::read_to_string(tools::repository_root().join("docs/KUBERNETES.md"))?;
    let blocks = guide.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .collect();
    assert!(blocks.len() > 8, "{} blocks of commands", blocks.len());
    let folder = tempfile::tempdir()?;
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs)?;
    for (name, program) in [
        ("helm", tools::helm()?),
        ("kubectl", tools::kubectl(&kubernetes()?)?),
        ("hotswap", tools::hotswap()?),
    ] {
        symlink(program.as_std().get_program(), programs.join(name))?;
    }
    for part in ["helm", "examples"] {
        symlink(
            tools::repository_root().join(part),
            folder.path().join(part),
        )?;
    }
    for (name, component) in [
        ("hello-v1.wasm", hotswap_guests::HELLO_V1),
        ("hello-v2.wasm", hotswap_guests::HELLO_V2),
    ] {
        std::fs::write(folder.path().join(name), component)?;
    }
    // Each command must succeed. What it leaves behind, such as port-forwarding, ends with it.
    let kubernetes = kubernetes()?.to_string_lossy().into_owned();
    let script = format!(
        "set -eux\ntrap 'kill $(jobs -p)' EXIT\ncd {}\nexport PATH={}:$PATH \
         KUBECONFIG={kubernetes}/kubeconfig\n{}",
        folder.path().display(),
        programs.display(),
        blocks
            .iter()
            .flat_map(|block| block.lines())
            .map(awaited)
            .collect::<String>(),
    );
    // In the network of the node, where the ports of the guide are free.
    let mut shell = std::process::Command::new(format!("{kubernetes}/inside"));
    let output = shell.args(["bash", "-c", &script]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Ok(())
}

/// What a browser asks the engine before the page of the guide may call it.
const PREFLIGHT: &str = "curl --silent --fail --include --request OPTIONS \
    --header 'Origin: http://127.0.0.1:3000' --header 'Access-Control-Request-Method: GET' \
    --header 'Access-Control-Request-Headers: authorization' $HOTSWAP_SERVER/api/v1/nodes \
    | grep --ignore-case 'access-control-allow-origin: http://127.0.0.1:3000'";

/// A line of the guide, and after port-forwarding a wait for the port: a person is slower. After the
/// link to the page, the page's right to call the engine.
fn awaited(line: &str) -> String {
    let ports = line
        .strip_suffix(" &")
        .and_then(|line| line.rsplit(' ').next());
    let port = ports.and_then(|ports| ports.split_once(':'));
    match port {
        _ if line.contains("#url=") => format!("{line}\n{PREFLIGHT}\n"),
        Some((port, _)) => format!(
            "{line}\nfor _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:{port}/ && break; \
             sleep 0.1; done\n"
        ),
        None => format!("{line}\n"),
    }
}
