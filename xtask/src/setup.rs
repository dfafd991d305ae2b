//! Installs what a build needs besides the Rust toolchain. [`test_clients`] and [`test_servers`]
//! install what the tests need.

mod python_packages;
pub mod test_clients;
pub mod test_servers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::shell::{self, Workspace};
use crate::toolchain::{TARGET, Toolchain};

/// The download is about 25 MB. Without a network, rustup may wait much longer for an answer.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(120);

/// Debian's newer Rust, with the sources of its standard library.
const RUST_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// Makes sure that guests can be compiled. Installs nothing if they can.
///
/// # Errors
/// If no compiler can be installed. The message says what is missing.
pub fn run(workspace: &Workspace) -> Result<()> {
    if find_toolchain(workspace).is_ok() {
        return Ok(());
    }
    eprintln!("there is no compiler for {TARGET}: installing one");
    if let Some(rustup) = shell::find_program("rustup") {
        let mut add = workspace.command(rustup);
        add.args(["target", "add", TARGET])
            .env("RUSTUP_MAX_RETRIES", "1");
        if let Err(error) = shell::run_with_timeout(&mut add, RUSTUP_TIMEOUT) {
            eprintln!("{error:#}; trying the system's packages");
        }
        if find_toolchain(workspace).is_ok() {
            return Ok(());
        }
    }
    if let Some(apt) = shell::find_program("apt-get") {
        install_packages(&apt, RUST_PACKAGES)
            .context("cannot install the system's packages for Rust")?;
    }
    find_toolchain(workspace)
        .map(drop)
        .context("cannot set up this machine")
}

/// A program that cargo installs, at the version that the project is written for.
pub struct CargoTool {
    name: &'static str,
    version: &'static str,
}

/// Checks licences, sources and bans by `deny.toml`.
pub const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// Builds the book of `docs/`.
pub const MDBOOK: CargoTool = CargoTool {
    name: "mdbook",
    version: "0.5.4",
};

impl CargoTool {
    /// The path of the program. Compiles it first if it is missing.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub fn find_or_install(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version } = self;
        if let Some(found) = shell::find_program(name) {
            return Ok(found);
        }
        eprintln!("there is no {name}: compiling it once, which takes some minutes");
        let mut install = workspace.cargo(&["install", name, "--locked", "--version", version]);
        // It runs for only a second, so optimising it would cost more time than it saves.
        install.args(["--debug", "--config", "profile.dev.debug=false"]);
        // It is installed for the user, so its build files do not belong in the project's target
        // directory.
        install.env_remove("CARGO_TARGET_DIR");
        shell::run(&mut install)?;
        shell::find_program(name).with_context(|| {
            format!(
                "cargo installed {name} to a folder that is not in PATH: add the folder to PATH"
            )
        })
    }
}

fn find_toolchain(workspace: &Workspace) -> Result<Toolchain> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    Ok(Toolchain::find(&rustc, workspace.cargo_path())?)
}

/// Installs system packages with `apt-get`.
fn install_packages(apt: &Path, packages: &[&str]) -> Result<()> {
    shell::run(as_root(apt)?.args(["-q", "update"]))?;
    shell::run(
        as_root(apt)?
            .args(["-q", "-y", "install", "--no-install-recommends"])
            .args(packages),
    )
}

/// A command that runs `program` as root: through `sudo`, unless this already runs as root or
/// there is no `sudo`.
fn as_root(program: &Path) -> Result<Command> {
    let user_id = Command::new("id")
        .arg("-u")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot find out the current user with `id`")?;
    let mut command = match shell::find_program("sudo") {
        Some(sudo) if user_id.stdout != b"0\n" => {
            let mut command = Command::new(sudo);
            command.arg("--preserve-env=DEBIAN_FRONTEND").arg(program);
            command
        }
        _ => Command::new(program),
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}
