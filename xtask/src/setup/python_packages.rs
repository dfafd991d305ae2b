//! Installs Python packages, each list in an environment of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::shell::{self, Workspace};
use crate::venv::Venv;

/// Installs what is missing of a list of requirements, and returns its environment.
///
/// # Errors
/// If Python is missing or too old, or an installation fails.
pub fn install(workspace: &Workspace, requirements: &Path) -> Result<Venv> {
    const ADVICE: &str = "install Python 3.11 or newer, with venv and pip";
    let venv = Venv::for_requirements(requirements)?;
    // The Python that created the environment may have been removed.
    let run_python = || workspace.command(venv.python()).args(["-c", ""]).status();
    if venv.completion_marker().is_file() && run_python().is_ok_and(|status| status.success()) {
        return Ok(venv);
    }
    let python = shell::find_program("python3");
    let python = python.with_context(|| format!("there is no python3: {ADVICE}"))?;
    let check_version = "import sys; sys.exit(sys.version_info < (3, 11))";
    let status = workspace
        .command(&python)
        .args(["-c", check_version])
        .status()?;
    ensure!(status.success(), "python3 is too old: {ADVICE}");
    let mut create = workspace.command(&python);
    create.args(["-m", "venv", "--clear"]).arg(venv.folder());
    shell::run(&mut create).with_context(|| format!("{ADVICE} (on Debian: python3-venv)"))?;
    let mut install = workspace.command(venv.python());
    install.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    shell::run(install.arg("--requirement").arg(requirements))?;
    fs::write(venv.completion_marker(), "")?;
    Ok(venv)
}
