//! The cost of keeping a fleet at what was decided.
//!
//! `cargo bench --bench reconciler` prints a table. Each section runs in its own process:
//!
//! - `converge`: 1,000 nodes that have lost their disks get the module that they should run,
//!   against a bare client that sends them the same orders with the same concurrency. The two
//!   take turns, on nodes in this process, each with its own port and disk.
//! - `join`: one node with an empty disk, from its registration until it is ready, against a
//!   registration and the same orders by a bare client.
//! - `idle`: 10,000 nodes that run what they should. They report to the registry in this
//!   process, so that neither sockets nor JSON are measured.

mod bare;
mod converge;
mod idle;
mod join;
mod request_counter;

use anyhow::{Result, bail};
use hotswap_tests::bench::{check_goals, current_section, print_header, run_each_section};

const SECTIONS: [&str; 3] = ["converge", "join", "idle"];

fn main() -> Result<()> {
    let Some(section) = current_section() else {
        print_header();
        return run_each_section(&SECTIONS);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match section.as_str() {
            "converge" => converge::run().await,
            "join" => join::run().await,
            "idle" => idle::run().await,
            other => bail!("no section {other}"),
        }?;
        check_goals()
    })
}
