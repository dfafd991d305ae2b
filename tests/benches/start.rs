//! What the start of an engine costs: its processor time and the time until it is ready, with an empty
//! folder of compiled components and with one that an earlier engine has filled.
//!
//! Needs `cargo build --release --bin hotswap`.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use hotswap_tests::bench::{check_goals, cpu_seconds_of, median, print_header, print_row};
use hotswap_tests::{ChildProcess, tools};

/// Pairs of starts, one with an empty folder and one with the folder that it leaves.
const PAIRS: usize = 10;
/// The most that a start may cost, in proportion to one that compiles.
const GOAL: f64 = 0.2;

/// Seconds that an engine takes until it is ready.
struct Start {
    cpu: f64,
    wall: f64,
}

/// Starts an engine, and kills it once it is ready.
async fn start(folder: &Path, data_dir: &str) -> Result<Start> {
    let mut serve = tools::hotswap()?;
    serve
        .current_dir(folder)
        .env("HOTSWAP_COMPILED_DIR", "compiled");
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir]);
    let begun = Instant::now();
    let mut engine = ChildProcess::start(serve)?;
    let is_ready = |line: &str| line.contains("engine ready").then_some(());
    engine.find_in_stderr(is_ready).await?;
    let wall = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds_of(&engine.id()?.to_string())?;
    Ok(Start { cpu, wall })
}

fn medians(starts: &[Start]) -> [f64; 2] {
    let of = |value: fn(&Start) -> f64| median(starts.iter().map(value).collect());
    [of(|start| start.cpu), of(|start| start.wall)]
}

#[tokio::main]
async fn main() -> Result<()> {
    let (mut empty, mut filled) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let folder = tempfile::tempdir()?;
        empty.push(start(folder.path(), "one").await?);
        filled.push(start(folder.path(), "other").await?);
    }
    print_header();
    let whats = ["CPU of an engine's start", "until an engine is ready"];
    for ((what, empty), filled) in whats.iter().zip(medians(&empty)).zip(medians(&filled)) {
        let measured = format!("{:.0} ms", filled * 1e3);
        let against = format!("{:.0} ms if it compiles", empty * 1e3);
        print_row(what, &measured, &against, filled / empty, GOAL);
    }
    check_goals()
}
