//! Latency and throughput of appends through Redis and Valkey, compared with a bare `XADD` of the
//! same size on the same server in the same run, and pages of a long list, compared with its first
//! one. Fails where one of them takes longer than its limit.

// Its tests are compiled too, and there is no harness that runs them.
#[allow(dead_code, unused_imports)]
#[path = "../../../tests/src/reaper.rs"]
mod reaper;
#[allow(dead_code)]
#[path = "../../../tests/src/redis_server.rs"]
mod redis_server;
mod support;
#[allow(dead_code)]
#[path = "../../../tests/src/venv.rs"]
mod venv;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use hotswap_core::{DeploymentId, Status, encode_event};
use hotswap_store::{Journal, Query, Redis, RedisConfig};
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, cmd};
use tokio::task::JoinSet;

use crate::redis_server::{RedisKind, RedisServer};
use crate::support::{create, median, micros, print_row, sequential, step};

const SEQUENTIAL: usize = 500;
const TASKS: usize = 256;
const APPENDS: u64 = 40;
const DEPLOYMENTS: usize = 100_000;
const PAGES: usize = 200;

/// How many times as long as a bare `XADD` an append may take. Both wait for the same write to the
/// same disk; an append also runs a script.
const MAX_APPEND: f64 = 2.0;
/// The same for many at once, where the processor of the server is the limit, and that of the
/// engine. Appends that do not share the server's writes to its disk take far more.
const MAX_APPEND_AT_ONCE: f64 = 16.0;
/// How many times as long as the first page of a list any other page may take. A list whose pages
/// are found by counting takes thousands of times as long in its middle.
const MAX_PAGE: f64 = 3.0;

/// The ratios that were measured against their limits.
#[derive(Default)]
struct Report {
    missed: Vec<String>,
}

impl Report {
    /// Prints a row whose ratio has a limit.
    fn limited(&mut self, what: &str, value: &str, ratio: f64, limit: f64) {
        print_row(what, value, &format!("{ratio:.2} x"));
        if ratio > limit {
            let missed = format!("{what}: {ratio:.2} x, and at most {limit} x is allowed");
            self.missed.push(missed);
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut report = Report::default();
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        println!("{kind:?}, which writes to its disk before it answers");
        let server = RedisServer::start(kind).expect("a server");
        let config = RedisConfig {
            patience: Duration::from_secs(60),
            ..RedisConfig::new(server.url())
        };
        let store = Redis::open(&config).await.expect("a store");
        let client = Client::open(server.url()).expect("an address");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("a connection");
        appends(&store, &mut connection, &mut report).await;
        lists(&store, &mut connection, &mut report).await;
        store.close().await;
    }
    for missed in &report.missed {
        eprintln!("missed: {missed}");
    }
    match report.missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn appends(store: &Redis, connection: &mut MultiplexedConnection, report: &mut Report) {
    let xadd = xadd(&entry(store).await);
    // Before and after, because the speed of a disk varies from second to second.
    let mut bare = times(connection, &xadd, SEQUENTIAL).await;
    let appended = sequential(store, SEQUENTIAL).await;
    bare.extend(times(connection, &xadd, SEQUENTIAL).await);
    let (bare, appended) = (median(bare), median(appended));
    print_row("bare XADD, one after another", &micros(bare), "");
    let ratio = appended.as_secs_f64() / bare.as_secs_f64();
    report.limited(
        "append of 2 events, one after another",
        &micros(appended),
        ratio,
        MAX_APPEND,
    );

    let bare = bare_rate(connection, &xadd).await;
    print_row(
        &format!("bare XADD, {TASKS} at once"),
        &format!("{bare:.0} /s"),
        "",
    );
    let rate = concurrent(store).await;
    report.limited(
        &format!("append of 2 events, {TASKS} at once"),
        &format!("{rate:.0} /s"),
        bare / rate,
        MAX_APPEND_AT_ONCE,
    );
}

async fn lists(store: &Redis, connection: &mut MultiplexedConnection, report: &mut Report) {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for first in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for number in (first..DEPLOYMENTS).step_by(TASKS) {
                create(&store, &format!("listed-{number}")).await;
            }
        });
    }
    tasks.join_all().await;
    print_row(
        &format!("create each of {DEPLOYMENTS} deployments"),
        &micros(began.elapsed() / DEPLOYMENTS as u32),
        "",
    );
    let ping = median(times(connection, &cmd("PING"), PAGES).await);
    print_row("PING", &micros(ping), "");
    let all = Query {
        limit: 100,
        ..Query::default()
    };
    let middle = Query {
        before: Some(middle(store).await),
        ..all.clone()
    };
    let running = Query {
        environment: Some("production".parse().expect("a name")),
        status: Some(Status::Running),
        ..all.clone()
    };
    let mut first = None;
    for (what, query) in [
        ("the first page of 100", all),
        ("a page in the middle", middle),
        ("a page of one environment and status", running),
    ] {
        let mut pages = Vec::with_capacity(PAGES);
        for _ in 0..PAGES {
            let start = Instant::now();
            let page = store.list(&query).await.expect("a page");
            pages.push(start.elapsed());
            assert_eq!(page.deployments.len(), 100);
        }
        let page = median(pages);
        let first = *first.get_or_insert(page);
        let ratio = page.as_secs_f64() / first.as_secs_f64();
        report.limited(what, &micros(page), ratio, MAX_PAGE);
    }
}

/// The deployment in the middle of the list.
async fn middle(store: &Redis) -> DeploymentId {
    let query = Query {
        limit: DEPLOYMENTS / 2,
        ..Query::default()
    };
    let page = store.list(&query).await.expect("a page");
    *page.deployments.last().expect("half of them")
}

/// As many bytes as an append writes.
async fn entry(store: &Redis) -> Vec<u8> {
    let id = create(store, "entry").await;
    let mut bytes = Vec::new();
    for body in step(id, hotswap_core::Fence(1), 0).bodies {
        encode_event(&body, &mut bytes).expect("an event");
    }
    bytes
}

fn xadd(entry: &[u8]) -> Cmd {
    let mut command = cmd("XADD");
    command.arg("bare").arg("*").arg("event").arg(entry);
    command
}

async fn times(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    count: usize,
) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let sent = command.query_async::<String>(connection).await;
        sent.expect("an answer");
        times.push(start.elapsed());
    }
    times
}

async fn bare_rate(connection: &MultiplexedConnection, xadd: &Cmd) -> f64 {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (mut connection, xadd) = (connection.clone(), xadd.clone());
        tasks.spawn(async move {
            for _ in 0..APPENDS {
                let sent = xadd.query_async::<String>(&mut connection).await;
                sent.expect("an answer");
            }
        });
    }
    tasks.join_all().await;
    (TASKS as u64 * APPENDS) as f64 / start.elapsed().as_secs_f64()
}

async fn concurrent(store: &Redis) -> f64 {
    let mut leases = Vec::new();
    for number in 0..TASKS {
        let id = create(store, &format!("concurrent-{number}")).await;
        leases.push((id, store.acquire_lease(id).await.expect("a lease").fence));
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (id, fence) in leases {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..APPENDS {
                let step = step(id, fence, number);
                store.append(step).await.expect("an append");
            }
        });
    }
    tasks.join_all().await;
    (TASKS as u64 * APPENDS) as f64 / start.elapsed().as_secs_f64()
}
