//! `hotswap store check`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_store::redis::{Loss, RequiredDurability};
use hotswap_store::{Journal as _, Redis, RedisConfig};
use serde::Serialize;

use super::Context;
use crate::args::Serve;
use crate::config::Config;
use crate::environment_variables::read_variable;
use crate::exit::Exit;
use crate::output::print_message;

/// How many writes are measured.
const WRITES: usize = 50;

const HEAD: [&str; 2] = ["WHAT FAILS", "WHAT IS LOST"];

/// The findings, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    server: String,
    version: String,
    durable: bool,
    faults: Vec<&'static str>,
    warnings: Vec<&'static str>,
    append_median_micros: u64,
    append_slowest_micros: u64,
    engines: Vec<String>,
    losses: Vec<Loss>,
}

/// Checks the store that a configuration names. Fails where it is not durable, or does not answer.
pub async fn run(file: Option<PathBuf>, context: &Context) -> Result<Exit> {
    let serve = Serve {
        config: file,
        ..Serve::default()
    };
    let config = Config::read(&serve, read_variable)?;
    let Some(redis) = config.store.resolve(read_variable)? else {
        let file = config.data_dir.join("engine.db");
        let text = format!(
            "the state is in {}, for one engine alone; each append is on its disk before it \
             counts. store.url names a server that engines share",
            file.display()
        );
        match context.out.json {
            true => context
                .out
                .json(&serde_json::json!({ "file": file, "durable": true }))?,
            false => print_message(&text),
        }
        return Ok(Exit::Success);
    };
    let report = check(redis).await.context("cannot check the store")?;
    let exit = match report.durable {
        true => Exit::Success,
        false => Exit::Failure,
    };
    if context.out.json {
        context.out.json(&report)?;
        return Ok(exit);
    }
    print(&report, context)?;
    Ok(exit)
}

async fn check(config: RedisConfig) -> Result<Report> {
    // What is missing is reported, not refused.
    let config = RedisConfig {
        durability: RequiredDurability::Anything,
        engine: format!("store-check-{}", std::process::id()),
        // The engines at work notice nothing of it.
        is_observer: true,
        ..config
    };
    let store = Redis::open(&config).await?;
    let measured = measure(&store).await;
    let engines = match store.session() {
        Some(session) => session.engines().await,
        None => Ok(Vec::new()),
    };
    let durability = store.durability().clone();
    store.close().await;
    let (median, slowest) = measured?;
    let mut engines: Vec<_> = engines?.into_iter().map(|engine| engine.name).collect();
    engines.sort_unstable();
    Ok(Report {
        server: config.shown_url(),
        version: durability.to_string(),
        durable: durability.faults().is_empty(),
        faults: durability.faults(),
        warnings: durability.warnings(&config),
        append_median_micros: micros(median),
        append_slowest_micros: micros(slowest),
        engines,
        losses: durability.losses(&config),
    })
}

/// The median and the slowest of some writes, one after the other.
async fn measure(store: &Redis) -> Result<(Duration, Duration)> {
    let mut spans = store.measure(WRITES).await?;
    spans.sort_unstable();
    let at = |index: usize| spans.get(index).copied().unwrap_or_default();
    Ok((at(spans.len() / 2), at(spans.len().saturating_sub(1))))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn print(report: &Report, context: &Context) -> Result<()> {
    let millis = |micros: u64| format!("{:.1} ms", micros as f64 / 1000.0);
    let line = |name: &str, value: &str| context.out.line(&format!("{name:<9} {value}"));
    line("server", &report.server)?;
    line("version", &report.version)?;
    line("durable", if report.durable { "yes" } else { "no" })?;
    let (median, slowest) = (report.append_median_micros, report.append_slowest_micros);
    let append = format!(
        "{} in the median of {WRITES}, {} at most",
        millis(median),
        millis(slowest)
    );
    line("append", &append)?;
    let engines = match report.engines.is_empty() {
        true => "none".to_owned(),
        false => report.engines.join(", "),
    };
    line("engines", &engines)?;
    context.out.line("")?;
    let row = |loss: &Loss| [loss.when.to_owned(), loss.what.to_owned()];
    let rows: Vec<_> = report.losses.iter().map(row).collect();
    context.out.table(HEAD, &rows)?;
    for fault in &report.faults {
        print_message(&format!("not durable: {fault}"));
    }
    for warning in &report.warnings {
        print_message(warning);
    }
    Ok(())
}
