//! What durability costs: a step, many at once, replay, waiting, and coming back.
//!
//! `cargo bench --bench durable` prints a table. Each section runs in a process of its
//! own over nodes that do as they are told at once, so that the engine alone is measured:
//! its journal, its instances, its tasks. The limits come from the same run where there
//! is one (the disk), else from what others were measured to do on two cores.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hotswap_core::{DeploymentId, Requester, Status};
use hotswap_runner::{Engine, NewDeployment};
use hotswap_store::Journal;
use hotswap_tests::table::{apart, head, median, resident, row, section};
use hotswap_tests::{Core, Crash, Crashing, EMAIL, Moment, StillFleet};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

const SECTIONS: [&str; 5] = ["sequential", "concurrent", "replay", "soaking", "recovery"];

fn main() -> Result<()> {
    let Some(section) = section() else {
        head();
        return apart(&SECTIONS);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match section.as_str() {
            "sequential" => sequential().await,
            "concurrent" => concurrent().await,
            "replay" => replay().await,
            "soaking" => soaking().await,
            "recovery" => recovery().await,
            other => anyhow::bail!("no section {other}"),
        }
    })
}

/// An engine over still nodes, with the strategy `steps`.
struct Bench {
    core: Core,
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start(modules: usize, nodes: usize) -> Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut core = Core::new(folder.path(), Default::default()).await?;
        core.fleet = Arc::new(StillFleet::new(nodes));
        let registration = hotswap_tests::registration("production");
        core.registry
            .register("node-1".parse()?, registration)
            .await?;
        let engine = core.start(Arc::new(core.store.clone())).await?;
        engine
            .strategies
            .upload(hotswap_guests::STEPS.to_vec(), EMAIL)
            .await?;
        for module in 0..modules {
            let mut upload = engine.modules.upload().await?;
            upload.write(hotswap_guests::HELLO_V1).await?;
            upload
                .finish(format!("m{module}").parse()?, "1.0.0".parse()?, EMAIL)
                .await?;
        }
        Ok(Self {
            core,
            engine,
            folder,
        })
    }

    async fn deploy(&self, module: usize, strategy: &str, config: Value) -> Result<DeploymentId> {
        let new = NewDeployment {
            module: format!("m{module}").parse()?,
            version: None,
            environment: "production".parse()?,
            strategy: Some(strategy.parse()?),
            config: Some(config),
            requester: Requester {
                email: EMAIL.to_owned(),
                subject: EMAIL.to_owned(),
            },
            description: None,
            metadata: Default::default(),
            require_approval: false,
            trace: None,
        };
        Ok(self.engine.deployments.create(new).await?)
    }

    /// Waits for the end by the news of appends and the journal's head: to look at the
    /// state is to read the whole journal, which would be measured with the rest.
    async fn ended(&self, id: DeploymentId) -> Result<()> {
        let mut appended = self.engine.deployments.subscribe();
        let mut life = self.core.store.head(id).await?.lifecycle;
        while !life.is_ended() {
            match appended.recv().await {
                Ok(told) if told.deployment == id => life = told.head.lifecycle,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => life = self.core.store.head(id).await?.lifecycle,
                Err(RecvError::Closed) => bail!("the store was closed"),
            }
        }
        ensure!(life.status() == Status::Succeeded, "{life:?}");
        Ok(())
    }

    /// Starts another engine over the same store, with this journal.
    async fn restart(&mut self, journal: Arc<dyn Journal>) -> Result<()> {
        self.engine.shutdown().await;
        self.engine = self.core.start(journal).await?;
        Ok(())
    }
}

/// One write of 4 KiB and one fdatasync, at the same place of a file that is there: what the
/// disk needs to make anything durable at all. In seconds, the median of many.
fn fdatasync(folder: &Path) -> Result<f64> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(folder.join("disk"))?;
    let page = [7_u8; 4096];
    file.write_all_at(&page, 0)?;
    file.sync_all()?;
    let mut measured = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
        measured.push(begun.elapsed().as_secs_f64());
    }
    Ok(median(measured))
}

async fn sequential() -> Result<()> {
    const STEPS: u32 = 1000;
    let bench = Bench::start(8, 1).await?;
    let (mut steps, mut disk) = (Vec::new(), Vec::new());
    for module in 0..8 {
        disk.push(fdatasync(bench.folder.path())?);
        let begun = Instant::now();
        let id = bench
            .deploy(module, "steps", json!({ "steps": STEPS }))
            .await?;
        bench.ended(id).await?;
        steps.push(begun.elapsed().as_secs_f64() / f64::from(STEPS));
    }
    let (step, disk) = (median(steps), median(disk));
    let (measured, limit) = (
        format!("{:.0} µs", step * 1e6),
        format!("fdatasync {:.0} µs", disk * 1e6),
    );
    row(
        "a durable step, one after the other",
        &measured,
        &limit,
        step / disk,
        2.0,
    );
    Ok(())
}

