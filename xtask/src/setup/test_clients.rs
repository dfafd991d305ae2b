//! Installs what the tests with real clients need: the pinned packages for Node.js and Python,
//! and a browser. Skips what is installed already.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::install_packages;
use super::python_packages;
use crate::shell::{self, Workspace};

/// Folders with a `package-lock.json`.
const NPM_FOLDERS: &[&str] = &[
    "examples/javascript-websocket-client",
    "examples/typescript-websocket-client",
    "tests/chart",
    "tests/clients",
];

/// Folders with a `requirements.txt`.
const PYTHON_FOLDERS: &[&str] = &[
    "examples/python-websocket-client",
    "tests/chart",
    "tests/clients",
];

/// A copy, in `node_modules`, of the lock file that it was installed from.
const INSTALLED_LOCK: &str = ".installed-by";

/// Installs what is missing.
///
/// # Errors
/// If Node.js or Python is missing or too old, or an installation fails.
pub fn run(workspace: &Workspace) -> Result<()> {
    check_node(workspace)?;
    for folder in NPM_FOLDERS {
        install_npm_packages(workspace, &workspace.root().join(folder))
            .with_context(|| format!("cannot install the npm packages of {folder}"))?;
    }
    for folder in PYTHON_FOLDERS {
        let requirements = workspace.root().join(folder).join("requirements.txt");
        python_packages::install(workspace, &requirements)
            .with_context(|| format!("cannot install the Python packages of {folder}"))?;
    }
    install_browser()
}

fn check_node(workspace: &Workspace) -> Result<()> {
    const ADVICE: &str = "install Node.js 20.11 or newer, with npm, from https://nodejs.org";
    let (Some(node), Some(_)) = (shell::find_program("node"), shell::find_program("npm")) else {
        bail!("the tests run clients for Node.js, but node or npm is missing: {ADVICE}");
    };
    let script = "const [major, minor] = process.versions.node.split('.').map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 11) ? 0 : 1)";
    let mut check = workspace.command(node);
    let status = check
        .args(["-e", script])
        .status()
        .context("cannot start node")?;
    ensure!(
        status.success(),
        "this Node.js is too old for the tests: {ADVICE}"
    );
    Ok(())
}

fn install_npm_packages(workspace: &Workspace, folder: &Path) -> Result<()> {
    let lock = fs::read(folder.join("package-lock.json"))?;
    let installed_lock = folder.join("node_modules").join(INSTALLED_LOCK);
    if fs::read(&installed_lock).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let npm = shell::find_program("npm").context("there is no npm")?;
    let mut install = workspace.command(npm);
    install.args(["ci", "--no-audit", "--no-fund"]);
    shell::run(install.current_dir(folder))?;
    Ok(fs::write(installed_lock, lock)?)
}

fn install_browser() -> Result<()> {
    if shell::find_program("chromium").is_some() {
        return Ok(());
    }
    let Some(apt) = shell::find_program("apt-get") else {
        bail!("the tests open a page in a browser: install Chromium, with `chromium` in PATH");
    };
    install_packages(&apt, &["chromium"]).context("cannot install Chromium")?;
    ensure!(
        shell::find_program("chromium").is_some(),
        "apt-get installed Chromium, but there is no `chromium` in PATH: add its folder to PATH"
    );
    Ok(())
}
