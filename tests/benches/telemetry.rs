//! What telemetry costs: requests of the API and requests to a module, one after the other, with no
//! collector, with one that takes everything, and with one that hangs. Processes of the real
//! program, side by side on this machine, in turns: each round compares with its own.
//!
//! Needs `cargo build --release --bin hotswap`.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::bench::{median, print_header, print_row};
use hotswap_tests::{Installation, OtlpReceiver, SilentServer};
use serde_json::json;

const ROUNDS: usize = 21;
/// In one turn of a round.
const REQUESTS: u32 = 1000;
/// The most that it may cost.
const GOAL: f64 = 1.03;

/// An installation, and what is asked of it.
struct Candidate {
    name: &'static str,
    _installation: Installation,
    api: reqwest::RequestBuilder,
    module: reqwest::RequestBuilder,
    /// Microseconds of a request, by round.
    api_micros: Vec<f64>,
    module_micros: Vec<f64>,
}

impl Candidate {
    async fn start(name: &'static str, collector: Option<&str>) -> Result<Self> {
        let mut variables = Vec::new();
        if let Some(url) = collector {
            variables.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
                ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
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
            name,
            api: client.get(api).bearer_auth(&installation.token),
            module: client.get(data_urls.first().context("no node")?),
            _installation: installation,
            api_micros: Vec::new(),
            module_micros: Vec::new(),
        })
    }

    async fn measure(&mut self) -> Result<()> {
        self.api_micros.push(turn(&self.api).await?);
        self.module_micros.push(turn(&self.module).await?);
        Ok(())
    }
}

/// Microseconds of one request.
async fn turn(request: &reqwest::RequestBuilder) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let request = request.try_clone().context("has a body")?;
        request.send().await?.error_for_status()?.bytes().await?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS))
}

/// The median of the ratios of each round, so that what slows a whole round down cancels out.
fn print_ratio(what: &str, with: &[f64], without: &[f64]) {
    let ratios = with
        .iter()
        .zip(without)
        .map(|(with, without)| with / without);
    let ratio = median(ratios.collect());
    let measured = format!("{:.1} µs", median(with.to_vec()));
    let against = format!("{:.1} µs without", median(without.to_vec()));
    print_row(what, &measured, &against, ratio, GOAL);
}

#[tokio::main]
async fn main() -> Result<()> {
    let (receiver, silent) = (OtlpReceiver::start().await?, SilentServer::start().await?);
    let mut candidates = [
        Candidate::start("no collector", None).await?,
        Candidate::start("no collector, again", None).await?,
        Candidate::start("traces at 10 %, and metrics", Some(&receiver.url())).await?,
        Candidate::start("a collector that hangs", Some(&silent.url())).await?,
    ];
    for candidate in &mut candidates {
        candidate.measure().await?;
    }
    for candidate in &mut candidates {
        // Caches are warm now.
        candidate.api_micros.clear();
        candidate.module_micros.clear();
    }
    for round in 0..ROUNDS {
        candidates.rotate_left(round % 2 + 1);
        for candidate in &mut candidates {
            candidate.measure().await?;
        }
    }
    candidates.sort_by_key(|candidate| candidate.name != "no collector");
    let [without, with @ ..] = &candidates;
    print_header();
    for with in with {
        let what = format!("API, {}", with.name);
        print_ratio(&what, &with.api_micros, &without.api_micros);
        let what = format!("module, {}", with.name);
        print_ratio(&what, &with.module_micros, &without.module_micros);
    }
    ensure!(!receiver.spans().is_empty() && !receiver.metrics().is_empty());
    Ok(())
}
