//! What recording traces costs: requests of the API and requests to a module, one after the other, and
//! requests to a module on as many connections as the bench of the router has. With no collector,
//! with one that takes everything, and with one that hangs.
//!
//! Windows in which all requests are recorded take turns with windows in which none is. The
//! `traceparent` of each request says whether it is recorded, so that all requests are equally long
//! and go to the same processes: two processes of one program are not equally fast, by some per cent
//! either way, as it depends on where their memory lies. A window has enough requests for several
//! batches of spans, so it pays for the sending, too. By default one request of ten is recorded, which
//! costs a tenth of that.
//!
//! Processes without a collector record neither kind, so their ratio is what is left of chance. What
//! it costs to decide that a request is not recorded is measured by `cargo bench --bench spans`, and,
//! within one process, by `cargo bench -p hotswap-node --bench router`.
//!
//! Metrics are sent once a minute, whatever is asked meanwhile, so both kinds of windows pay the same.
//! What one sending costs is measured beside it, of processes that do nothing else.
//!
//! The collector that takes everything reads requests and discards them. It shares the two cores with
//! what is measured, so what it does with them must not count.
//!
//! Needs `cargo build --release --bin hotswap`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::bench::{check_goals, print_header, print_row};
use hotswap_tests::{Installation, OtlpReceiver, SilentServer};
use reqwest::RequestBuilder;
use serde_json::json;
use tokio::time::sleep;

/// Of windows: at least so many, as the first standard errors may be small by chance.
const MIN_PAIRS: usize = 15;
/// More would take longer than what is left to be known is worth.
const MAX_PAIRS: usize = 30;
/// The standard error at which a ratio is exact enough.
const EXACT: f64 = 0.003;
/// In a window, divisible by [`CONNECTIONS`]. A batch has 512 spans.
const REQUESTS: u32 = 1600;
/// As in `node/benches/router`.
const CONNECTIONS: u32 = 16;
/// The share of the requests that is recorded by default.
const SHARE: f64 = 0.1;
/// The context of a trace, without the flag that says whether it is recorded.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
/// The most that recording may cost.
const GOAL: f64 = 1.03;
/// By default metrics are sent so often; here so often that it can be measured, for so long.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
const SHORT_METRIC_INTERVAL: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(10);
/// How long processes may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// One kind of request, and how many connections send it.
struct Load {
    name: &'static str,
    connections: u32,
    recorded: RequestBuilder,
    not_recorded: RequestBuilder,
    /// The logarithms of how many times longer requests took in the one window of each pair.
    logarithms: Vec<f64>,
    /// Microseconds of a request in windows in which none is recorded.
    micros: Vec<f64>,
}

impl Load {
    fn new(name: &'static str, connections: u32, request: RequestBuilder) -> Result<Self> {
        let with_flag = |flag: &str| {
            let request = request.try_clone().context("a body that is a stream")?;
            Ok::<_, anyhow::Error>(request.header("traceparent", format!("{TRACE}-{flag}")))
        };
        Ok(Self {
            name,
            connections,
            recorded: with_flag("01")?,
            not_recorded: with_flag("00")?,
            logarithms: Vec::new(),
            micros: Vec::new(),
        })
    }

    /// Microseconds of a request in one window. Of several connections, whose requests wait at the
    /// same time, it is the inverse of the requests per second.
    async fn run_window(&self, records: bool) -> Result<f64> {
        let started = Instant::now();
        let connections = (0..self.connections).map(|_| self.send(records));
        try_join_all(connections).await?;
        Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS))
    }

    async fn send(&self, records: bool) -> Result<()> {
        let request = match records {
            true => &self.recorded,
            false => &self.not_recorded,
        };
        for _ in 0..REQUESTS / self.connections {
            let request = request.try_clone().context("a body that is a stream")?;
            request.send().await?.error_for_status()?.bytes().await?;
        }
        Ok(())
    }

    async fn run_pair(&mut self) -> Result<()> {
        let records_first = fastrand::bool();
        let first = self.run_window(records_first).await?;
        let second = self.run_window(!records_first).await?;
        let (with, without) = match records_first {
            true => (first, second),
            false => (second, first),
        };
        self.logarithms.push((with / without).ln());
        self.micros.push(without);
        Ok(())
    }

    /// How many times longer requests take where all are recorded: the geometric mean of all pairs,
    /// and its standard error in proportion to it.
    fn cost_of_all(&self) -> (f64, f64) {
        let mean = mean(&self.logarithms);
        let squares = self.logarithms.iter().map(|it| (it - mean).powi(2));
        let count = self.logarithms.len() as f64;
        let error = (squares.sum::<f64>() / (count - 1.0) / count).sqrt();
        (mean.exp(), error)
    }

    /// As [`Self::cost_of_all`], where the default share is recorded.
    fn cost(&self) -> (f64, f64) {
        let (ratio, error) = self.cost_of_all();
        (1.0 + SHARE * (ratio - 1.0), SHARE * error)
    }

    fn print(&self, setup: &str) {
        let ((all, _), (ratio, error)) = (self.cost_of_all(), self.cost());
        print_row(
            &format!("{}, {setup}", self.name),
            &format!("{ratio:.3} ± {:.1} %", 100.0 * error),
            &format!("{:.0} µs; all: × {all:.2}", mean(&self.micros)),
            ratio,
            GOAL,
        );
    }
}

