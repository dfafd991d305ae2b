//! Compares the requests per second of a node's data port with a baseline: the same
//! component behind the smallest server that hyper and wasmtime allow, without routing,
//! counters or limits. Both run in this process, and take turns in short rounds.
//!
//! Then it does the same again, and again with a tracer that records a tenth of the requests. Node
//! and baseline stay where they are in memory, so the change of the ratio is what recording costs.
//! The spans are taken as an exporter takes them, and dropped; what sending costs is measured by
//! `cargo bench --bench telemetry`.
//!
//! `cargo bench -p hotswap-node --bench router`

mod baseline;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hotswap_common::trace::{self, Sampler};
use hotswap_core::Digest;
use hotswap_guests::HELLO_V1;
use hotswap_node::{Config, Limits, Node, Runtime, Secret};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;

/// Many short rounds, so that other load on the machine affects both sides alike.
const ROUNDS: usize = 60;
const ROUND: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 16;

/// Minimum ratio of the node's requests per second to the baseline's.
const MIN_RATIO: f64 = 0.95;

/// The share of the requests that are recorded, the default.
const SAMPLED: f64 = 0.1;
/// The most that recording may cost: how much slower the node may become.
const MAX_COST: f64 = 1.03;
/// As by default: so many spans wait for the exporter at most, which takes so many at a time.
const QUEUE: usize = 2048;
const BATCH: usize = 512;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (ratio, cost) = runtime.block_on(run());
    if ratio < MIN_RATIO {
        eprintln!("missed: the ratio is {ratio:.3}, and at least {MIN_RATIO} is promised");
    }
    if cost > MAX_COST {
        eprintln!("missed: traces cost {cost:.3}, and at most {MAX_COST} is promised");
    }
    match ratio < MIN_RATIO || cost > MAX_COST {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Returns the ratio of requests a second without traces, and how many times slower the node is with
/// traces.
async fn run() -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = start_node(folder.path()).await;
    let baseline_addr = baseline::start(HELLO_V1).await;

    // Warm up: one round each that is not measured.
    run_round(node.data_addr()).await;
    run_round(baseline_addr).await;
    let addresses = (node.data_addr(), baseline_addr);
    println!("{:<26} {:>12} {:>16}", "", "requests/s", "CPU µs/request");
    let without = compare(addresses, "without traces").await;
    let again = compare(addresses, "without traces, again").await;
    record_traces();
    let with = compare(addresses, "with traces").await;
    println!(
        "traces at 10 % cost {:.3} times, noise {:.3}; at most {MAX_COST} is allowed",
        again / with,
        without / again
    );
    node.shutdown().await;
    (without, again / with)
}

/// Begins to record a share of all requests, and to take their spans as an exporter does.
fn record_traces() {
    let spans = trace::install(Sampler::new(SAMPLED, true), QUEUE, BATCH);
    let mut spans = spans.expect("no other tracer");
    tokio::spawn(async move {
        loop {
            spans.wait_for_batch().await;
            drop(spans.take_batch());
        }
    });
}

/// Lets a node and the baseline take turns. Returns the ratio of their requests a second: the median
/// of the rounds.
async fn compare((node, baseline): (SocketAddr, SocketAddr), what: &str) -> f64 {
    let mut node_total = Measurement::default();
    let mut baseline_total = Measurement::default();
    let mut ratios = Vec::new();
    for number in 0..ROUNDS {
        // The second of two rounds finds a warmer machine, so the order alternates.
        let (through_node, bare) = if number % 2 == 0 {
            let through_node = run_round(node).await;
            (through_node, run_round(baseline).await)
        } else {
            let bare = run_round(baseline).await;
            (run_round(node).await, bare)
        };
        ratios.push(through_node.requests_per_second() / bare.requests_per_second());
        node_total.add(&through_node);
        baseline_total.add(&bare);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    println!("{what}");
    for (name, total) in [
        ("  through the node", &node_total),
        ("  bare component", &baseline_total),
    ] {
        println!(
            "{name:<26} {:>12.0} {:>16.1}",
            total.requests_per_second(),
            total.cpu_micros_per_request()
        );
    }
    let cpu = baseline_total.cpu_micros_per_request() / node_total.cpu_micros_per_request();
    println!("{:<26} {ratio:>12.3} {cpu:>16.3}", "  ratio");
    println!("  the ratio of requests/s is the median of the rounds; target: at least {MIN_RATIO}");
    ratio
}

/// Starts a node that runs the component as `hello`. Writes the module's files first, as a
/// restart would find them, because the node has no engine.
async fn start_node(folder: &std::path::Path) -> Node {
    let digest = Digest::of(HELLO_V1);
    let artifacts = folder.join("artifacts");
    let modules = folder.join("modules");
    std::fs::create_dir_all(&artifacts).expect("a folder");
    std::fs::create_dir_all(&modules).expect("a folder");
    std::fs::write(artifacts.join(digest.hex()), HELLO_V1).expect("an artifact");
    let record = format!(
        r#"{{"slots":{{"active":{{"version":"1.0.0","digest":"{digest}"}},"staged":null,
        "previous":null,"percent":0}},"fence":1,"operations":[],"recent":[]}}"#
    );
    std::fs::write(modules.join("hello.json"), record).expect("a record");
    let config = Config {
        id: "node-1".parse().expect("a node id"),
        environment: Some("testing".parse().expect("an environment")),
        zone: None,
        labels: Default::default(),
        data_addr: ([127, 0, 0, 1], 0).into(),
        control_addr: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        engine_url: None,
        is_discovered: false,
        token: Secret::new("token"),
        data_dir: folder.to_owned(),
        tls: None,
        engine_tls: Default::default(),
        drain: None,
        limits: Limits::default(),
        log: Default::default(),
    };
    let runtime = Runtime::new(&folder.join("compiled")).expect("an engine");
    Node::start_with(runtime, config).await.expect("a node")
}

/// Sum of some rounds. The CPU time includes the clients.
#[derive(Default)]
struct Measurement {
    requests: f64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Measurement {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
    }

    fn requests_per_second(&self) -> f64 {
        self.requests / self.seconds
    }

    fn cpu_micros_per_request(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.requests
    }
}

fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Sends requests on [`CONNECTIONS`] connections, one at a time on each, for [`ROUND`].
async fn run_round(addr: SocketAddr) -> Measurement {
    let stop = Arc::new(AtomicBool::new(false));
    let completed = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    let (started, cpu_before) = (Instant::now(), cpu_seconds());
    for _ in 0..CONNECTIONS {
        let (stop, completed) = (stop.clone(), completed.clone());
        clients.push(tokio::spawn(async move {
            let stream = tokio::net::TcpStream::connect(addr)
                .await
                .expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let io = TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .expect("HTTP");
            tokio::spawn(connection);
            while !stop.load(Ordering::Relaxed) {
                let request = Request::get("/hello/world")
                    .header("host", "127.0.0.1")
                    .body(Empty::<Bytes>::new())
                    .expect("a request");
                let response = sender.send_request(request).await.expect("a response");
                assert_eq!(response.status(), 200);
                response
                    .into_body()
                    .collect()
                    .await
                    .expect("a complete body");
                completed.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client");
    }
    Measurement {
        requests: completed.load(Ordering::Relaxed) as f64,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu_before,
    }
}
