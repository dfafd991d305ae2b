//! The checks of `cargo xtask check`: everything that CI requires besides the tests.

use anyhow::{Result, bail};

use crate::shell::{self, Workspace};
use crate::{book, openapi, records, references, setup, spans, wit};

/// The name of a check in the summary, and its function.
type Check = (&'static str, fn(&Workspace) -> Result<()>);

/// Fast checks come first.
const CHECKS: &[Check] = &[
    ("format", format),
    ("contracts", |workspace| {
        wit::check(&workspace.root().join("wit"))
    }),
    ("decision records", |workspace| {
        records::check(workspace.root())
    }),
    ("spans", |workspace| spans::check(workspace.root())),
    ("lints", lints),
    ("documentation", documentation),
    ("OpenAPI documents", openapi::check),
    ("references", references::check),
    ("book", book::build),
    ("dependencies", dependencies),
];

/// Runs all checks, also after one has failed.
///
/// # Errors
/// Names the checks that failed. Each has printed its reason.
pub fn run(workspace: &Workspace) -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        eprintln!("== {name}");
        if let Err(error) = check(workspace) {
            eprintln!("error: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    shell::run(&mut workspace.cargo(&["fmt", "--all", "--", "--check"]))
}

fn lints(workspace: &Workspace) -> Result<()> {
    shell::run(&mut workspace.cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ]))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    shell::run(
        workspace
            .cargo(&["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "--deny=warnings"),
    )
}

fn dependencies(workspace: &Workspace) -> Result<()> {
    // Not `advisories`: they come from a repository that may be unreachable, and a new one would
    // fail this check without a change in this repository.
    shell::run(
        workspace
            .command(setup::CARGO_DENY.find_or_install(workspace)?)
            .args(["--workspace", "check", "bans", "licenses", "sources"]),
    )
}