async fn concurrent() -> Result<()> {
    const DEPLOYMENTS: usize = 256;
    const STEPS: u32 = 400;
    let bench = Bench::start(DEPLOYMENTS, 1).await?;
    let begun = Instant::now();
    let mut ids = Vec::new();
    for module in 0..DEPLOYMENTS {
        ids.push(
            bench
                .deploy(module, "steps", json!({ "steps": STEPS }))
                .await?,
        );
    }
    for id in ids {
        bench.ended(id).await?;
    }
    let rate = DEPLOYMENTS as f64 * f64::from(STEPS) / begun.elapsed().as_secs_f64();
    let goal = 20_000.0;
    let measured = format!("{rate:.0} steps/s");
    row(
        "steps of 256 deployments at once",
        &measured,
        "20,000 steps/s",
        goal / rate,
        1.0,
    );
    Ok(())
}

/// The journal of a deployment that ends with its last step; how long from the engine's
/// start to the deployment's end, for two lengths: the difference is replay alone.
async fn replay() -> Result<()> {
    let (short, long) = (100_u32, 9_100_u32);
    let mut bench = Bench::start(10, 1).await?;
    let store: Arc<dyn Journal> = Arc::new(bench.core.store.clone());
    let mut measured = Vec::new();
    for round in 0..5 {
        let mut times = Vec::new();
        for (number, steps) in [short, long].into_iter().enumerate() {
            // Plan, one append a step, and then the settling, which is lost.
            let crash = Crash {
                append: u64::from(steps) + 1,
                moment: Moment::Before,
            };
            let crashing = Crashing::new(Arc::clone(&store), Some(crash));
            bench
                .restart(Arc::clone(&crashing) as Arc<dyn Journal>)
                .await?;
            let module = round * 2 + number;
            let id = bench
                .deploy(module, "steps", json!({ "steps": steps }))
                .await?;
            crashing.stopped().await;
            bench.engine.shutdown().await;
            let begun = Instant::now();
            bench.restart(Arc::clone(&store)).await?;
            bench.ended(id).await?;
            times.push(begun.elapsed().as_secs_f64());
        }
        measured.push((times[1] - times[0]) / f64::from(long - short));
    }
    let step = median(measured);
    row(
        "replay, a step",
        &format!("{:.2} µs", step * 1e6),
        "5 µs (a peer: 50)",
        step / 5e-6,
        1.0,
    );
    Ok(())
}

async fn soaking() -> Result<()> {
    const DEPLOYMENTS: usize = 10_000;
    let bench = Bench::start(DEPLOYMENTS, 2).await?;
    let begun = Instant::now();
    let mut ids = Vec::new();
    for module in 0..DEPLOYMENTS {
        ids.push(
            bench
                .deploy(module, "canary", json!({ "soak": "6h" }))
                .await?,
        );
    }
    for id in &ids {
        while bench
            .engine
            .deployments
            .get(*id)
            .await?
            .waiting_until
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let all = begun.elapsed().as_secs_f64();
    let memory = resident()? as f64 / 1e6;
    let measured = format!("{memory:.0} MB in all");
    row(
        "memory with 10,000 deployments soaking",
        &measured,
        "150 MB",
        memory / 150.0,
        1.0,
    );
    println!("  ({all:.1} s to start them)");
    Ok(())
}

async fn recovery() -> Result<()> {
    const DEPLOYMENTS: usize = 1000;
    let mut bench = Bench::start(DEPLOYMENTS, 2).await?;
    let store: Arc<dyn Journal> = Arc::new(bench.core.store.clone());
    let mut ids = Vec::new();
    let begun = Instant::now();
    for module in 0..DEPLOYMENTS {
        let config = json!({ "kind": "sleep", "steps": 1, "sleep": 15_000 });
        ids.push(bench.deploy(module, "steps", config).await?);
    }
    for id in &ids {
        while bench
            .engine
            .deployments
            .get(*id)
            .await?
            .waiting_until
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    bench.engine.shutdown().await;
    // Every wait is over by the time the engine is back: all of them have to act at once.
    let over = begun + Duration::from_secs(20);
    tokio::time::sleep_until(over.into()).await;
    let begun = Instant::now();
    bench.restart(store).await?;
    for id in ids {
        bench.ended(id).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let measured = format!("{:.0} ms", seconds * 1e3);
    row(
        "1,000 deployments recovered and done",
        &measured,
        "1 s (peers: 16 and 20)",
        seconds,
        1.0,
    );
    Ok(())
}
