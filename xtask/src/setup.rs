//! What a build needs beside the Rust toolchain, and [`clients`] what the tests do.

pub mod clients;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::shell::{self, Workspace};
use crate::toolchain::{TARGET, Toolchain};

/// The download is some 25 MB. Where there is no way to it, rustup may wait long for
/// an answer.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// Debian's second, newer Rust, with the sources of its standard library.
const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// The version that the committed `deny.toml` is written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Makes sure that guests can be compiled. Installs nothing where they can.
///
/// # Errors
/// No way led to a compiler; the message says what was lacking.
pub fn run(workspace: &Workspace) -> Result<()> {
    if find(workspace).is_ok() {
        return Ok(());
    }
    eprintln!("no compiler for {TARGET} yet: installing one");
    if let Some(rustup) = shell::which("rustup") {
        let mut add = workspace.command(rustup);
        add.args(["target", "add", TARGET])
            .env("RUSTUP_MAX_RETRIES", "1");
        if let Err(error) = shell::run_within(&mut add, RUSTUP_LIMIT) {
            eprintln!("{error:#}: trying the system's packages");
        }
        if find(workspace).is_ok() {
            return Ok(());
        }
    }
    if let Some(apt) = shell::which("apt-get") {
        install(&apt, PACKAGES).context("cannot install the system's second Rust")?;
    }
    find(workspace)
        .map(drop)
        .context("cannot set up this machine")
}

/// The path of cargo-deny, which is compiled first where it is missing.
pub fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(found) = shell::which("cargo-deny") {
        return Ok(found);
    }
    eprintln!("no cargo-deny yet: compiling it, which takes some minutes once");
    let mut install = workspace.cargo(&["install", "cargo-deny", "--locked", "--version"]);
    install.arg(CARGO_DENY_VERSION);
    // Its run takes a second in any case, so that optimising it is lost time.
    install.args(["--debug", "--config", "profile.dev.debug=false"]);
    // The program is the user's; its half-finished parts need not be the project's.
    install.env_remove("CARGO_TARGET_DIR");
    shell::run(&mut install)?;
    shell::which("cargo-deny").context("cargo installed cargo-deny outside its folder and the path")
}

fn find(workspace: &Workspace) -> Result<Toolchain> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    Ok(Toolchain::find(&rustc, workspace.cargo_path())?)
}

/// Installs packages of the system, with `apt-get`.
fn install(apt: &Path, packages: &[&str]) -> Result<()> {
    shell::run(as_root(apt)?.args(["-q", "update"]))?;
    shell::run(
        as_root(apt)?
            .args(["-q", "-y", "install", "--no-install-recommends"])
            .args(packages),
    )
}

/// A call of a program with the rights to install packages.
fn as_root(program: &Path) -> Result<Command> {
    let user = Command::new("id")
        .arg("-u")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot find out who runs this")?;
    let mut command = match shell::which("sudo") {
        Some(sudo) if user.stdout != b"0\n" => {
            let mut command = Command::new(sudo);
            command.arg("--preserve-env=DEBIAN_FRONTEND").arg(program);
            command
        }
        _ => Command::new(program),
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}
