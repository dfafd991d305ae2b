//! What telemetry costs: requests of the API and requests to a module, one after the other, and
//! requests to a module on as many connections as the bench of the router has, with no collector,
//! with one that takes everything, and with one that hangs. Processes of the real program, side by
//! side on this machine, in turns: each round compares with its own.
//!
//! Two processes of one program are not equally fast, by some per cent either way: it depends on
//! where their memory lies. So each set of installations starts anew, in each round they take turns
//! in another order, and what counts is the mean of all sets, with its standard error. A second
//! installation without a collector shows what is left of that.
//!
//! The collector that takes everything reads requests and discards them. It shares the two cores with
//! what is measured, so what it does with them must not count.
//!
//! Needs `cargo build --release --bin hotswap`.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::bench::{
    check_goals, median, median_ratio, micros_per_request, print_header, print_row,
};
use hotswap_tests::{Installation, OtlpReceiver, SilentServer};
use serde_json::json;

/// Of installations that start anew.
const SETS: usize = 8;
/// In each set.
const ROUNDS: usize = 41;
/// In one turn of a round.
const REQUESTS: u32 = 200;
/// As in `node/benches/router`.
const CONNECTIONS: usize = 16;
/// On each connection in one turn of a round.
const REQUESTS_ON_EACH: u32 = 40;
/// The setup with a collector that takes everything, and the share of requests that it gets.
const TAKES: usize = 2;
const SHARE: f64 = 0.1;
/// The most that it may cost.
const GOAL: f64 = 1.03;

/// An installation, and what is asked of it.
struct Candidate {
    setup: usize,
    installation: Installation,
    api: reqwest::RequestBuilder,
    module: reqwest::RequestBuilder,
    /// Microseconds of a request, by round.
    api_micros: Vec<f64>,
    module_micros: Vec<f64>,
    router_micros: Vec<f64>,
}

/// What one kind of request costs with a setup, by set.
#[derive(Default)]
struct Cost {
    ratios: Vec<f64>,
    micros: Vec<f64>,
    micros_without: Vec<f64>,
}

impl Candidate {
    async fn start(setup: usize, collector: Option<&str>) -> Result<Self> {
        let mut variables = Vec::new();
        if let Some(url) = collector {
            variables.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
                ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "10000"),
            ]);
        }
        let installation = Installation::start_with("qa", 1, &variables).await?;
        let id = installation.propose("1.0.0", "direct", json!({})).await?;
        installation.approve(&id).await?;
        let ended = installation.wait_for_end(&id).await?;
        ensure!(ended["status"] == "succeeded", "{ended}");
        let data_urls = installation.data_urls().await?;
        let client = reqwest::Client::new();
        let api = format!("{}/api/v1/deployments/{id}", installation.url);
        Ok(Self {
            setup,
            api: client.get(api).bearer_auth(&installation.token),
            module: client.get(data_urls.first().context("no node")?),
            installation,
            api_micros: Vec::new(),
            module_micros: Vec::new(),
            router_micros: Vec::new(),
        })
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

    async fn measure(&mut self) -> Result<()> {
        let micros = micros_per_request(&self.api, REQUESTS).await?;
        self.api_micros.push(micros);
        let micros = micros_per_request(&self.module, REQUESTS).await?;
        self.module_micros.push(micros);
        let each = (0..CONNECTIONS).map(|_| micros_per_request(&self.module, REQUESTS_ON_EACH));
        let each = try_join_all(each).await?;
        // They wait at the same time, so this is the inverse of the requests per second.
        self.router_micros.push(mean(&each) / CONNECTIONS as f64);
        Ok(())
    }

    /// Microseconds of CPU that engine and node have used for one request.
    fn cpu_micros(&self, cpu_before: f64) -> Result<f64> {
        let on_all = REQUESTS_ON_EACH * CONNECTIONS as u32;
        let requests = ROUNDS as f64 * f64::from(2 * REQUESTS + on_all);
        Ok((self.installation.cpu_seconds()? - cpu_before) * 1e6 / requests)
    }
}

