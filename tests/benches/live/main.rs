//! The cost of notifying many clients, beside servers on npm `socket.io` and npm `ws` that do
//! the same work.
//!
//! `cargo bench --bench live` prints a table: memory of each idle connection, the delay of an
//! event to 1,000 and to 10,000 subscribers, and 500 events a second to 200. Name sections and
//! servers to run only those: `cargo bench --bench live -- fanout ours ws`.
//!
//! This process is the client. Each server runs in its own process ([`hotswap_server`] is ours,
//! the folder `peers` has the others) and gets the same clients, commands and events. Ours
//! writes each event to the disk before it notifies anyone; the others have no journal. Clients
//! and servers share one machine: the figures compare servers, but include the load of the
//! clients.

mod delivery;
mod hotswap_server;
mod report;
mod sections;
mod server_kind;
mod server_process;
mod subscribers;

use anyhow::{Context, Result, ensure};
use hotswap_tests::bench::{check_goals, current_section, raise_open_files};

use crate::server_kind::ServerKind;

/// Makes this program our server. The deployment's id follows.
const SERVE_FLAG: &str = "--serve";
/// 10,100 connections, and what a process has open otherwise.
const OPEN_FILES: u64 = 10_500;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let [serve, deployment] = arguments.as_slice()
        && serve == SERVE_FLAG
    {
        return runtime.block_on(hotswap_server::serve(deployment.parse()?));
    }
    // Skips `--bench`, which Cargo adds.
    let mut named: Vec<String> = arguments
        .into_iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    named.extend(current_section());
    raise_open_files(OPEN_FILES)?;
    runtime.block_on(run(&named))
}

async fn run(named: &[String]) -> Result<()> {
    let servers = select(named, &ServerKind::ALL.map(|kind| (kind.name(), kind)));
    let sections = ["idle", "fanout", "sustained"].map(|name| (name, name));
    let unknown = named.iter().find(|name| {
        let known = sections.iter().any(|(section, _)| section == name);
        !known && !ServerKind::ALL.iter().any(|kind| kind.name() == **name)
    });
    ensure!(
        unknown.is_none(),
        "no section and no server is called {}",
        unknown.map_or("", String::as_str)
    );
    if servers.iter().any(|kind| *kind != ServerKind::HotSwap) {
        server_process::install_peers()?;
    }
    report::print_header();
    for section in select(named, &sections) {
        match section {
            "idle" => sections::idle(&servers).await,
            "fanout" => sections::fanout(&servers).await,
            _ => sections::sustained(&servers).await,
        }
        .with_context(|| format!("section {section} failed"))?;
    }
    check_goals()
}

/// The entries of `all` that are named; all entries if none is.
fn select<T: Copy>(named: &[String], all: &[(&str, T)]) -> Vec<T> {
    let is_named = |(name, _): &&(&str, T)| named.iter().any(|named| named == name);
    let any = all.iter().any(|one| is_named(&one));
    all.iter()
        .filter(|one| !any || is_named(one))
        .map(|(_, one)| *one)
        .collect()
}
