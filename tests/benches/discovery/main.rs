//! What discovery costs: look-ups, changes, idle watches, memory.
//!
//! `cargo bench --bench discovery` prints a table. It needs the programs of the registries, which
//! `cargo xtask setup --tests` installs. A look-up among 10,000 instances is compared with one in a
//! plain map. The time from a change to the view is compared with the time until a client of the
//! registry itself sees the same change: for Consul one that waits by blocking queries, as Consul's
//! own does, for etcd and Kubernetes a watch. DNS has no changes to wait for: what the engine was
//! told is believed for the time to live, and for five seconds at least, and then the component asks
//! within its interval. There the time is compared with that floor and the interval together.
//! 10,000 instances that a component lists are compared with a client of etcd that lists and reads
//! the same. Five watches of each registry in which nothing changes have limits of CPU and memory.

mod consul;
mod dns;
mod etcd;
mod idle;
mod instance;
mod kubernetes;
mod latency;
mod list;
mod view;
mod watching;

use anyhow::{Result, bail};
use hotswap_tests::bench::{check_goals, current_section, print_header, run_each_section};

/// The service whose instances are looked for.
const SERVICE: &str = "hotswap-node";
const MEBIBYTE: f64 = 1_048_576.0;

fn main() -> Result<()> {
    let Some(section) = current_section() else {
        print_header();
        return run_each_section(&[
            "lookup",
            "memory",
            "list",
            "consul",
            "etcd",
            "kubernetes",
            "dns",
            "idle-consul",
            "idle-etcd",
            "idle-kubernetes",
            "idle-dns",
        ]);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match section.as_str() {
            "lookup" => view::measure_lookup().await,
            "memory" => view::measure_memory().await,
            "list" => list::measure().await,
            "consul" => consul::measure_latency().await,
            "etcd" => etcd::measure_latency().await,
            "kubernetes" => kubernetes::measure_latency().await,
            "dns" => dns::measure_latency().await,
            "idle-consul" => consul::measure_idle().await,
            "idle-etcd" => etcd::measure_idle().await,
            "idle-kubernetes" => kubernetes::measure_idle().await,
            "idle-dns" => dns::measure_idle().await,
            other => bail!("no section {other}"),
        }?;
        check_goals()
    })
}
