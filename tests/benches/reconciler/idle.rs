//! A fleet at which nothing changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hotswap_core::{Clock, Digest, NodeId, SystemClock};
use hotswap_fleet::Registry;
use hotswap_protocol::{Heartbeat, ModuleReport, NodeHealth, Version};
use hotswap_tests::bench::{cpu_time, print_row, resident_memory};
use hotswap_tests::{EMAIL, EngineResources, StaticFleet, new_deployment};
use hotswap_tests::{unreachable_registration, wait_for_end};
use serde_json::json;

const NODES: usize = 10_000;
const ENVIRONMENT: &str = "production";
/// As nodes report by default.
const HEARTBEAT: Duration = Registry::DEFAULT_INTERVAL;
/// Several times the interval at which the reconciler compares all nodes.
const SPAN: Duration = Duration::from_secs(30);

pub async fn run() -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut resources = EngineResources::new(folder.path(), Default::default()).await?;
    resources.fleet = Arc::new(StaticFleet::new(1));
    register(&resources.registry, 1).await?;
    let store = Arc::new(resources.store.clone());
    let engine = resources.start_engine(store.clone()).await?;
    let mut upload = engine.modules.upload().await?;
    upload.write(hotswap_guests::HELLO_V1).await?;
    let version = "1.0.0".parse()?;
    upload.finish("hello".parse()?, version, EMAIL).await?;
    let new = new_deployment(("hello", "1.0.0"), ENVIRONMENT, ("direct", json!({})))?;
    let id = engine.deployments.create(new).await?;
    let state = wait_for_end(&engine, id).await?;
    ensure!(state.cause.is_none(), "{:?}", state.cause);
    engine.shutdown().await;

    let at_rest = resident_memory()?;
    // A registry that no engine has told anything. Nothing must be late while nobody reports:
    // that would be work.
    let catalogue = Arc::new(resources.store.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    resources.registry = Registry::load(catalogue, clock, 100 * HEARTBEAT).await?;
    register(&resources.registry, NODES).await?;
    let registered = resident_memory()?;
    let registry_alone = heartbeats(&resources.registry).await?;

    let engine = resources.start_engine(store).await?;
    let idle = measure_cpu(tokio::time::sleep(SPAN)).await;
    let memory = resident_memory()?.saturating_sub(at_rest) as f64 / 1e6;
    let reconciled = heartbeats(&resources.registry).await?;
    let percent = |cpu: f64| format!("{:.2} % of a core", cpu * 1e2);
    print_row(
        "CPU, 10,000 nodes, no reports",
        &percent(idle),
        "2 % of a core",
        idle / 0.02,
        1.0,
    );
    print_row(
        "CPU, 10,000 nodes that report every 2 s",
        &percent(reconciled),
        &format!("registry alone {}", percent(registry_alone)),
        reconciled / registry_alone,
        2.0,
    );
    let registered = registered.saturating_sub(at_rest) as f64 / 1e6;
    print_row(
        "memory for 10,000 nodes",
        &format!("{memory:.0} MB"),
        &format!("registry alone {registered:.0} MB"),
        memory / registered,
        2.0,
    );
    engine.shutdown().await;
    Ok(())
}

/// Registers nodes that run what they should.
async fn register(registry: &Registry, count: usize) -> Result<()> {
    stream::iter(1..=count)
        .map(|number| async move {
            let registration = hotswap_protocol::Registration {
                boot: Some(boot(number)),
                modules: Some(modules()),
                ..unreachable_registration(ENVIRONMENT)
            };
            registry.register(node(number)?, registration).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(256)
        .try_collect()
        .await
}

/// The CPU that the heartbeats of all nodes take, each every two seconds, as a share of a core.
async fn heartbeats(registry: &Registry) -> Result<f64> {
    const SLICES: u32 = 100;
    let named = |number| Ok((node(number)?, boot(number)));
    let nodes: Vec<(NodeId, String)> = (1..=NODES).map(named).collect::<Result<_>>()?;
    let report = async {
        let start = Instant::now();
        let mut slice = 0;
        while start.elapsed() < SPAN {
            let size = NODES / SLICES as usize;
            let first = slice as usize % SLICES as usize * size;
            for (node, boot) in &nodes[first..first + size] {
                let heartbeat = Heartbeat {
                    health: NodeHealth::Passing,
                    reason: None,
                    highest_fence: 0,
                    boot: Some(boot.clone()),
                    control_url: None,
                    data_url: None,
                    modules: Some(modules()),
                    readiness: None,
                    traffic: None,
                };
                let answer = registry.heartbeat(node, heartbeat)?;
                ensure!(answer.is_some(), "a heartbeat did not count");
            }
            slice += 1;
            tokio::time::sleep_until((start + HEARTBEAT / SLICES * slice).into()).await;
        }
        Ok(())
    };
    let mut reported = Ok(());
    let cpu = measure_cpu(async { reported = report.await }).await;
    reported?;
    Ok(cpu)
}

/// The CPU that the process takes meanwhile, as a share of a core.
async fn measure_cpu(work: impl Future<Output = ()>) -> f64 {
    let (start, before) = (Instant::now(), cpu_time());
    work.await;
    let used = cpu_time().saturating_sub(before);
    used.as_secs_f64() / start.elapsed().as_secs_f64()
}

fn node(number: usize) -> Result<NodeId> {
    Ok(format!("node-{number}").parse()?)
}

fn boot(number: usize) -> String {
    format!("boot-{number}")
}

fn modules() -> Vec<ModuleReport> {
    let active = Version {
        version: "1.0.0".to_owned(),
        digest: Digest::of(hotswap_guests::HELLO_V1).to_string(),
    };
    vec![ModuleReport {
        module: "hello".to_owned(),
        active: Some(active),
        staged: None,
        previous: None,
        percent: 0,
        faults: Vec::new(),
    }]
}
