//! The programs that tests run. One that is missing fails the test, and the error says what
//! brings it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::venv::Venv;

const SET_UP: &str = "run `cargo xtask setup --tests`";

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The program under test, which cargo puts above the folder of the tests.
///
/// # Errors
/// Where it has not been built.
pub fn hotswap() -> Result<Command> {
    let own = env::current_exe()?;
    let program = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("hotswap"))
        .find(|path| path.is_file());
    let program =
        program.context("no hotswap beside the tests: run `cargo build --bin hotswap`")?;
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HOTSWAP_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Node.js in a folder whose packages are installed.
///
/// # Errors
/// Where they are not.
pub fn node(folder: &Path) -> Result<Command> {
    javascript("node", folder)
}

/// `npm` in a folder whose packages are installed.
///
/// # Errors
/// Where they are not.
pub fn npm(folder: &Path) -> Result<Command> {
    javascript("npm", folder)
}

fn javascript(program: &str, folder: &Path) -> Result<Command> {
    let packages = folder.join("node_modules");
    ensure!(packages.is_dir(), "no {}: {SET_UP}", packages.display());
    let mut command = Command::new(found(program)?);
    command.current_dir(folder);
    Ok(command)
}

/// Python in a folder, with what is in the `requirements.txt` there.
///
/// # Errors
/// Where that is not installed.
pub fn python(folder: &Path) -> Result<Command> {
    let venv = Venv::of(&folder.join("requirements.txt"))?;
    let mark = venv.mark();
    ensure!(mark.is_file(), "no {}: {SET_UP}", mark.display());
    let mut command = Command::new(venv.python());
    command.current_dir(folder);
    Ok(command)
}

/// The browser.
///
/// # Errors
/// Where there is none.
pub fn chromium() -> Result<PathBuf> {
    found("chromium")
}

/// A program on the path.
///
/// # Errors
/// Where it is not there.
fn found(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("no {program} on the path: {SET_UP}"))
}
