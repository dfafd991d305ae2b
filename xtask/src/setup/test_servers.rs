//! Installs the servers that tests start: etcd from the system's packages, and Consul, which is
//! compiled once, at the version that `tests/servers/consul` pins. Skips what is there already.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use super::install_packages;
use crate::consul_program::cached_consul;
use crate::shell::{self, Workspace};

/// Installs what is missing.
///
/// # Errors
/// If an installation fails, or Go is missing and needed.
pub fn run(workspace: &Workspace) -> Result<()> {
    install_etcd()?;
    build_consul(workspace).context("cannot build Consul")
}

fn install_etcd() -> Result<()> {
    if shell::find_program("etcd").is_some() {
        return Ok(());
    }
    let Some(apt) = shell::find_program("apt-get") else {
        bail!("the tests start etcd: install it, with `etcd` in PATH");
    };
    install_packages(&apt, &["etcd-server"]).context("cannot install etcd")?;
    ensure!(
        shell::find_program("etcd").is_some(),
        "apt-get installed etcd, but there is no `etcd` in PATH: add its folder to PATH"
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
    let Some(go) = shell::find_program("go") else {
        bail!(
            "the tests start Consul: install it, with `consul` in PATH, or install Go 1.24 or \
             newer from https://go.dev, which builds it"
        );
    };
    eprintln!("there is no consul: compiling it once, which takes some minutes");
    let folder = program.parent().context("the program has no folder")?;
    fs::create_dir_all(folder)?;
    // A build that is interrupted leaves no half a program.
    let part = program.with_extension("part");
    let mut build = workspace.command(go);
    build
        .current_dir(workspace.root().join("tests/servers/consul"))
        .args(["build", "-mod=readonly", "-ldflags=-s -w", "-o"])
        .arg(&part)
        .arg("github.com/hashicorp/consul");
    shell::run(&mut build)?;
    Ok(fs::rename(part, program)?)
}
