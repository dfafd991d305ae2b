//! The `hotswap` program: engine, node and client in one.
//!
//! The order is the same for each command: parse ([`args`]), resolve ([`settings`],
//! [`config`]), and only then do something ([`commands`], [`dev`], [`serve`], [`node`]).
//! Data goes to standard output, everything else to standard error ([`output`],
//! [`report`]); how it ended is told by a number ([`exit`]).

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

mod args;
mod client;
mod commands;
mod config;
mod dev;
mod exit;
mod jwt;
mod logs;
mod node;
mod output;
mod report;
mod serve;
mod setting;
mod settings;
mod stop;
mod target;
mod tokens;
mod watch;

/// What still runs when a command is done is given so long: by then all that matters is
/// on disk.
const LINGER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let environ = settings::Environ::read();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot start threads");
            return report::report(&error).into();
        }
    };
    // Commands run on the main thread: it is the parent of the processes that `dev` starts.
    let exit = runtime.block_on(commands::run(cli, &environ));
    runtime.shutdown_timeout(LINGER);
    exit.unwrap_or_else(|error| report::report(&error)).into()
}
