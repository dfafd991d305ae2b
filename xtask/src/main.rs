//! The tasks of this repository: `cargo xtask <task>`.

mod check;
mod openapi;
mod references;
mod setup;
mod shell;
// One file, so that what is looked for here and what builds the guests cannot differ.
#[path = "../../guests/build/toolchain.rs"]
mod toolchain;
// Likewise: where the tests look for what is installed here.
#[path = "../../tests/src/venv.rs"]
mod venv;
mod wit;

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::shell::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what a build needs beside Rust: a compiler for WebAssembly
    Setup {
        /// And what the tests need: packages for Node.js and Python, a browser
        #[arg(long)]
        tests: bool,
    },
    /// Set up, build, and run `hotswap dev` with the arguments that follow
    Dev {
        /// Arguments of `hotswap dev`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Set up and run every test
    Test {
        /// Arguments of `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check format, lints, documentation, dependencies and contracts
    Check,
    /// Run the benches on the release profile
    Bench {
        /// Arguments of `cargo bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// All that must pass before a change is merged: check and test
    Ci,
    /// Write the committed OpenAPI documents anew
    Openapi,
    /// Write the committed references: docs/CLI.md, docs/CONFIGURATION.md and the example file
    References,
    /// The contracts in `wit/`
    #[command(subcommand)]
    Wit(Wit),
}

#[derive(Subcommand)]
enum Wit {
    /// Check the contracts: documented, and released versions unchanged
    Check,
    /// Record a version as released: from then on it may not change
    Release {
        /// The version, a folder of the contract: 0.1.0
        version: String,
        /// The contract, a folder of `wit/`
        #[arg(long, default_value = "strategy")]
        contract: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup { tests } => {
            setup::run(&workspace)?;
            if tests {
                setup::clients::run(&workspace)?;
            }
            Ok(())
        }
        Task::Dev { arguments } => dev(&workspace, &arguments),
        Task::Test { arguments } => test(&workspace, &arguments),
        Task::Check => {
            setup::run(&workspace)?;
            check::run(&workspace)
        }
        Task::Bench { arguments } => {
            setup::run(&workspace)?;
            shell::run(workspace.cargo(&["bench", "--workspace"]).args(arguments))
        }
        Task::Ci => {
            setup::run(&workspace)?;
            check::run(&workspace)?;
            test(&workspace, &[])
        }
        Task::Openapi => openapi::write(&workspace),
        Task::References => references::write(&workspace),
        Task::Wit(Wit::Check) => wit::check(&workspace.root().join("wit")),
        Task::Wit(Wit::Release { version, contract }) => {
            wit::release(&workspace.root().join("wit"), &contract, &version)
        }
    }
}

fn dev(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::run(workspace)?;
    let program = workspace.build_hotswap()?;
    shell::become_program(Command::new(program).arg("dev").args(arguments))
}

fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::run(workspace)?;
    setup::clients::run(workspace)?;
    // Tests of other packages start the program too, and cargo builds it for the
    // tests of its own package alone.
    workspace.build_hotswap()?;
    shell::run(workspace.cargo(&["test", "--workspace"]).args(arguments))
}
