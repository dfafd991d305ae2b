//! Requests per second through a node's data port, against the same component behind
//! the smallest server that hyper and wasmtime make: no routing, no counters, no limits.
//! Both run in this process, and take turns in short rounds.
//!
//! `cargo bench -p hotswap-node --bench router`

mod bare;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hotswap_core::Digest;
use hotswap_guests::HELLO_V1;
use hotswap_node::{Config, Limits, Node, Runtime, Token};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;

/// Many and short: what else the machine does then meets both alike.
const ROUNDS: usize = 60;
const ROUND: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 16;

/// What the node must reach of the bare server.
const TARGET: f64 = 0.95;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = node(folder.path()).await;
    let bare = bare::start(HELLO_V1).await;

    // Once each without counting: pages are mapped, connections made.
    round(node.data_addr()).await;
    round(bare).await;
    let (mut through, mut without, mut ratios) = (Rate::default(), Rate::default(), Vec::new());
    for number in 0..ROUNDS {
        // Whoever is second finds a warmer machine: they change places.
        let (a, b) = if number % 2 == 0 {
            let a = round(node.data_addr()).await;
            (a, round(bare).await)
        } else {
            let b = round(bare).await;
            (round(node.data_addr()).await, b)
        };
        ratios.push(a.per_second() / b.per_second());
        through.add(&a);
        without.add(&b);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    println!("{:<26} {:>12} {:>16}", "", "requests/s", "CPU µs/request");
    for (name, rate) in [
        ("through the node", &through),
        ("the component, bare", &without),
    ] {
        println!(
            "{name:<26} {:>12.0} {:>16.1}",
            rate.per_second(),
            rate.cpu_micros()
        );
    }
    let cpu = without.cpu_micros() / through.cpu_micros();
    println!("{:<26} {ratio:>12.3} {cpu:>16.3}", "ratio");
    println!("the ratio of requests/s is the median of the rounds; target: at least {TARGET}");
    node.shutdown().await;
}

/// A node that runs the component as `hello`, brought to it as a restart would find it.
async fn node(folder: &std::path::Path) -> Node {
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
        environment: "testing".parse().expect("an environment"),
        zone: None,
        labels: Default::default(),
        data_addr: ([127, 0, 0, 1], 0).into(),
        control_addr: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        engine_url: None,
        token: Token::new("token"),
        data_dir: folder.to_owned(),
        limits: Limits::default(),
    };
    let runtime = Runtime::new(&folder.join("compiled")).expect("an engine");
    Node::start_with(runtime, config).await.expect("a node")
}

/// What came of some rounds. The CPU time is the clients' too.
#[derive(Default)]
struct Rate {
    requests: f64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Rate {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
    }

    fn per_second(&self) -> f64 {
        self.requests / self.seconds
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.requests
    }
}

fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Some connections that each wait for an answer before they send the next request.
async fn round(addr: SocketAddr) -> Rate {
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    for _ in 0..CONNECTIONS {
        let (stop, answered) = (stop.clone(), answered.clone());
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
                let answer = sender.send_request(request).await.expect("an answer");
                assert_eq!(answer.status(), 200);
                answer.into_body().collect().await.expect("a whole answer");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client");
    }
    Rate {
        requests: answered.load(Ordering::Relaxed) as f64,
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu,
    }
}
