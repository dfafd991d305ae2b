//! What it costs to tell many clients at once, beside npm `socket.io` and npm `ws` servers
//! that do the same work.
//!
//! `cargo bench --bench live` prints a table: memory for each idle connection, how soon an
//! event is with 1,000 and with 10,000 subscribers, and 500 events a second to 200. Named
//! sections and servers run alone: `cargo bench --bench live -- fanout ours ws`.
//!
//! This process is the client. Each server is a process of its own ([`served`] is ours, the
//! folder `peers` has the others) and gets the same clients, orders and events. Ours has
//! each event on the disk before it tells anyone; the others have no journal. All three run
//! on the machine that the clients run on: the figures compare servers, and grow with what
//! the clients themselves take.

mod crowd;
mod dialect;
mod report;
mod sections;
mod served;
mod server;

use anyhow::{Context, Result, ensure};
use hotswap_tests::table::section;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::dialect::Dialect;

/// As this process is called to be our server; the deployment's id follows.
const SERVE: &str = "--serve";
/// 10,100 connections, and what a process has open anyway.
const FILES: u64 = 10_500;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let [serve, deployment] = arguments.as_slice()
        && serve == SERVE
    {
        return runtime.block_on(served::serve(deployment.parse()?));
    }
    // Cargo adds `--bench`.
    let mut named: Vec<String> = arguments
        .into_iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    named.extend(section());
    raise_open_files()?;
    runtime.block_on(run(&named))
}

async fn run(named: &[String]) -> Result<()> {
    let servers = chosen(
        named,
        &Dialect::ALL.map(|dialect| (dialect.name(), dialect)),
    );
    let sections = ["idle", "fanout", "sustained"].map(|name| (name, name));
    let unknown = named.iter().find(|name| {
        let known = sections.iter().any(|(section, _)| section == name);
        !known && !Dialect::ALL.iter().any(|dialect| dialect.name() == **name)
    });
    ensure!(
        unknown.is_none(),
        "no section and no server {}",
        unknown.map_or("", String::as_str)
    );
    if servers.iter().any(|dialect| *dialect != Dialect::Ours) {
        server::install_peers()?;
    }
    report::head();
    for section in chosen(named, &sections) {
        match section {
            "idle" => sections::idle(&servers).await,
            "fanout" => sections::fanout(&servers).await,
            _ => sections::sustained(&servers).await,
        }
        .with_context(|| format!("section {section} failed"))?;
    }
    Ok(())
}

/// Those that are named; all, where none is.
fn chosen<T: Copy>(named: &[String], all: &[(&str, T)]) -> Vec<T> {
    let is_named = |(name, _): &&(&str, T)| named.iter().any(|named| named == name);
    let any = all.iter().any(|one| is_named(&one));
    all.iter()
        .filter(|one| !any || is_named(one))
        .map(|(_, one)| *one)
        .collect()
}

/// For this process, and for the servers, which inherit it.
fn raise_open_files() -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= FILES);
    ensure!(
        enough(maximum),
        "a process may open {} files here; this needs {FILES}: raise `ulimit -Hn`",
        maximum.unwrap_or_default()
    );
    if !enough(current) {
        let current = maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    }
    Ok(())
}
