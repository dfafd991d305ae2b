//! The engine is stopped before and after every append, and each time the rollout ends as
//! it would have.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hotswap_core::DeploymentId;
use hotswap_store::Journal;
use hotswap_tests::{Cluster, Crash, Crashing, Moment, outline};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";

/// One module of its own for each run, so that all runs can share the nodes.
struct Run<'a> {
    cluster: &'a mut Cluster,
    module: String,
    strategy: &'static str,
    config: Value,
    version: &'static str,
}

/// What a run came to.
#[derive(Debug, PartialEq)]
struct End {
    outline: Vec<String>,
    /// What each node has on its disk as carried out for the module, in order: calls by their
    /// number. An order that took effect twice would be there twice.
    carried_out: Vec<(String, Vec<String>)>,
}

impl Run<'_> {
    async fn begin(&mut self) -> Result<()> {
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ] {
            self.cluster
                .upload(&self.module, version, component)
                .await?;
        }
        let first = (self.module.as_str(), "1.0.0");
        self.cluster
            .rolled_out(first, PRODUCTION, ("direct", json!({})))
            .await?;
        Ok(())
    }

    async fn deploy(&mut self, journal: Arc<Crashing>) -> Result<DeploymentId> {
        self.cluster.restart(journal).await?;
        let version = (self.module.as_str(), self.version);
        self.cluster
            .deploy(version, PRODUCTION, (self.strategy, self.config.clone()))
            .await
    }

    async fn end(&self, id: DeploymentId) -> Result<End> {
        self.cluster.ended(id).await?;
        let events = self.cluster.journal(id).await?;
        // The module's name differs from run to run, and with it what names it.
        let outline = outline(&events).into_iter();
        let outline = outline
            .map(|line| line.replace(&self.module, "MODULE"))
            .collect();
        let mut carried_out = Vec::new();
        for node in self.cluster.nodes.keys() {
            let file = format!("modules/{}.json", self.module);
            let record = std::fs::read(self.cluster.node_dir(node).join(file))?;
            let record: Value = serde_json::from_slice(&record)?;
            let operations = record["operations"].as_array().context("no operations")?;
            let calls = operations.iter().filter_map(|operation| {
                let (_deployment, call) = operation["id"].as_str()?.split_once('.')?;
                Some(call.to_owned())
            });
            carried_out.push((node.to_string(), calls.collect()));
        }
        Ok(End {
            outline,
            carried_out,
        })
    }
}

/// The run with this number, on a module of its own.
fn run<'a>(
    cluster: &'a mut Cluster,
    number: u64,
    (strategy, config): (&'static str, &Value),
    version: &'static str,
) -> Run<'a> {
    let (module, config) = (format!("module-{number}"), config.clone());
    Run {
        cluster,
        module,
        strategy,
        config,
        version,
    }
}

async fn ends_alike(strategy: &'static str, config: Value, version: &'static str) -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 3)]).await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.core.store.clone());
    let counting = Crashing::new(Arc::clone(&store), None);
    let mut undisturbed = run(&mut cluster, 0, (strategy, &config), version);
    undisturbed.begin().await?;
    let id = undisturbed.deploy(Arc::clone(&counting)).await?;
    let expected = undisturbed.end(id).await?;
    let appends = counting.appends();
    println!(
        "{strategy}: {appends} appends\n{}",
        expected.outline.join("\n")
    );
    ensure!(
        appends >= 4,
        "a rollout has a plan, calls, a settling and an end"
    );

    for append in 0..appends {
        for moment in [Moment::Before, Moment::After] {
            let number = 1 + append * 2 + u64::from(moment == Moment::After);
            let crash = Crash { append, moment };
            let crashing = Crashing::new(Arc::clone(&store), Some(crash));
            let mut run = run(&mut cluster, number, (strategy, &config), version);
            run.cluster.restart(Arc::clone(&store)).await?;
            run.begin().await?;
            let id = run.deploy(Arc::clone(&crashing)).await?;
            tokio::time::timeout(std::time::Duration::from_secs(60), crashing.stopped()).await?;
            run.cluster.restart(Arc::clone(&store)).await?;
            let end = run.end(id).await?;
            assert_eq!(end, expected, "{strategy}, stopped at {crash:?}");
        }
    }
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn direct() -> Result<()> {
    ends_alike("direct", json!({}), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling() -> Result<()> {
    ends_alike("rolling", json!({ "batch": 1, "settle": "1ms" }), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green() -> Result<()> {
    ends_alike("blue-green", json!({ "soak": "1ms" }), "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn canary() -> Result<()> {
    ends_alike("canary", json!({ "soak": "1ms" }), "2.0.0").await
}

/// A probe that v2 does not pass: the way back is stopped everywhere too.
#[tokio::test(flavor = "multi_thread")]
async fn blue_green_that_is_reverted() -> Result<()> {
    let config = json!({ "probe": { "body": "no such text", "timeout": "1ms" } });
    ends_alike("blue-green", config, "2.0.0").await
}
