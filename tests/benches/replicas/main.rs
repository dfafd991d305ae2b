//! What several engines on one server of Redis promise, and what they cost.
//!
//! `cargo bench --bench replicas` prints a table, and fails where a promise is missed. Engines, nodes
//! and Redis are processes of their own, as an operator runs them, but all on this machine, beside
//! the clients of this program. Name sections to run only those: `cargo bench --bench replicas --
//! take-over delivery`.
//!
//! - `take-over`: the time from the SIGKILL of the engine that drives to the lease of the next one.
//! - `concurrent`: 256 deployments at once, compared with one after another.
//! - `delivery`: an event from the request at one engine to 1,000 subscribers of another.
//! - `waiting`: what 10,000 waiting deployments cost each engine and Redis.
//!
//! The bench `redis` of the store compares single appends with a bare `XADD`, and measures lists.

mod concurrent;
mod delivery;
mod modules;
mod report;
mod take_over;
mod waiting;

use anyhow::{Context, Result, bail};
use hotswap_tests::bench::{check_goals, raise_open_files};

use crate::report::Report;

const SECTIONS: [&str; 4] = ["take-over", "concurrent", "delivery", "waiting"];
/// A connection for each subscriber, and what a process has open otherwise.
const OPEN_FILES: u64 = 4096;

fn main() -> Result<()> {
    // Skips `--bench`, which Cargo adds.
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if let Some(unknown) = named.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        bail!(
            "no section is called {unknown}; there are {}",
            SECTIONS.join(", ")
        );
    }
    raise_open_files(OPEN_FILES)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = Report::new();
    for section in SECTIONS {
        if !named.is_empty() && !named.iter().any(|name| name == section) {
            continue;
        }
        let run = async {
            match section {
                "take-over" => take_over::run(&mut report).await,
                "concurrent" => concurrent::run(&mut report).await,
                "delivery" => delivery::run(&mut report).await,
                _ => waiting::run(&mut report).await,
            }
        };
        let ran = runtime.block_on(run);
        ran.with_context(|| format!("section {section} failed"))?;
    }
    check_goals()
}
