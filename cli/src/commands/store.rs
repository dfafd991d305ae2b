//! `hotswap store …`.

mod check;
mod transfer;

use anyhow::Result;
use serde::Deserialize;

use super::Context;
use crate::args::StoreCommand;
use crate::exit::Exit;
use crate::output::print_message;

const HEAD: [&str; 3] = ["WHAT", "COUNT", "SIZE"];

/// What uses space on the engine's disk, as the API writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    open_deployments: u64,
    ended_deployments: u64,
    database_bytes: u64,
    artifacts: Files,
    components: Files,
    others: Files,
    reserve_bytes: u64,
    free_bytes: u64,
    full: bool,
}

#[derive(Debug, Deserialize)]
struct Files {
    count: u64,
    bytes: u64,
}

/// Runs a `store` command.
pub async fn run(command: StoreCommand, context: &Context) -> Result<Exit> {
    match command {
        StoreCommand::Usage => usage(context).await,
        StoreCommand::Check { config } => check::run(config, context).await,
        StoreCommand::Export { file, config } => transfer::export(&file, config, context).await,
        StoreCommand::Import { file, config } => transfer::import(&file, config, context).await,
    }
}

async fn usage(context: &Context) -> Result<Exit> {
    let usage = context.client.store_usage().await?;
    if context.out.json {
        context.out.json(&usage)?;
        return Ok(Exit::Success);
    }
    let usage: Usage = serde_json::from_value(usage)?;
    let deployments = usage.open_deployments + usage.ended_deployments;
    let row = |what: &str, count: Option<u64>, bytes| {
        let count = count.map(|count| count.to_string());
        [what.to_owned(), count.unwrap_or_default(), size(bytes)]
    };
    let files = |what, files: &Files| row(what, Some(files.count), files.bytes);
    let rows = [
        row("deployments", Some(deployments), usage.database_bytes),
        files("module versions", &usage.artifacts),
        files("components", &usage.components),
        files("unused files", &usage.others),
        row("reserve", None, usage.reserve_bytes),
        row("free", None, usage.free_bytes),
    ];
    context.out.table(HEAD, &rows)?;
    if usage.full {
        print_message(
            "the disk is full: new deployments and uploads are refused; free some room, or keep \
             less by the section [retention] of the engine's configuration",
        );
    }
    Ok(Exit::Success)
}

/// `3.4 MB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1e3, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_that_people_read() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (33_554_432, "33.6 MB"),
            (5_000_000_000, "5.0 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
