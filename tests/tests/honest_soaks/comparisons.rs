//! What a version is compared with, and what it is not blamed for.

use std::time::Duration;

use anyhow::{Context, Result};
use hotswap_core::{Judgement, NodeId, Status};
use hotswap_tests::Cluster;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{
    PRODUCTION, answer, canary, cluster, data_url, direct, finding, load, logs, soaking, verdicts,
    with_section,
};

/// A first deployment, the running version again, and the same bytes under another version.
#[tokio::test(flavor = "multi_thread")]
async fn where_doubt_rolls_back_a_version_succeeds_that_has_nothing_to_be_compared_with()
-> Result<()> {
    let bytes = hotswap_guests::HELLO_V1;
    let cluster = cluster(2, &[("1.0.0", bytes), ("1.0.1", bytes)]).await?;
    let load = load(&cluster);
    let config = || {
        json!({
            "steps": [50, 100],
            "soak": "30s",
            "passEarly": true,
            "whenInconclusive": "rollBack",
        })
    };
    for (version, says) in [
        ("1.0.0", "no version of hello runs on these nodes"),
        ("1.0.0", "hello 1.0.0 runs already on 2 of 2 nodes"),
        (
            "1.0.1",
            "hello 1.0.1 and hello 1.0.0 are identical, byte for byte",
        ),
    ] {
        let state = canary(&cluster, version, config()).await?;
        assert_eq!(
            state.status(),
            Status::Succeeded,
            "{says}: {:?}",
            state.cause
        );
        let logs = logs(&cluster, state.header.id).await?;
        assert!(logs.iter().any(|line| line.starts_with(says)), "{logs:?}");
        let verdicts = verdicts(&cluster, state.header.id).await?;
        assert_eq!(verdicts.len(), 2, "nothing is left unwatched");
        for verdict in verdicts {
            let errors = finding(&verdict, "error-rate")?;
            assert!(errors.canary_samples > 0, "{errors:?}");
        }
    }
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_single_node_a_bad_version_is_found_by_a_share_of_its_requests() -> Result<()> {
    let (old, bad) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V3);
    let cluster = cluster(1, &[("1.0.0", old), ("3.0.0", bad)]).await?;
    direct(&cluster, "1.0.0").await?;
    let load = load(&cluster);
    let state = canary(&cluster, "3.0.0", json!({ "soak": "30s" })).await?;
    let report = load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let names: Vec<_> = state
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, ["canary 10 % of requests on 1 node"]);
    let verdict = &verdicts(&cluster, state.header.id).await?[0];
    let errors = finding(verdict, "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert!(
        errors.baseline_samples > errors.canary_samples,
        "{errors:?}"
    );
    let new = report.answers_by_version.get("3.0.0").copied().unwrap_or(0);
    let old = report.answers_by_version["1.0.0"];
    assert!(new < old / 4, "{report:?}");
    cluster.shutdown().await;
    Ok(())
}

/// No node runs the previous version at the last step, so it is compared with what that did.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_step_is_judged_by_what_the_previous_version_did() -> Result<()> {
    let (old, bad) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V3);
    let cluster = cluster(2, &[("1.0.0", old), ("3.0.0", bad)]).await?;
    direct(&cluster, "1.0.0").await?;
    answer(&cluster, 1000).await?;
    let load = load(&cluster);
    let config = json!({ "steps": [100], "soak": "30s" });
    let state = canary(&cluster, "3.0.0", config).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    assert_eq!(state.stages[0].name, "canary 2 of 2 nodes, 100 %");
    let verdict = &verdicts(&cluster, state.header.id).await?[0];
    let errors = finding(verdict, "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert_eq!(
        (errors.check.max, errors.check.max_increase),
        (None, Some(0.5))
    );
    assert!(errors.baseline_samples >= 1000, "{errors:?}");
    assert!(
        errors.reason.contains("so the limit follows from its"),
        "{}",
        errors.reason
    );
    cluster.shutdown().await;
    Ok(())
}

/// Sends requests to a node whose answers take `quick` or, for two seconds of each four, `slow`
/// milliseconds, until this is dropped.
fn rise_and_fall(
    cluster: &Cluster,
    node: &NodeId,
    (quick, slow): (u32, u32),
    since: Instant,
) -> Result<JoinSet<()>> {
    let url = data_url(cluster, node)?;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        clients.spawn(async move {
            let client = reqwest::Client::new();
            loop {
                let is_slow = since.elapsed().as_secs() % 4 < 2;
                let millis = if is_slow { slow } else { quick };
                let _ = client.get(format!("{url}/sleep/{millis}")).send().await;
            }
        });
    }
    Ok(clients)
}

/// The canary's node was slower before the rollout, too, and the latencies of all nodes rise and
/// fall together.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_and_latencies_that_depend_on_each_other_roll_no_version_back() -> Result<()> {
    let probe = hotswap_guests::MODULE_PROBE;
    let same = with_section(probe, "another build");
    let cluster = cluster(2, &[("1.0.0", probe), ("2.0.0", &same)]).await?;
    direct(&cluster, "1.0.0").await?;
    let nodes: Vec<_> = cluster.nodes.keys().cloned().collect();
    let since = Instant::now();
    let slower = rise_and_fall(&cluster, &nodes[0], (36, 72), since)?;
    let others = rise_and_fall(&cluster, &nodes[1], (20, 40), since)?;
    // The nodes are known to differ once they have counted enough.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let config = json!({
        "steps": [50], "soak": "20s",
        "checks": [
            { "metric": "error-rate", "maxIncrease": 0.5 },
            { "metric": "latency-p95", "maxIncrease": 0.25 },
        ],
    });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let canary = soaking(&cluster, id).await?.pop().context("no canary")?;
    assert_eq!(canary, nodes[0], "the slower node is the canary");
    let state = cluster.wait_for_end(id).await?;
    drop((slower, others));
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let first = &verdicts(&cluster, id).await?[0];
    let latency = finding(first, "latency-p95")?;
    assert_ne!(latency.judgement, Judgement::Fail, "{latency:?}");
    let (new, old) = (latency.canary, latency.baseline);
    let ratio = new.context("no canary")? / old.context("no baseline")?;
    assert!(ratio > 1.3, "the node was not slower: {latency:?}");
    cluster.shutdown().await;
    Ok(())
}
