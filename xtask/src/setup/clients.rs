//! What the tests with real clients need: packages for Node.js and Python as they are
//! pinned, and a browser. What is there already is not looked at twice.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::install;
use crate::shell::{self, Workspace};
use crate::venv::Venv;

/// Folders with a `package-lock.json`.
const PACKAGES: &[&str] = &[
    "examples/javascript-websocket-client",
    "examples/typescript-websocket-client",
    "tests/clients",
];

/// Folders with a `requirements.txt`.
const REQUIREMENTS: &[&str] = &["examples/python-websocket-client", "tests/clients"];

/// In `node_modules`, a copy of the lock that it was installed by.
const MARK: &str = ".installed-by";

/// Installs what is missing.
///
/// # Errors
/// Where Node.js or Python is missing or too old, or an installation fails.
pub fn run(workspace: &Workspace) -> Result<()> {
    node(workspace)?;
    for folder in PACKAGES {
        packages(workspace, &workspace.root().join(folder))
            .with_context(|| format!("cannot install the packages of {folder}"))?;
    }
    for folder in REQUIREMENTS {
        let requirements = workspace.root().join(folder).join("requirements.txt");
        venv(workspace, &requirements)
            .with_context(|| format!("cannot install the requirements of {folder}"))?;
    }
    browser()
}

fn node(workspace: &Workspace) -> Result<()> {
    const ADVICE: &str = "install Node.js 20.11 or newer, with npm, from https://nodejs.org";
    let (Some(node), Some(_)) = (shell::which("node"), shell::which("npm")) else {
        bail!("the tests run clients for Node.js, and there is no node or no npm: {ADVICE}");
    };
    let script = "const [major, minor] = process.versions.node.split('.').map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 11) ? 0 : 1)";
    let mut check = workspace.command(node);
    let status = check
        .args(["-e", script])
        .status()
        .context("cannot start node")?;
    ensure!(status.success(), "the tests need a newer Node.js: {ADVICE}");
    Ok(())
}

fn packages(workspace: &Workspace, folder: &Path) -> Result<()> {
    let lock = fs::read(folder.join("package-lock.json"))?;
    let mark = folder.join("node_modules").join(MARK);
    if fs::read(&mark).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let npm = shell::which("npm").context("no npm")?;
    let mut install = workspace.command(npm);
    install.args(["ci", "--no-audit", "--no-fund"]);
    shell::run(install.current_dir(folder))?;
    Ok(fs::write(mark, lock)?)
}

fn venv(workspace: &Workspace, requirements: &Path) -> Result<()> {
    const ADVICE: &str = "install Python 3.11 or newer, with venv and pip";
    let venv = Venv::of(requirements)?;
    // The Python that it was made with may be gone.
    let alive = || workspace.command(venv.python()).args(["-c", ""]).status();
    if venv.mark().is_file() && alive().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let python = shell::which("python3");
    let python = python.with_context(|| format!("there is no python3: {ADVICE}"))?;
    let new = "import sys; sys.exit(sys.version_info < (3, 11))";
    let new = workspace.command(&python).args(["-c", new]).status()?;
    ensure!(new.success(), "python3 is too old: {ADVICE}");
    let mut make = workspace.command(&python);
    make.args(["-m", "venv", "--clear"]).arg(venv.folder());
    shell::run(&mut make).with_context(|| format!("{ADVICE} (on Debian, python3-venv)"))?;
    let mut install = workspace.command(venv.python());
    install.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    shell::run(install.arg("--requirement").arg(requirements))?;
    Ok(fs::write(venv.mark(), "")?)
}

fn browser() -> Result<()> {
    if shell::which("chromium").is_some() {
        return Ok(());
    }
    let Some(apt) = shell::which("apt-get") else {
        bail!("the tests open a page in a browser: install Chromium, as `chromium` on the path");
    };
    install(&apt, &["chromium"]).context("cannot install Chromium")?;
    ensure!(
        shell::which("chromium").is_some(),
        "apt-get installed Chromium, but not as `chromium` on the path"
    );
    Ok(())
}
