//! Development tasks of this repository: `cargo xtask <task>`.

mod book;
mod check;
mod image;
mod kubernetes;
mod log_events;
mod openapi;
mod picture;
mod records;
mod references;
mod setup;
mod shell;
mod spans;
mod test_programs;
// Shared with the build script of the guests: setup installs exactly what the build looks for.
#[path = "../../guests/build/toolchain.rs"]
mod toolchain;
// Shared with the tests: setup builds Consul where the tests look for it.
#[path = "../../tests/src/go_program.rs"]
mod go_program;
// Shared with the tests: the versions of Kubernetes that they know.
#[path = "../../tests/src/kubernetes_version.rs"]
mod kubernetes_version;
// Shared with the tests: setup puts definitions of resources where the tests look for them.
#[path = "../../tests/src/resource_definition.rs"]
mod resource_definition;
// Shared with the tests: setup installs Python packages where the tests look for them.
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
    /// Install what a build needs besides Rust: a compiler for WebAssembly
    Setup {
        /// Also install what the tests need: packages for Node.js and Python, a browser,
        /// etcd, Knot DNS, Prometheus, Consul, kube-apiserver, Helm, Traefik, Redis and Valkey
        #[arg(long)]
        tests: bool,
    },
    /// Set up, build, and run `hotswap dev`
    Dev {
        /// Arguments to pass to `hotswap dev`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Set up and run all tests, several programs at a time
    Test {
        /// Arguments to pass to `cargo test`, which runs one program at a time
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check formatting, contracts, decision records, the list of spans, lints, documentation, generated
    /// references and dependencies
    Check,
    /// Run the benchmarks in release mode
    Bench {
        /// Arguments to pass to `cargo bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run everything that must pass before a merge: `check` and `test`
    Ci,
    /// Regenerate the committed OpenAPI documents
    Openapi,
    /// Regenerate docs/CLI.md, docs/CONFIGURATION.md and hotswap.example.toml
    References,
    /// Write the golden journals of this release into `tests/golden`, from real runs
    Golden {
        /// Scenarios to write. All if none is named
        names: Vec<String>,
    },
    /// Pack `hotswap` as an image of OCI, without a container engine, and print its digest
    Image(image::ImageArgs),
    /// Start a real Kubernetes of one node, and run the tests of the Helm chart that need it
    ///
    /// Needs root and Debian's packages. The first time, it compiles Kubernetes for some minutes.
    Kubernetes(kubernetes::KubernetesArgs),
    /// Build the documentation as a book, in `target/book`
    Book,
    /// Regenerate the README's picture of a rollout, from a real run
    Picture,
    /// Check or release the WIT contracts in `wit/`
    #[command(subcommand)]
    Wit(WitTask),
}

#[derive(Subcommand)]
enum WitTask {
    /// Check that all contracts are documented, and that released versions are unchanged
    Check,
    /// Record a version as released, which must not change from then on
    Release {
        /// The version, a folder of the contract, such as 0.1.0
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
                setup::test_clients::run(&workspace)?;
                setup::test_servers::run(&workspace)?;
            }
            Ok(())
        }
        Task::Dev { arguments } => run_dev(&workspace, &arguments),
        Task::Test { arguments } => run_tests(&workspace, &arguments),
        Task::Check => {
            setup::run(&workspace)?;
            check::run(&workspace)
        }
        Task::Bench { arguments } => {
            setup::run(&workspace)?;
            // Also those after one that misses a goal.
            let benches = ["bench", "--workspace", "--no-fail-fast"];
            shell::run(workspace.cargo(&benches).args(arguments))
        }
        Task::Ci => {
            setup::run(&workspace)?;
            check::run(&workspace)?;
            run_tests(&workspace, &[])
        }
        Task::Openapi => openapi::write(&workspace),
        Task::References => references::write(&workspace),
        Task::Golden { names } => {
            setup::run(&workspace)?;
            shell::run(Command::new(workspace.build("golden-journals")?).args(names))
        }
        Task::Image(arguments) => {
            setup::run(&workspace)?;
            image::write(&workspace, &arguments)
        }
        Task::Kubernetes(arguments) => {
            setup::run(&workspace)?;
            kubernetes::run(&workspace, &arguments)
        }
        Task::Book => book::build(&workspace),
        Task::Picture => {
            setup::run(&workspace)?;
            picture::write(&workspace)
        }
        Task::Wit(WitTask::Check) => wit::check(&workspace.root().join("wit")),
        Task::Wit(WitTask::Release { version, contract }) => {
            wit::release(&workspace.root().join("wit"), &contract, &version)
        }
    }
}

fn run_dev(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::run(workspace)?;
    let program = workspace.build_hotswap()?;
    shell::exec(Command::new(program).arg("dev").args(arguments))
}

fn run_tests(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::run(workspace)?;
    setup::test_clients::run(workspace)?;
    setup::test_servers::run(workspace)?;
    // Tests of other packages start `hotswap` too, but cargo builds it only for the tests of its
    // own package.
    workspace.build_hotswap()?;
    if arguments.is_empty() {
        return test_programs::run(workspace);
    }
    // One run tells all that fails.
    let test = ["test", "--workspace", "--no-fail-fast"];
    shell::run(workspace.cargo(&test).args(arguments))
}
