//! Random clients against three engines on one server, while engines are killed and stopped and the
//! server is killed. At the end every journal is legal, no acknowledged request is missing, none
//! took effect twice, and every subscriber saw every event once and in order: those of one
//! deployment, one of all, and a client of the hub. A person cordons nodes meanwhile. Where the clients
//! work for minutes, the server is also down for longer than leases last.
//!
//! `HOTSWAP_HISTORY_SECONDS` is how long the clients work, `HOTSWAP_HISTORY_SEED` the seed of what
//! they and the disturbances choose, and of the server: Redis if it is even, Valkey otherwise. The
//! seed is printed. What happens also depends on times, so
//! that a seed repeats what was tried, not when it met.

mod all_events;
mod checks;
mod clients;
mod hub;
mod operator;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use futures_util::FutureExt as _;
use hotswap_tests::{RedisKind, RedisServer, Replicas};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::checks::Followed;
use crate::clients::{Client, Operation};
use crate::operator::Operator;

const PRODUCTION: &str = "production";
const ENGINES: usize = 3;
/// How long subscribers may take to begin.
const BEGIN: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 4;
/// The modules that clients deploy: at most so many deployments are open at a time.
const MODULES: usize = 4;
/// For how long the server is down once in [`OUTAGE_INTERVAL`]: many times the length of a lease.
const OUTAGE: Duration = Duration::from_secs(20);
/// Longer than the clients work in CI.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(150);

/// What the clients and the disturbances share.
#[derive(Default)]
struct History {
    /// Where the engines that run can be reached.
    urls: Mutex<BTreeMap<usize, String>>,
    /// What was requested, and how that was answered.
    operations: Mutex<Vec<Operation>>,
    /// The deployments that were accepted, and how many of their streams have ended well.
    deployments: Mutex<BTreeMap<String, usize>>,
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    /// The address of an engine that may run.
    fn url(&self, rng: &mut Rng) -> Option<String> {
        let urls = lock(&self.urls);
        let index = rng.usize(..urls.len().max(1));
        urls.values().nth(index).cloned()
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_kills_and_pauses_are_whole() -> Result<()> {
    let seed = variable("HOTSWAP_HISTORY_SEED").unwrap_or_else(|| fastrand::u64(..));
    let span = Duration::from_secs(variable("HOTSWAP_HISTORY_SECONDS").unwrap_or(60));
    println!("seed {seed}: repeat it with HOTSWAP_HISTORY_SEED={seed}");
    let checked = run(seed, span).await;
    checked.with_context(|| format!("HOTSWAP_HISTORY_SEED={seed}"))
}

/// Engines on Redis, which has what it acknowledges on its disk, or on Valkey, which writes to its disk
/// every second and is waited for.
async fn start(seed: u64) -> Result<Replicas> {
    if seed.is_multiple_of(2) {
        println!("Redis");
        return Replicas::start(RedisKind::Redis, ENGINES, PRODUCTION, 3).await;
    }
    println!("Valkey, with waitForDisk");
    let server = RedisServer::start_with(RedisKind::Valkey, &RedisServer::EVERY_SECOND)?;
    let store = (server.url(), "waitForDisk = true\n".to_owned());
    Replicas::start_on((server, store), PRODUCTION, (ENGINES, 3), &[]).await
}

async fn run(seed: u64, span: Duration) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let mut replicas = start(seed).await?;
    let history = Arc::<History>::default();
    publish(&replicas, &history)?;
    clients::upload_modules(&replicas, MODULES).await?;
    let stop = CancellationToken::new();
    let (followers, followed) = follow(&history, &mut rng, replicas.token()).await?;
    let operator = Operator::new(rng.fork(), Arc::clone(&history), &replicas);
    let operator = tokio::spawn(operator.run(stop.clone()));
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = Client::new(rng.fork(), Arc::clone(&history), replicas.token());
        tasks.spawn(client.run(stop.clone()));
    }
    let watcher = stream::watch_all(Arc::clone(&history), rng.fork(), replicas.token());
    let watcher = tokio::spawn(watcher);
    disturb(&mut replicas, &history, &mut rng, span).await?;
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    clients::end_all(&replicas, &history).await?;
    let done = operator.await??;
    let seen = watcher.await??;
    let checked = checks::check(&replicas, &history, &seen, &followed, &done);
    tokio::select! {
        checked = checked => checked,
        ended = ended(followers) => ended,
    }
}

