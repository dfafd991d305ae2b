//! Compares the requests per second of a node's data port with a baseline: the same
//! component behind the smallest server that hyper and wasmtime allow, without routing,
//! counters or limits. Both run in this process, and take turns in short rounds.
//!
//! `cargo bench -p hotswap-node --bench router`

mod baseline;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
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

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ratio = runtime.block_on(run());
    if ratio < MIN_RATIO {
        eprintln!("missed: the ratio is {ratio:.3}, and at least {MIN_RATIO} is promised");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Returns the ratio of requests a second.
async fn run() -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = start_node(folder.path()).await;
    let baseline_addr = baseline::start(HELLO_V1).await;

    // Warm up: one round each that is not measured.
    run_round(node.data_addr()).await;
    run_round(baseline_addr).await;
    let mut node_total = Measurement::default();
    let mut baseline_total = Measurement::default();
    let mut ratios = Vec::new();
    for number in 0..ROUNDS {
        // The second of two rounds finds a warmer machine, so the order alternates.
        let (through_node, bare) = if number % 2 == 0 {
            let through_node = run_round(node.data_addr()).await;
            (through_node, run_round(baseline_addr).await)
        } else {
            let bare = run_round(baseline_addr).await;
            (run_round(node.data_addr()).await, bare)
        };
        ratios.push(through_node.requests_per_second() / bare.requests_per_second());
        node_total.add(&through_node);
        baseline_total.add(&bare);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    println!("{:<26} {:>12} {:>16}", "", "requests/s", "CPU µs/request");
    for (name, total) in [
        ("through the node", &node_total),
        ("bare component", &baseline_total),
    ] {
        println!(
            "{name:<26} {:>12.0} {:>16.1}",
            total.requests_per_second(),
            total.cpu_micros_per_request()
        );
    }
    let cpu = baseline_total.cpu_micros_per_request() / node_total.cpu_micros_per_request();
    println!("{:<26} {ratio:>12.3} {cpu:>16.3}", "ratio");
    println!("the ratio of requests/s is the median of the rounds; target: at least {MIN_RATIO}");
    node.shutdown().await;
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
