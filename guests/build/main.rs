//! Builds every guest of the workspace in one run of cargo, makes a component of
//! each, and writes the constants that `src/lib.rs` includes.
//!
//! The work happens once for all of `cargo build`, `clippy`, `test` and `doc`, since
//! these share the run of a build script, and it is repeated only when a guest, the
//! SDK, a contract or a dependency changed.

mod component;
mod generate;
mod guest;
mod inner;
mod toolchain;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};

use crate::toolchain::Toolchain;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let workspace = variable("CARGO_MANIFEST_DIR")?
        .parent()
        .context("the crate `guests` lies outside the workspace")?
        .to_owned();
    let out = variable("OUT_DIR")?;

    for path in ["Cargo.toml", "Cargo.lock", "sdk/rust", "wit"] {
        rerun_if_changed(&workspace, path);
    }
    for kind in guest::KINDS {
        rerun_if_changed(&workspace, kind.folder);
    }

    let toolchain = Toolchain::find(&variable("RUSTC")?, &variable("CARGO")?)?;
    let guests = guest::find(&variable("CARGO")?, &workspace)?;
    let target = target_directory(&out).join("guests");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;

    // Two checkouts may share a target directory; cargo's lock ends with cargo, and
    // the other's modules of the same names could take the place of ours before
    // they are read.
    let lock = target.join(".hotswap-lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock()
        .context("cannot lock the guests' target directory")?;

    let modules = inner::build(&toolchain, &workspace, &target, &guests)?;
    for (guest, module) in guests.iter().zip(&modules) {
        let core = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        let component = component::encode(&core).with_context(|| {
            format!(
                "cannot make a component of the guest {}",
                guest.folder.display()
            )
        })?;
        write_if_changed(&out.join(guest.file_name()), &component)?;
    }
    write_if_changed(&out.join("guests.rs"), generate::source(&guests).as_bytes())
}

/// A path that cargo gives every build script.
fn variable(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("cargo did not set {name}"))
}

/// Relative, since checkouts that share a target directory share the record of this
/// too. Cargo would rerun the script each time for a path that does not exist.
fn rerun_if_changed(workspace: &Path, path: &str) {
    if workspace.join(path).exists() {
        println!("cargo:rerun-if-changed=../{path}");
    }
}

/// The target directory that cargo works in now. Cargo does not tell build scripts,
/// but marks it with a file; without the mark, `out` itself serves.
fn target_directory(out: &Path) -> PathBuf {
    out.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out)
        .to_owned()
}

/// Leaves a file that is already so untouched, with its time of change.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