/// Follows everything from now on: by a stream of all events, and as a client of the hub.
async fn follow(
    history: &Arc<History>,
    rng: &mut Rng,
    token: &'static str,
) -> Result<(JoinSet<Result<()>>, Followed)> {
    let followed = Followed {
        events: Arc::default(),
        notified: Arc::default(),
    };
    let begun = [(); 2].map(|()| CancellationToken::new());
    let mut followers = JoinSet::new();
    followers.spawn(all_events::follow(
        Arc::clone(history),
        rng.fork(),
        token,
        Arc::clone(&followed.events),
        begun[0].clone(),
    ));
    followers.spawn(hub::follow(
        Arc::clone(history),
        rng.fork(),
        Arc::clone(&followed.notified),
        begun[1].clone(),
    ));
    let all_begun = async {
        for one in &begun {
            one.cancelled().await;
        }
    };
    timeout(BEGIN, all_begun)
        .await
        .context("no subscriber begins")?;
    Ok((followers, followed))
}

/// A subscriber ends only by an error.
async fn ended(mut followers: JoinSet<Result<()>>) -> Result<()> {
    match followers.join_next().await {
        Some(ended) => ended?,
        None => std::future::pending().await,
    }
}

/// Kills and stops engines and the server, and mends that again.
async fn disturb(
    replicas: &mut Replicas,
    history: &History,
    rng: &mut Rng,
    span: Duration,
) -> Result<()> {
    let end = Instant::now() + span;
    let mut outages = tokio::time::interval_at(Instant::now() + OUTAGE_INTERVAL, OUTAGE_INTERVAL);
    let mut counts = BTreeMap::<&str, u32>::new();
    while Instant::now() < end {
        sleep(Duration::from_millis(rng.u64(500..4000))).await;
        if outages.tick().now_or_never().is_some() {
            replicas.server.kill();
            sleep(OUTAGE).await;
            replicas.server.restart()?;
            *counts.entry("the server was down for long").or_default() += 1;
        }
        let engine = rng.usize(..ENGINES);
        let what = match rng.u8(..8) {
            0..3 => {
                lock(&history.urls).remove(&engine);
                replicas.kill_engine(engine).await?;
                sleep(Duration::from_millis(rng.u64(..5000))).await;
                replicas.start_engine(engine).await?;
                "an engine was killed"
            }
            3 => {
                lock(&history.urls).remove(&engine);
                replicas.terminate_engine(engine).await?;
                replicas.start_engine(engine).await?;
                "an engine was replaced"
            }
            // Clients still reach it: what they ask of it waits, and is done late.
            4..6 => {
                replicas.pause_engine(engine)?;
                sleep(Duration::from_millis(rng.u64(100..6000))).await;
                replicas.continue_engine(engine)?;
                "an engine stood still"
            }
            6 => {
                replicas.server.pause()?;
                sleep(Duration::from_millis(rng.u64(100..4000))).await;
                replicas.server.resume()?;
                "the server stood still"
            }
            _ => {
                replicas.server.kill();
                sleep(Duration::from_millis(rng.u64(..2000))).await;
                replicas.server.restart()?;
                "the server was killed"
            }
        };
        *counts.entry(what).or_default() += 1;
        publish(replicas, history)?;
    }
    println!("{counts:?}");
    Ok(())
}

fn publish(replicas: &Replicas, history: &History) -> Result<()> {
    let running = replicas.running().into_iter();
    let urls = running.map(|engine| Ok((engine, replicas.url(engine)?)));
    *lock(&history.urls) = urls.collect::<Result<_>>()?;
    Ok(())
}
