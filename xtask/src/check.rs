//! What must hold beside the tests.

use anyhow::{Result, bail};

use crate::shell::{self, Workspace};
use crate::{openapi, references, setup, wit};

/// One check and its name in the summary.
type Check = (&'static str, fn(&Workspace) -> Result<()>);

/// The quick ones first.
const CHECKS: &[Check] = &[
    ("format", format),
    ("contracts", |workspace| {
        wit::check(&workspace.root().join("wit"))
    }),
    ("lints", lints),
    ("documentation", documentation),
    ("OpenAPI documents", openapi::check),
    ("references", references::check),
    ("dependencies", dependencies),
];

/// Runs every check, even after one failed.
///
/// # Errors
/// Names the checks that failed; their own output has said why.
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
    // Advisories are fetched from a repository that may be out of reach, and change
    // without a change of ours: they are looked at apart from this.
    shell::run(workspace.command(setup::cargo_deny(workspace)?).args([
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
