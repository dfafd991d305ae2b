use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::bench::{cpu_seconds_of, resident_memory_of};
use hotswap_tests::{RedisKind, Replicas};
use serde_json::json;

use crate::modules::{self, ENVIRONMENT, settle};
use crate::report::Report;

const DEPLOYMENTS: usize = 10_000;
/// Of an engine: the deployments that it drives.
const LEASES: &str = "hotswap_store_leases{kind=\"deployment\"}";
const ENGINES: usize = 3;
/// Long enough that nothing else is seen than what a waiting deployment costs.
const REST: Duration = Duration::from_secs(30);
/// How long the engine may take to begin all of them.
const TIMEOUT: Duration = Duration::from_secs(900);
/// As the bench `durable` has it for one engine, in megabytes.
const DRIVER_LIMIT: f64 = 150.0;
/// What is no reserve's business must cost it little, in megabytes.
const RESERVE_LIMIT: f64 = 50.0;
/// Of one processor, in percent.
const CPU_LIMIT: f64 = 10.0;
/// Until the last of the 10,000 is driven again after their engine was killed, in seconds: 5 s until
/// the next engine takes the first ones, and as long again for the others.
const TAKE_OVER_LIMIT: f64 = 10.0;

/// Deployments that sleep: one engine drives them all, the others know of them, and take them over
/// when it is killed.
pub async fn run(report: &mut Report) -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, ENGINES, ENVIRONMENT, 1).await?;
    replicas.upload_strategy(0, hotswap_guests::STEPS).await?;
    modules::upload(&replicas, DEPLOYMENTS).await?;
    settle().await;
    let memory = |engine: usize| -> Result<f64> {
        Ok(resident_memory_of(&replicas.process_id(engine)?.to_string())? as f64 / 1e6)
    };
    let cpu = |engine: usize| cpu_seconds_of(&replicas.process_id(engine)?.to_string());
    let before: Vec<_> = (0..ENGINES).map(memory).collect::<Result<_>>()?;
    let redis_before = redis_memory(&replicas)?;
    let start = Instant::now();
    let config = json!({ "kind": "sleep", "steps": 1, "sleep": 6 * 60 * 60 * 1000 });
    let ids = modules::deploy_all(&replicas, DEPLOYMENTS, ("steps", config)).await?;
    let driver = replicas.wait_for_driver(&ids[0], None).await?;
    while replicas.metric(driver, LEASES).await? < DEPLOYMENTS as f64 {
        ensure!(start.elapsed() < TIMEOUT, "not all are driven");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for id in &ids {
        let path = format!("/api/v1/deployments/{id}");
        while replicas.get(driver, &path).await?["waitingUntil"].is_null() {
            ensure!(start.elapsed() < TIMEOUT, "{id} does not wait");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    println!("  ({:.0} s to begin 10,000)", start.elapsed().as_secs_f64());
    settle().await;
    let used: Vec<_> = (0..ENGINES).map(cpu).collect::<Result<_>>()?;
    tokio::time::sleep(REST).await;
    for engine in 0..ENGINES {
        let more = memory(engine)? - before[engine];
        let share = (cpu(engine)? - used[engine]) / REST.as_secs_f64() * 100.0;
        let (role, limit) = match engine == driver {
            true => ("driver", DRIVER_LIMIT),
            false => ("reserve", RESERVE_LIMIT),
        };
        report.row(
            &format!("memory of 10,000 waiting, {role}"),
            more,
            limit,
            "MB",
        );
        report.row(
            &format!("CPU of 10,000 waiting, {role}"),
            share,
            CPU_LIMIT,
            "%",
        );
    }
    let each = (redis_memory(&replicas)? - redis_before) / DEPLOYMENTS as f64 / 1e3;
    println!("  ({each:.1} KB of Redis's memory for each)");
    take_over(&mut replicas, driver, report).await
}

/// Kills the engine that drives all of them.
async fn take_over(replicas: &mut Replicas, driver: usize, report: &mut Report) -> Result<()> {
    replicas.kill_engine(driver).await?;
    let killed = Instant::now();
    let mut first = None;
    loop {
        let mut held = 0.0;
        for engine in (0..ENGINES).filter(|engine| *engine != driver) {
            held += replicas.metric(engine, LEASES).await?;
        }
        if held > 0.0 && first.is_none() {
            first = Some(killed.elapsed());
        }
        if held >= DEPLOYMENTS as f64 {
            break;
        }
        ensure!(killed.elapsed() < TIMEOUT, "{held} are driven");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let all = killed.elapsed().as_secs_f64();
    let first = first.context("none is driven")?.as_secs_f64();
    println!("  (the first of 10,000 after {first:.1} s)");
    report.row("take-over of all 10,000 waiting", all, TAKE_OVER_LIMIT, "s");
    Ok(())
}

/// The memory that Redis uses for its data, in bytes.
fn redis_memory(replicas: &Replicas) -> Result<f64> {
    let info = replicas.server.command(&["INFO", "memory"])?;
    let mut lines = info.lines();
    let used = lines.find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.context("no used_memory")?.trim().parse()?)
}
