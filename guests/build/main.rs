//! Builds every guest of the workspace in one run of cargo, makes a component of each, and
//! generates the constants that `src/lib.rs` includes.
//!
//! `cargo build`, `clippy`, `test` and `doc` share one run of this build script. It runs again
//! only when a guest, the SDK, a contract or a dependency has changed.

mod compile;
mod component;
mod generate;
mod guest_package;
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
    let workspace = cargo_path("CARGO_MANIFEST_DIR")?
        .parent()
        .context("the crate `guests` has no parent folder")?
        .to_owned();
    let out = cargo_path("OUT_DIR")?;

    for path in ["Cargo.toml", "Cargo.lock", "sdk/rust", "wit"] {
        rerun_if_changed(&workspace, path);
    }
    for kind in guest_package::GUEST_KINDS {
        rerun_if_changed(&workspace, kind.folder);
    }

    let toolchain = Toolchain::find(&cargo_path("RUSTC")?, &cargo_path("CARGO")?)?;
    let guests = guest_package::find_guests(&cargo_path("CARGO")?, &workspace)?;
    let target = target_directory(&out).join("guests");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;

    // Two checkouts may share a target directory. Cargo releases its own lock when it ends;
    // without this one, the other checkout could overwrite our modules, which have the same
    // names, before we read them.
    let lock = target.join(".hotswap-lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock()
        .context("cannot lock the guests' target directory")?;

    let modules = compile::compile_guests(&toolchain, &workspace, &target, &guests)?;
    for (guest, module) in guests.iter().zip(&modules) {
        let core_module =
            fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        let component = component::encode(&core_module).with_context(|| {
            format!(
                "cannot make a component of the guest {}",
                guest.folder.display()
            )
        })?;
        write_if_changed(&out.join(guest.file_name()), &component)?;
    }
    write_if_changed(
        &out.join("guests.rs"),
        generate::generate_source(&guests).as_bytes(),
    )
}

/// A path in a variable that cargo sets for every build script.
fn cargo_path(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("cargo did not set {name}"))
}

/// Makes cargo run this script again when `path` changes.
///
/// The printed path is relative, because checkouts that share a target directory share this
/// record too. Skips a missing path: cargo would run the script every time.
fn rerun_if_changed(workspace: &Path, path: &str) {
    if workspace.join(path).exists() {
        println!("cargo:rerun-if-changed=../{path}");
    }
}

/// Cargo's target directory. Cargo does not pass it to build scripts, but marks it with the
/// file `CACHEDIR.TAG`. Falls back to `out` if there is no such file.
fn target_directory(out: &Path) -> PathBuf {
    out.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out)
        .to_owned()
}

/// Writes a file, but does not touch one that has this content already: its modification time
/// would make cargo compile its users again.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
