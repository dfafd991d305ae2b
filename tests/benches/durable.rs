//! The cost of durability: one step, many concurrent steps, replay, waiting and recovery.
//!
//! `cargo bench --bench durable` prints a table. Each section runs in its own process, over
//! nodes that accept every order at once, so that it measures the engine alone: its journal,
//! its instances, its tasks. The limit of a step is measured in the same run: one write to the
//! disk. The other limits derive from measurements of comparable systems on two cores.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hotswap_core::{
    Answer, Append, Call, Deployment, DeploymentId, EventBody, Health, Node, NodeId, Outcome,
    Status, Timestamp,
};
use hotswap_runner::Engine;
use hotswap_store::{Journal, Query};
use hotswap_tests::bench::{
    check_goals, current_section, median, peak_memory, print_header, print_row, resident_memory,
    run_each_section,
};
use hotswap_tests::{
    CrashPoint, CrashTiming, CrashingJournal, EMAIL, EngineResources, StaticFleet, new_deployment,
    sample_header,
};
use serde_json::{Value, json};

const SECTIONS: [&str; 6] = [
    "sequential",
    "concurrent",
    "replay",
    "soaking",
    "recovery",
    "history",
];

fn main() -> Result<()> {
    let Some(section) = current_section() else {
        print_header();
        return run_each_section(&SECTIONS);
    };
    // As `hotswap` does.
    hotswap_common::memory::limit_pools();
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
            "history" => history().await,
            other => anyhow::bail!("no section {other}"),
        }?;
        check_goals()
    })
}

