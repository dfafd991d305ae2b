//! The committed references: those that the `hotswap` program generates from its own definitions,
//! and what the source says.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::log_events;
use crate::openapi::first_difference;
use crate::shell::{self, Workspace};

/// Each reference's file, and the argument of `hotswap reference` that prints it.
const REFERENCES: &[(&str, &str)] = &[
    ("docs/CLI.md", "cli"),
    ("docs/CONFIGURATION.md", "configuration"),
    ("hotswap.example.toml", "example"),
];

/// The file of the list of log events.
const LOG_EVENTS: &str = "docs/LOG_EVENTS.md";

/// Compares the committed references with the generated ones.
///
/// # Errors
/// Names the first line that differs.
pub fn check(workspace: &Workspace) -> Result<()> {
    for (file, generated) in generate_all(workspace)? {
        let committed = fs::read_to_string(workspace.root().join(file))
            .with_context(|| format!("cannot read {file}: run `cargo xtask references`"))?;
        if let Some((line, committed, generated)) = first_difference(&committed, &generated) {
            bail!(
                "{file} is out of date: run `cargo xtask references`\n  line {line}: committed \
                 {committed}\n  line {line}: generated {generated}"
            );
        }
    }
    Ok(())
}

/// Writes the references.
///
/// # Errors
/// Where the program cannot be built, or a file cannot be written.
pub fn write(workspace: &Workspace) -> Result<()> {
    for (file, generated) in generate_all(workspace)? {
        fs::write(workspace.root().join(file), generated)
            .with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

/// Each file with what it should hold.
fn generate_all(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    let mut all = vec![(LOG_EVENTS, log_events::document(workspace.root())?)];
    let program = workspace.build_hotswap()?;
    for &(file, argument) in REFERENCES {
        all.push((file, generate(workspace, &program, argument)?));
    }
    Ok(all)
}

fn generate(workspace: &Workspace, program: &Path, argument: &str) -> Result<String> {
    let bytes = shell::read_stdout(workspace.command(program).args(["reference", argument]))?;
    String::from_utf8(bytes).context("the reference is not text")
}
