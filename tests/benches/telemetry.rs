//! What telemetry costs: requests of the API and requests to a module, one after the other, and
//! requests to a module on as many connections as the bench of the router has, with no collector,
//! with one that takes everything, and with one that hangs. Processes of the real program, side by
//! side on this machine.
//!
//! The goals are about what recording costs a process: requests whose trace begins in the process,
//! which records a tenth of them, against requests whose `traceparent` says that they are not to be
//! recorded. Both go to the same process, in turns. The same ratio of a process without a collector,
//! which records neither, is what the header alone costs; that is divided out. What tracing costs
//! requests that are not recorded is measured by `cargo bench -p hotswap-node --bench router`, also
//! within one process.
//!
//! Processes with a collector are also compared with processes without one. Two processes of one
//! program are not equally fast, by some per cent either way: it depends on where their memory lies,
//! for as long as they live. So their engines and nodes are killed and started again for each set, in
//! another order each time. Within a set, windows of some milliseconds take turns in another order
//! each time. Each is compared with those of the same moment without a collector, of which there are
//! two installations: their mean is the measure, and how far they differ is what is left of chance.
//! That is too much for a goal.
//!
//! Metrics are sent once a minute, whatever is asked meanwhile, so a set has none of that. What one
//! sending costs is measured beside it, of processes that do nothing else.
//!
//! The collector that takes everything reads requests and discards them. It shares the two cores with
//! what is measured, so what it does with them must not count.
//!
//! Needs `cargo build --release --bin hotswap`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::bench::{
    check_goals, median, median_ratio, micros_per_request, print_header, print_row,
};
use hotswap_tests::{Installation, OtlpReceiver, SilentServer};
use serde_json::json;
use tokio::time::sleep;

/// Of processes that start anew: at least so many, as the first standard errors may be small by
/// chance.
const MIN_SETS: usize = 10;
/// More would take longer than what is left to be known is worth.
const MAX_SETS: usize = 60;
/// The standard error at which a mean of all sets is exact enough.
const EXACT: f64 = 0.004;
/// Pairs of windows in each set, of requests that may be recorded and requests that may not.
const PAIRS: usize = 3;
/// How many times as long as others these windows are: the spans of one are then sent within it, but
/// for its end.
const LONGER: u32 = 4;
/// In each set.
const ROUNDS: usize = 5;
/// Windows on many connections before the rounds of a set: so many requests that the first batch of
/// spans is sent. A process that has just started connects to its collector with it, and loads the
/// code for that.
const WARM_UP: usize = 10;
/// In one window.
const REQUESTS: u32 = 60;
/// As in `node/benches/router`.
const CONNECTIONS: usize = 16;
/// On each connection in one window.
const REQUESTS_ON_EACH: u32 = 40;
/// In one window on many connections.
const REQUESTS_ON_ALL: u32 = CONNECTIONS as u32 * REQUESTS_ON_EACH;
/// Of all windows of a round.
const REQUESTS_IN_ROUND: u32 = 2 * REQUESTS + REQUESTS_ON_ALL;
/// Requests of a set that may be recorded, with those that warm up.
const RECORDABLE_IN_SET: u32 = (ROUNDS as u32 + 1 + PAIRS as u32 * LONGER) * REQUESTS_IN_ROUND
    + (WARM_UP as u32 - 1) * REQUESTS_ON_ALL;
/// The context of a trace that is not recorded.
const NOT_RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// Those without a collector.
const WITHOUT: [usize; 2] = [0, 1];
/// The setup with a collector that takes everything, and the share of requests that it gets.
const TAKES: usize = 2;
const SHARE: f64 = 0.1;
/// The most that it may cost.
const GOAL: f64 = 1.03;
/// By default metrics are sent so often; here so often that it can be measured, for so long.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
const SHORT_METRIC_INTERVAL: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(10);
/// How long processes may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What is asked in one window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Window {
    Api,
    Module,
    Router,
}

const WINDOWS: [(Window, &str); 3] = [
    (Window::Api, "API"),
    (Window::Module, "module"),
    (Window::Router, "router"),
];

/// An installation, and what is asked of it.
struct Candidate {
    /// Its place among all.
    index: usize,
    installation: Installation,
    deployment: String,
    /// Of the processes that run now.
    requests: Option<Requests>,
    cpu_before: f64,
    /// Microseconds of a request by round, for each of [`WINDOWS`].
    micros: [Vec<f64>; 3],
    exported: f64,
}

