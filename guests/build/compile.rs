//! Compiles the guests to core modules with a second, inner run of cargo.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::guest_package::GuestPackage;
use crate::toolchain::{TARGET, Toolchain};

/// Prefixes of variables that cargo or a person set for the outer run. They would give the inner
/// run the wrong target, compiler or package.
const OUTER_RUN_PREFIXES: &[&str] = &[
    "CARGO_BIN_",
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_CRATE_",
    "CARGO_ENCODED_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
    "CARGO_PROFILE_",
    "CARGO_RUSTC_",
    "CARGO_TARGET_",
    "CARGO_UNSTABLE_",
    "CLIPPY_",
    "DEP_",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
];

/// As [`OUTER_RUN_PREFIXES`], but whole names.
const OUTER_RUN_VARIABLES: &[&str] = &[
    "CARGO",
    "DEBUG",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "TARGET",
];

/// A message on the standard output of cargo.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles all guests. Returns the path of each core module, in the order of `guests`.
///
/// # Errors
/// If a guest does not compile. Cargo's messages go to standard error, which the outer run
/// shows when this fails.
pub fn compile_guests(
    toolchain: &Toolchain,
    workspace: &Path,
    target: &Path,
    guests: &[GuestPackage],
) -> Result<Vec<PathBuf>> {
    if guests.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = toolchain.cargo();
    command
        .args(["build", "--lib", "--locked", "--profile=guest"])
        .args(["--message-format=json-render-diagnostics", "--target"])
        .arg(TARGET)
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace)
        .stderr(Stdio::inherit());
    for guest in guests {
        command.arg("--package").arg(&guest.package);
    }
    remove_outer_run_variables(&mut command);
    command.env("CARGO_ENCODED_RUSTFLAGS", rust_flags());

    let output = command.output().context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "the WebAssembly guests do not compile: see cargo's messages above"
    );
    let text = String::from_utf8(output.stdout).context("the output of cargo is not UTF-8")?;
    let messages: Vec<CargoMessage> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    guests
        .iter()
        .map(|guest| {
            let manifest = workspace.join(&guest.folder).join("Cargo.toml");
            messages
                .iter()
                .filter(|message| message.reason == "compiler-artifact")
                .filter(|message| message.manifest_path.as_ref() == Some(&manifest))
                .flat_map(|message| &message.filenames)
                .find(|file| file.extension().is_some_and(|name| name == "wasm"))
                .cloned()
                .with_context(|| {
                    format!(
                        "cargo built no WebAssembly module for {}",
                        guest.folder.display()
                    )
                })
        })
        .collect()
}

/// Removes the variables of the outer run, but keeps those that the toolchain set on `command`.
fn remove_outer_run_variables(command: &mut Command) {
    let kept: Vec<OsString> = command
        .get_envs()
        .map(|(name, _)| name.to_owned())
        .collect();
    for (name, _) in env::vars_os().filter(|(name, _)| !kept.contains(name)) {
        let text = name.to_string_lossy();
        if OUTER_RUN_PREFIXES
            .iter()
            .any(|prefix| text.starts_with(prefix))
            || OUTER_RUN_VARIABLES.contains(&text.as_ref())
        {
            command.env_remove(&name);
        }
    }
}

/// Removes the path of cargo's home from the guests. Panic messages contain the paths of
/// sources, and without this a guest's digest would depend on where it is built.
fn rust_flags() -> OsString {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let mut flags = OsString::new();
    if let Some(home) = home {
        flags.push("--remap-path-prefix=");
        flags.push(home);
        flags.push("=/cargo");
    }
    flags
}