/// An engine over static nodes, with the strategy `steps`.
struct Bench {
    resources: EngineResources,
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start(modules: usize, nodes: usize) -> Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut resources = EngineResources::new(folder.path(), Default::default()).await?;
        let fleet = StaticFleet::new(nodes);
        let fleet = fleet.running("1.0.0".parse()?, hotswap_guests::HELLO_V1);
        resources.fleet = Arc::new(fleet);
        // None of what is measured is deleted meanwhile.
        resources.limits.retention.deployments = usize::MAX;
        resources.limits.retention.deployment_age = Duration::MAX;
        let registration = hotswap_tests::unreachable_registration("production");
        resources
            .registry
            .register("node-1".parse()?, registration)
            .await?;
        let engine = resources
            .start_engine(Arc::new(resources.store.clone()))
            .await?;
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
            resources,
            engine,
            folder,
        })
    }

    async fn deploy(&self, module: usize, strategy: &str, config: Value) -> Result<DeploymentId> {
        let module = format!("m{module}");
        let new = new_deployment((&module, "1.0.0"), "production", (strategy, config))?;
        Ok(self.engine.deployments.create(new).await?)
    }

    /// Waits until each of the deployments waits.
    async fn wait_for_waits(&self, ids: &[DeploymentId]) -> Result<()> {
        for id in ids {
            let deployments = &self.engine.deployments;
            while deployments.get(*id).await?.waiting_until().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Waits until the deployment has ended, by its row in the store, now and then: whoever is told
    /// of each append takes a processor from the driver at each.
    async fn wait_for_end(&self, id: DeploymentId) -> Result<()> {
        loop {
            let lifecycle = self.resources.store.head(id).await?.lifecycle;
            if lifecycle.is_ended() {
                ensure!(lifecycle.status() == Status::Succeeded, "{lifecycle:?}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Replaces the engine by another one with `journal`, over the same store.
    async fn restart_engine(&mut self, journal: Arc<dyn Journal>) -> Result<()> {
        self.engine.shutdown().await;
        self.engine = self.resources.start_engine(journal).await?;
        Ok(())
    }
}

/// The time of one write of 4 KiB and one fdatasync, in seconds; the median of 500. The write
/// goes to the same place of an existing file: the least that a durable write can cost.
fn measure_fdatasync(folder: &Path) -> Result<f64> {
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
        let start = Instant::now();
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
        measured.push(start.elapsed().as_secs_f64());
    }
    Ok(median(measured))
}

async fn sequential() -> Result<()> {
    const STEPS: u32 = 1000;
    let bench = Bench::start(8, 1).await?;
    let (mut steps, mut disk) = (Vec::new(), Vec::new());
    for module in 0..8 {
        disk.push(measure_fdatasync(bench.folder.path())?);
        let start = Instant::now();
        let id = bench
            .deploy(module, "steps", json!({ "steps": STEPS }))
            .await?;
        bench.wait_for_end(id).await?;
        steps.push(start.elapsed().as_secs_f64() / f64::from(STEPS));
    }
    let (step, disk) = (median(steps), median(disk));
    let (measured, limit) = (
        format!("{:.0} µs", step * 1e6),
        format!("fdatasync {:.0} µs", disk * 1e6),
    );
    print_row(
        "one durable step, sequential",
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
    let start = Instant::now();
    let mut ids = Vec::new();
    for module in 0..DEPLOYMENTS {
        ids.push(
            bench
                .deploy(module, "steps", json!({ "steps": STEPS }))
                .await?,
        );
    }
    for id in ids {
        bench.wait_for_end(id).await?;
    }
    let rate = DEPLOYMENTS as f64 * f64::from(STEPS) / start.elapsed().as_secs_f64();
    let goal = 20_000.0;
    let measured = format!("{rate:.0} steps/s");
    print_row(
        "steps of 256 concurrent deployments",
        &measured,
        "20,000 steps/s",
        goal / rate,
        1.0,
    );
    Ok(())
}

/// Measures the time from the engine's start to the deployment's end, with journals of three
/// lengths that end with the last step. The differences are the cost of replay alone. It is
/// linear if a step late in a journal costs what an early one does. Also measures the most
/// memory that the engine had in all this, above what it had at rest.
async fn replay() -> Result<()> {
    const LENGTHS: [u32; 3] = [100, 5_000, 9_900];
    const ROUNDS: usize = 5;
    let mut bench = Bench::start(ROUNDS * LENGTHS.len(), 1).await?;
    let at_rest = resident_memory()?;
    let store: Arc<dyn Journal> = Arc::new(bench.resources.store.clone());
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut times = Vec::new();
        for (number, steps) in LENGTHS.into_iter().enumerate() {
            // One append for the plan, one for each step, then the settling, which is lost.
            let crash_point = CrashPoint {
                append: u64::from(steps) + 1,
                timing: CrashTiming::BeforeAppend,
            };
            let crashing_journal = CrashingJournal::at(Arc::clone(&store), Some(crash_point));
            bench
                .restart_engine(Arc::clone(&crashing_journal) as Arc<dyn Journal>)
                .await?;
            let module = round * LENGTHS.len() + number;
            let id = bench
                .deploy(module, "steps", json!({ "steps": steps }))
                .await?;
            crashing_journal.wait_for_crash().await;
            bench.engine.shutdown().await;
            let start = Instant::now();
            bench.restart_engine(Arc::clone(&store)).await?;
            bench.wait_for_end(id).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        let cost_of_step = |from: usize, to: usize| {
            (times[to] - times[from]) / f64::from(LENGTHS[to] - LENGTHS[from])
        };
        early.push(cost_of_step(0, 1));
        late.push(cost_of_step(1, 2));
    }
    let peak = peak_memory()?.saturating_sub(at_rest) as f64 / 1e6;
    let (early, late) = (median(early), median(late));
    for (what, step) in [
        ("replay of a step, the first 5,000", early),
        ("replay of a step, the next 4,900", late),
    ] {
        print_row(
            what,
            &format!("{:.2} µs", step * 1e6),
            "5 µs (a peer: 50)",
            step / 5e-6,
            1.0,
        );
    }
    print_row(
        "a late step against an early one",
        &format!("{:.2} µs", late * 1e6),
        &format!("{:.2} µs", early * 1e6),
        late / early,
        1.3,
    );
    print_row(
        "memory while 9,900 calls are made and replayed",
        &format!("{peak:.0} MB more"),
        "64 MiB, as one guest may have",
        peak / 67.1,
        1.0,
    );
    Ok(())
}

async fn soaking() -> Result<()> {
    const DEPLOYMENTS: usize = 10_000;
    let bench = Bench::start(DEPLOYMENTS, 2).await?;
    let start = Instant::now();
    let mut ids = Vec::new();
    for module in 0..DEPLOYMENTS {
        ids.push(
            bench
                .deploy(module, "canary", json!({ "soak": "6h" }))
                .await?,
        );
    }
    bench.wait_for_waits(&ids).await?;
    let all = start.elapsed().as_secs_f64();
    let memory = resident_memory()? as f64 / 1e6;
    let measured = format!("{memory:.0} MB in all");
    print_row(
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
    let store: Arc<dyn Journal> = Arc::new(bench.resources.store.clone());
    let mut ids = Vec::new();
    let start = Instant::now();
    for module in 0..DEPLOYMENTS {
        let config = json!({ "kind": "sleep", "steps": 1, "sleep": 15_000 });
        ids.push(bench.deploy(module, "steps", config).await?);
    }
    bench.wait_for_waits(&ids).await?;
    bench.engine.shutdown().await;
    // Restarts after every wait has ended, so that all deployments act at once.
    let waits_end = start + Duration::from_secs(20);
    tokio::time::sleep_until(waits_end.into()).await;
    let start = Instant::now();
    bench.restart_engine(store).await?;
    for id in ids {
        bench.wait_for_end(id).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let measured = format!("{:.0} ms", seconds * 1e3);
    print_row(
        "recovery of 1,000 deployments to their end",
        &measured,
        "1 s (peers: 16 and 20)",
        seconds,
        1.0,
    );
    Ok(())
}

/// How long reads take, in seconds, with some number of ended deployments.
struct ReadTimes {
    newest_page: f64,
    oldest_page: f64,
    get: f64,
}

/// Reads with a short and a long history. The variable `HISTORY` makes the long one shorter, to
/// try the bench.
async fn history() -> Result<()> {
    const SHORT: usize = 100;
    let long = std::env::var("HISTORY").ok();
    let long = long.map_or(Ok(100_000), |text| text.parse())?;
    let (short_times, long_times) = (read_times(SHORT).await?, read_times(long).await?);
    for (what, short_time, long_time) in [
        (
            "newest page of 50",
            short_times.newest_page,
            long_times.newest_page,
        ),
        (
            "oldest page of 50",
            short_times.oldest_page,
            long_times.oldest_page,
        ),
        ("get, the first of each", short_times.get, long_times.get),
    ] {
        print_row(
            &format!("{what}, {long} ended"),
            &format!("{:.0} µs", long_time * 1e6),
            &format!("{:.0} µs with {SHORT} ended", short_time * 1e6),
            long_time / short_time,
            1.5,
        );
    }
    Ok(())
}

async fn read_times(ended: usize) -> Result<ReadTimes> {
    const READS: usize = 100;
    let mut bench = Bench::start(0, 1).await?;
    let store: Arc<dyn Journal> = Arc::new(bench.resources.store.clone());
    write_history(&store, ended).await?;
    while !store
        .ended_without_snapshot(Deployment::FORMAT, None, 1)
        .await?
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What was read before is no longer in memory.
    bench.restart_engine(Arc::clone(&store)).await?;
    let deployments = &bench.engine.deployments;
    let newest = Query {
        limit: 50,
        ..Query::default()
    };
    let all = Query {
        limit: usize::MAX,
        ..Query::default()
    };
    let ids = store.list(&all).await?.deployments;
    ensure!(ids.len() == ended, "{} deployments", ids.len());
    let oldest = Query {
        before: ids.get(ended - 51).copied(),
        ..newest.clone()
    };
    let (mut newest_page, mut oldest_page, mut get) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..READS {
        for (query, measured) in [(&newest, &mut newest_page), (&oldest, &mut oldest_page)] {
            let start = Instant::now();
            let (page, _) = deployments.list(query).await?;
            measured.push(start.elapsed().as_secs_f64());
            ensure!(page.len() == 50, "{} deployments in a page", page.len());
        }
        let id = ids[number * (ended / READS)];
        let start = Instant::now();
        let state = deployments.get(id).await?;
        get.push(start.elapsed().as_secs_f64());
        ensure!(state.status() == Status::Succeeded, "{:?}", state.lifecycle);
    }
    Ok(ReadTimes {
        newest_page: median(newest_page),
        oldest_page: median(oldest_page),
        get: median(get),
    })
}

/// Writes journals of deployments that have succeeded, each of a rollout to ten nodes.
async fn write_history(journal: &Arc<dyn Journal>, count: usize) -> Result<()> {
    const WRITERS: usize = 64;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let journal = Arc::clone(journal);
        writers.spawn(async move {
            for number in (writer..count).step_by(WRITERS) {
                // A module for each writer: only one deployment of a module may be open.
                let header = sample_header(&format!("m{}", number % WRITERS))?;
                let id = header.id;
                journal.create(header, Timestamp::from_millis(1)).await?;
                let append = Append {
                    deployment: id,
                    expected: 1,
                    fence: None,
                    at: Timestamp::from_millis(2),
                    bodies: events_of_a_rollout(),
                };
                journal.append(append).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

fn events_of_a_rollout() -> Vec<EventBody> {
    let id = |number: usize| format!("node-{number}").parse().expect("a node id");
    let ids: Vec<NodeId> = (1..=10).map(id).collect();
    let node = |id: &NodeId| Node {
        id: id.clone(),
        zone: None,
        labels: Default::default(),
        health: Health::Passing,
        active: None,
        fault: None,
    };
    let mut bodies = vec![EventBody::Planned {
        nodes: ids.iter().map(node).collect(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    }];
    for call in 0..10 {
        let nodes = ids[..=call as usize].to_vec();
        bodies.push(EventBody::Called {
            call,
            request: Call::Promote { nodes },
            due: None,
            readings: Vec::new(),
            answer: None,
        });
        bodies.push(EventBody::Answered {
            call,
            answer: Answer::Nodewise(Vec::new()),
        });
    }
    bodies.push(EventBody::Settling(None));
    bodies.push(EventBody::Ended {
        outcome: Outcome::Succeeded,
        failures: Vec::new(),
        not_updated: Vec::new(),
    });
    bodies
}