impl Cost {
    fn add(&mut self, ratio: f64, micros: f64, micros_without: f64) {
        self.ratios.push(ratio);
        self.micros.push(micros);
        self.micros_without.push(micros_without);
    }

    fn print(&self, what: &str) {
        let error = standard_error(&self.ratios);
        let measured = format!("{:.1} µs ± {:.1} %", mean(&self.micros), 100.0 * error);
        let against = format!("{:.1} µs without", mean(&self.micros_without));
        // Missed where the sets leave no doubt, in 39 of 40 runs of what is just within the goal.
        let goal = GOAL + 2.0 * error;
        print_row(what, &measured, &against, mean(&self.ratios), goal);
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

/// Checks that what is measured includes a span of the tenth of all requests, all of which have come
/// to the collector but those that wait.
async fn check_sampled(candidate: &Candidate) -> Result<()> {
    let exported = candidate.spans("exported").await?;
    let lost = candidate.spans("dropped").await? + candidate.spans("failed").await?;
    let on_all = REQUESTS_ON_EACH * CONNECTIONS as u32;
    let requests = (ROUNDS + 1) as f64 * f64::from(2 * REQUESTS + on_all);
    let share = exported / requests;
    ensure!(
        lost == 0.0 && (0.7 * SHARE..1.3 * SHARE).contains(&share),
        "{exported} spans of {requests} requests were exported, {lost} were lost"
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (receiver, silent) = (OtlpReceiver::start().await?, SilentServer::start().await?);
    receiver.keep_nothing();
    let (receives, hangs) = (receiver.url(), silent.url());
    let setups = [
        ("no collector", None),
        ("no collector, again", None),
        ("traces at 10 %, and metrics", Some(receives.as_str())),
        ("a collector that hangs", Some(hangs.as_str())),
    ];
    let mut costs: [[Cost; 4]; 4] = Default::default();
    for _ in 0..SETS {
        let mut candidates = Vec::new();
        for (setup, (_, collector)) in setups.iter().enumerate() {
            candidates.push(Candidate::start(setup, *collector).await?);
        }
        for candidate in &mut candidates {
            candidate.measure().await?;
            // Caches are warm now.
            candidate.api_micros.clear();
            candidate.module_micros.clear();
            candidate.router_micros.clear();
        }
        let mut cpu_before = [0.0; 4];
        for candidate in &candidates {
            cpu_before[candidate.setup] = candidate.installation.cpu_seconds()?;
        }
        for _ in 0..ROUNDS {
            fastrand::shuffle(&mut candidates);
            for candidate in &mut candidates {
                candidate.measure().await?;
            }
        }
        candidates.sort_by_key(|candidate| candidate.setup);
        let without = candidates.first().context("no candidates")?;
        let cpu_without = without.cpu_micros(cpu_before[0])?;
        check_sampled(&candidates[TAKES]).await?;
        for candidate in &candidates {
            let [api, module, router, cpu] = &mut costs[candidate.setup];
            api.add(
                median_ratio(&candidate.api_micros, &without.api_micros),
                median(candidate.api_micros.clone()),
                median(without.api_micros.clone()),
            );
            module.add(
                median_ratio(&candidate.module_micros, &without.module_micros),
                median(candidate.module_micros.clone()),
                median(without.module_micros.clone()),
            );
            router.add(
                median_ratio(&candidate.router_micros, &without.router_micros),
                median(candidate.router_micros.clone()),
                median(without.router_micros.clone()),
            );
            let micros = candidate.cpu_micros(cpu_before[candidate.setup])?;
            cpu.add(micros / cpu_without, micros, cpu_without);
        }
    }
    print_header();
    for ((name, _), [api, module, router, cpu]) in setups.iter().zip(&costs).skip(1) {
        api.print(&format!("API, {name}"));
        module.print(&format!("module, {name}"));
        router.print(&format!("router, {name}"));
        cpu.print(&format!("CPU, {name}"));
    }
    check_goals()
}