struct Requests {
    api: reqwest::RequestBuilder,
    module: reqwest::RequestBuilder,
}

impl Requests {
    /// The same requests, of which none is recorded.
    fn not_recorded(&self) -> Result<Self> {
        let with_header = |request: &reqwest::RequestBuilder| {
            let request = request.try_clone().context("a body that is a stream")?;
            Ok::<_, anyhow::Error>(request.header("traceparent", NOT_RECORDED))
        };
        Ok(Self {
            api: with_header(&self.api)?,
            module: with_header(&self.module)?,
        })
    }

    /// Microseconds of a request in a window that is so many times as long.
    async fn measure(&self, window: Window, times: u32) -> Result<f64> {
        let Self { api, module } = self;
        match window {
            Window::Api => micros_per_request(api, times * REQUESTS).await,
            Window::Module => micros_per_request(module, times * REQUESTS).await,
            Window::Router => {
                let each = times * REQUESTS_ON_EACH;
                let each = (0..CONNECTIONS).map(|_| micros_per_request(module, each));
                let each = try_join_all(each).await?;
                // They wait at the same time, so this is the inverse of the requests per second.
                Ok(mean(&each) / CONNECTIONS as f64)
            }
        }
    }
}

/// What one kind of request costs with a setup, by set.
#[derive(Default)]
struct Cost {
    ratios: Vec<f64>,
    micros: Vec<f64>,
    micros_without: Vec<f64>,
}

impl Candidate {
    async fn start(
        index: usize,
        collector: Option<&str>,
        metric_interval: Duration,
    ) -> Result<Self> {
        let mut variables = Vec::new();
        let interval = metric_interval.as_millis().to_string();
        if let Some(url) = collector {
            variables.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
                ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
                ("OTEL_METRIC_EXPORT_INTERVAL", interval.as_str()),
            ]);
        }
        let installation = Installation::start_with("qa", 1, &variables).await?;
        let deployment = installation.propose("1.0.0", "direct", json!({})).await?;
        installation.approve(&deployment).await?;
        let ended = installation.wait_for_end(&deployment).await?;
        ensure!(ended["status"] == "succeeded", "{ended}");
        Ok(Self {
            index,
            installation,
            deployment,
            requests: None,
            cpu_before: 0.0,
            micros: Default::default(),
            exported: 0.0,
        })
    }

    /// Starts its processes anew, and warms their caches up.
    async fn restart(&mut self) -> Result<()> {
        self.installation.kill_node("qa-1").await?;
        self.installation.kill_engine().await?;
        self.installation.restart_engine().await?;
        self.installation.start_node("qa-1")?;
        let client = reqwest::Client::new();
        let deadline = Instant::now() + START_TIMEOUT;
        let module = loop {
            self.installation.wait_for_nodes(1).await?;
            // At first the engine may know the address of the node that was killed.
            let urls = self.installation.data_urls().await?;
            let request = client.get(urls.first().context("no node")?);
            let again = request.try_clone().context("a body that is a stream")?;
            if again.send().await.is_ok_and(|it| it.status().is_success()) {
                break request;
            }
            ensure!(Instant::now() < deadline, "the module does not answer");
            sleep(Duration::from_millis(10)).await;
        };
        let api = format!(
            "{}/api/v1/deployments/{}",
            self.installation.url, self.deployment
        );
        let api = client.get(api).bearer_auth(&self.installation.token);
        self.requests = Some(Requests { api, module });
        for (window, _) in WINDOWS {
            self.measure(window).await?;
        }
        for _ in 1..WARM_UP {
            self.measure(Window::Router).await?;
        }
        self.micros = Default::default();
        self.cpu_before = self.installation.cpu_seconds()?;
        Ok(())
    }

    async fn measure(&mut self, window: Window) -> Result<()> {
        let requests = self.requests.as_ref().context("not started")?;
        let micros = requests.measure(window, 1).await?;
        self.micros[window as usize].push(micros);
        Ok(())
    }

    /// How many times longer requests take that may be recorded than those that may not, for each of
    /// [`WINDOWS`]. Not by medians: only some windows have a sending of spans.
    async fn cost_of_recording(&self) -> Result<[f64; 3]> {
        let recordable = self.requests.as_ref().context("not started")?;
        let not_recorded = recordable.not_recorded()?;
        let mut ratios = [f64::NAN; 3];
        for (window, _) in WINDOWS {
            let mut sums = [0.0; 2];
            for _ in 0..PAIRS {
                let mut order = [(0, recordable), (1, &not_recorded)];
                fastrand::shuffle(&mut order);
                for (index, requests) in order {
                    sums[index] += requests.measure(window, LONGER).await?;
                }
            }
            ratios[window as usize] = sums[0] / sums[1];
        }
        Ok(ratios)
    }

    /// Microseconds of CPU that engine and node have used for one request of the set.
    fn cpu_micros(&self) -> Result<f64> {
        let requests = ROUNDS as f64 * f64::from(REQUESTS_IN_ROUND);
        Ok((self.installation.cpu_seconds()? - self.cpu_before) * 1e6 / requests)
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

    /// Counts what its processes have exported, before they are killed.
    async fn count_exported(&mut self) -> Result<()> {
        let lost = self.spans("dropped").await? + self.spans("failed").await?;
        ensure!(lost == 0.0, "{lost} spans were lost");
        self.exported += self.spans("exported").await?;
        Ok(())
    }
}

