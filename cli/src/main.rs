//! The `hotswap` program: engine, node and client in one.
//!
//! Every command takes the same steps: parse ([`args`]), resolve ([`settings`], [`config`]),
//! run ([`commands`], which calls [`dev`], [`engine`], [`run_node`] or the [`client`]). Only
//! the last step changes anything. Data goes to standard output, everything else to standard
//! error ([`output`], [`report`]); the exit code tells how the command ended ([`exit`]).

use std::process::ExitCode;
use std::time::Duration;

mod args;
mod client;
mod commands;
mod compiled_folder;
mod config;
mod contexts;
mod defaults;
mod dev;
mod discovery;
mod engine;
mod engine_store;
mod environment_variables;
mod exit;
mod exit_report;
mod format;
mod interval_bar;
mod logging;
mod output;
mod predecessor;
mod reference;
mod registrations;
mod report;
mod run_node;
mod secret_file;
mod settings;
mod shutdown;
mod telemetry;
mod watch;
mod wrap;

/// How long threads that still run may delay the exit. All that matters is on disk by then.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    hotswap_common::memory::limit_pools();
    let cli = match args::Cli::parse_line(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(rejection) => return report::report_rejection(&rejection).into(),
    };
    let reporter = report::Reporter {
        json: cli.global.json,
        id: cli.command.deployment().map(|id| id.to_string()),
    };
    let variables = environment_variables::EnvironmentVariables::read();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot start threads");
            return reporter.report(&error).into();
        }
    };
    // The command runs on the main thread, which is then the parent of the processes that
    // `dev` starts.
    let result = runtime.block_on(commands::run(cli, &variables));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
        .unwrap_or_else(|error| reporter.report(&error))
        .into()
}