/// An installation, and the loads that are put on it.
struct Setup {
    name: &'static str,
    installation: Installation,
    loads: Vec<Load>,
}

impl Setup {
    async fn start(
        name: &'static str,
        collector: Option<&str>,
        metric_interval: Duration,
    ) -> Result<Self> {
        let mut variables = Vec::new();
        let interval = metric_interval.as_millis().to_string();
        if let Some(url) = collector {
            variables.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
                ("OTEL_METRIC_EXPORT_INTERVAL", interval.as_str()),
            ]);
        }
        let installation = Installation::start_with("qa", 1, &variables).await?;
        let deployment = installation.propose("1.0.0", "direct", json!({})).await?;
        installation.approve(&deployment).await?;
        let ended = installation.wait_for_end(&deployment).await?;
        ensure!(ended["status"] == "succeeded", "{ended}");
        let client = reqwest::Client::new();
        let api = format!("{}/api/v1/deployments/{deployment}", installation.url);
        let api = client.get(api).bearer_auth(&installation.token);
        let urls = installation.data_urls().await?;
        let module = client.get(urls.first().context("no node")?);
        let on_all = module.try_clone().context("a body that is a stream")?;
        wait_until_served(&module).await?;
        let loads = vec![
            Load::new("API", 1, api)?,
            Load::new("module", 1, module)?,
            Load::new("router", CONNECTIONS, on_all)?,
        ];
        Ok(Self {
            name,
            installation,
            loads,
        })
    }

    fn is_exact(&self) -> bool {
        self.loads.iter().all(|load| load.cost().1 <= EXACT)
    }

    /// How many spans of engine and node have had this outcome.
    async fn spans(&self, outcome: &str) -> Result<f64> {
        let nodes = self.installation.get("/api/v1/nodes").await?;
        let node = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
        let mut sum = 0.0;
        for (url, prefix) in [
            (self.installation.url.as_str(), "hotswap"),
            (node, "hotswap_node"),
        ] {
            let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
            let series = format!("{prefix}_trace_spans_total{{outcome=\"{outcome}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&series));
            sum += value.context("no such series")?.parse::<f64>()?;
        }
        Ok(sum)
    }

    /// Checks that the spans of all recorded requests were sent, but for those that still wait.
    async fn check_sent(&self) -> Result<()> {
        let lost = self.spans("dropped").await? + self.spans("failed").await?;
        ensure!(lost == 0.0, "{lost} spans were lost");
        let windows: usize = self.loads.iter().map(|load| load.logarithms.len()).sum();
        let recorded = windows as f64 * f64::from(REQUESTS);
        let sent = self.spans("exported").await?;
        ensure!(
            sent >= 0.9 * recorded,
            "{sent} spans of {recorded} requests were sent"
        );
        Ok(())
    }
}

async fn wait_until_served(request: &RequestBuilder) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let again = request.try_clone().context("a body that is a stream")?;
        if again.send().await.is_ok_and(|it| it.status().is_success()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the module does not answer");
        sleep(Duration::from_millis(10)).await;
    }
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// The CPU time of engine and node for one sending of metrics by each, in seconds.
async fn cpu_of_metrics(collector: &str) -> Result<f64> {
    let mut used = Vec::new();
    for collector in [Some(collector), None] {
        let setup = Setup::start("metrics", collector, SHORT_METRIC_INTERVAL).await?;
        // What they do at their start is over.
        sleep(IDLE / 5).await;
        let before = setup.installation.cpu_seconds()?;
        sleep(IDLE).await;
        used.push(setup.installation.cpu_seconds()? - before);
    }
    let sendings = IDLE.as_secs_f64() / SHORT_METRIC_INTERVAL.as_secs_f64();
    Ok((used[0] - used[1]) / sendings)
}

#[tokio::main]
async fn main() -> Result<()> {
    let (receiver, silent) = (OtlpReceiver::start().await?, SilentServer::start().await?);
    receiver.keep_nothing();
    let (receives, hangs) = (receiver.url(), silent.url());
    let mut setups = Vec::new();
    for (name, collector) in [
        ("no collector", None),
        ("a collector", Some(receives.as_str())),
        ("a collector that hangs", Some(hangs.as_str())),
    ] {
        setups.push(Setup::start(name, collector, METRIC_INTERVAL).await?);
    }
    // The first pair fills caches and connects to the collector.
    let mut pairs = 0;
    while pairs < MIN_PAIRS || pairs < MAX_PAIRS && !setups.iter().all(Setup::is_exact) {
        for setup in &mut setups {
            for load in &mut setup.loads {
                load.run_pair().await?;
            }
        }
        pairs += 1;
    }
    setups[1].check_sent().await?;
    println!(
        "what it costs to record {:.0} % of all requests; {pairs} pairs of windows; after ± stands the \
         standard error\n",
        100.0 * SHARE
    );
    print_header();
    for setup in &setups {
        for load in &setup.loads {
            load.print(setup.name);
        }
    }
    drop(setups);
    let cpu = cpu_of_metrics(&receives).await?;
    print_row(
        "CPU, metrics each minute",
        &format!("{:.1} ms each time", cpu * 1e3),
        "a core that is idle",
        1.0 + cpu / METRIC_INTERVAL.as_secs_f64(),
        GOAL,
    );
    check_goals()
}