impl Cost {
    fn add(&mut self, ratio: f64, micros: f64, micros_without: f64) {
        self.ratios.push(ratio);
        self.micros.push(micros);
        self.micros_without.push(micros_without);
    }

    fn logarithms(&self) -> Vec<f64> {
        self.ratios.iter().map(|ratio| ratio.ln()).collect()
    }

    /// Of [`Self::ratio`], relative to it.
    fn error(&self) -> f64 {
        standard_error(&self.logarithms())
    }

    /// The geometric mean of the sets. The arithmetic one of two equal setups is above 1: the more
    /// they differ by chance, the higher.
    fn ratio(&self) -> f64 {
        mean(&self.logarithms()).exp()
    }

    fn print(&self, what: &str) {
        println!(
            "{what:<32} {:>8.1} µs {:>8.1} µs {:>8.2} ± {:.1} %",
            mean(&self.micros),
            mean(&self.micros_without),
            self.ratio(),
            100.0 * self.error()
        );
    }
}

/// What recording costs requests of one kind, by set: how many times longer those take that may be
/// recorded.
#[derive(Default)]
struct RecordingCost {
    logarithms: Vec<f64>,
}

impl RecordingCost {
    /// Adds a set: the ratio of one process, and those of processes without a collector.
    fn add(&mut self, ratio: f64, without: [f64; 2]) {
        let without = without.map(f64::ln);
        self.logarithms.push(ratio.ln() - mean(&without));
    }

    /// Of the ratio, relative to it.
    fn error(&self) -> f64 {
        standard_error(&self.logarithms)
    }

    fn print(&self, what: &str) {
        let ratio = mean(&self.logarithms).exp();
        let measured = format!("{ratio:.3} ± {:.1} %", 100.0 * self.error());
        print_row(what, &measured, "requests not recorded", ratio, GOAL);
    }
}

/// Of the mean.
fn standard_error(samples: &[f64]) -> f64 {
    let (mean, count) = (mean(samples), samples.len() as f64);
    let squares = samples.iter().map(|sample| (sample - mean).powi(2));
    (squares.sum::<f64>() / (count - 1.0) / count).sqrt()
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// The means of two installations, round by round.
fn means(one: &[f64], other: &[f64]) -> Vec<f64> {
    let rounds = one.iter().zip(other);
    rounds
        .map(|(one, other)| f64::midpoint(*one, *other))
        .collect()
}

/// All that is measured of an installation.
#[derive(Default)]
struct Costs {
    /// For each of [`WINDOWS`].
    of_recording: [RecordingCost; 3],
    /// For each of [`WINDOWS`], and of the CPU. Against installations without a collector.
    of_processes: [Cost; 4],
}

/// Starts all processes anew, measures them in turns, and adds what came out.
async fn run_set(candidates: &mut [Candidate], costs: &mut [Costs]) -> Result<()> {
    // Those that start first may be faster than others for as long as they live.
    fastrand::shuffle(candidates);
    try_join_all(candidates.iter_mut().map(Candidate::restart)).await?;
    candidates.sort_by_key(|candidate| candidate.index);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    for _ in 0..ROUNDS {
        for (window, _) in WINDOWS {
            fastrand::shuffle(&mut order);
            for &index in &order {
                candidates[index].measure(window).await?;
            }
        }
    }
    let cpu = candidates.iter().map(Candidate::cpu_micros);
    let cpu: Vec<f64> = cpu.collect::<Result<_>>()?;
    let mut ratios = Vec::new();
    for candidate in candidates.iter() {
        ratios.push(candidate.cost_of_recording().await?);
    }
    candidates[TAKES].count_exported().await?;
    let [one, other] = WITHOUT;
    for (index, candidate) in candidates.iter().enumerate() {
        for (window, cost) in costs[index].of_recording.iter_mut().enumerate() {
            let without = [ratios[one][window], ratios[other][window]];
            cost.add(ratios[index][window], without);
        }
        let [of_windows @ .., of_cpu] = &mut costs[index].of_processes;
        for (cost, (window, _)) in of_windows.iter_mut().zip(WINDOWS) {
            let of = |index: usize| &candidates[index].micros[window as usize];
            // The second one is compared with the first, of which it is no part.
            let without = match index == other {
                true => of(one).clone(),
                false => means(of(one), of(other)),
            };
            let with = &candidate.micros[window as usize];
            cost.add(
                median_ratio(with, &without),
                median(with.clone()),
                median(without),
            );
        }
        let without = match index == other {
            true => cpu[one],
            false => f64::midpoint(cpu[one], cpu[other]),
        };
        of_cpu.add(cpu[index] / without, cpu[index], without);
    }
    Ok(())
}

/// The CPU time of engine and node for one sending of metrics by each, in seconds.
async fn cpu_of_metrics(collector: &str) -> Result<f64> {
    let mut used = Vec::new();
    for collector in [Some(collector), None] {
        let candidate = Candidate::start(0, collector, SHORT_METRIC_INTERVAL).await?;
        // What they do at their start is over.
        sleep(IDLE / 5).await;
        let before = candidate.installation.cpu_seconds()?;
        sleep(IDLE).await;
        used.push(candidate.installation.cpu_seconds()? - before);
    }
    let sendings = IDLE.as_secs_f64() / SHORT_METRIC_INTERVAL.as_secs_f64();
    Ok((used[0] - used[1]) / sendings)
}

#[tokio::main]
async fn main() -> Result<()> {
    let (receiver, silent) = (OtlpReceiver::start().await?, SilentServer::start().await?);
    receiver.keep_nothing();
    let (receives, hangs) = (receiver.url(), silent.url());
    let setups = [
        ("no collector", None),
        ("no collector, again", None),
        ("traces at 10 %", Some(receives.as_str())),
        ("a collector that hangs", Some(hangs.as_str())),
    ];
    let mut candidates = Vec::new();
    for (index, (_, collector)) in setups.into_iter().enumerate() {
        candidates.push(Candidate::start(index, collector, METRIC_INTERVAL).await?);
    }
    let mut costs: [Costs; 4] = Default::default();
    let mut sets = 0;
    let is_exact = |costs: &[Costs]| {
        let costs = costs
            .iter()
            .skip(TAKES)
            .flat_map(|costs| &costs.of_recording);
        costs.map(RecordingCost::error).all(|error| error <= EXACT)
    };
    while sets < MIN_SETS || sets < MAX_SETS && !is_exact(&costs) {
        run_set(&mut candidates, &mut costs).await?;
        sets += 1;
    }
    // What is measured includes a span of the tenth of all requests, those left out that wait for the
    // collector when a set ends.
    let exported = candidates[TAKES].exported;
    let requests = sets as f64 * f64::from(RECORDABLE_IN_SET);
    ensure!(
        (0.6 * SHARE..1.3 * SHARE).contains(&(exported / requests)),
        "{exported} spans of {requests} requests were exported"
    );
    println!("{sets} sets; after ± stands the standard error of the mean of their ratios\n");
    println!(
        "{:<32} {:>11} {:>11} {:>8}",
        "processes", "measured", "without", "ratio"
    );
    for ((setup, _), costs) in setups.iter().zip(&costs).skip(1) {
        let [windows @ .., cpu] = &costs.of_processes;
        for (cost, (_, window)) in windows.iter().zip(WINDOWS) {
            cost.print(&format!("{window}, {setup}"));
        }
        cpu.print(&format!("CPU, {setup}"));
    }
    println!();
    print_header();
    for ((setup, _), costs) in setups.iter().zip(&costs).skip(TAKES) {
        for (cost, (_, window)) in costs.of_recording.iter().zip(WINDOWS) {
            cost.print(&format!("{window}, {setup}"));
        }
    }
    drop(candidates);
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
