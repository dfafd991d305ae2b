//! The run of cargo that compiles the guests.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::guest::Guest;
use crate::toolchain::{TARGET, Toolchain};

/// Variables that a build script gets, or that a person set, for the outer run. All
/// of them mean another target, another compiler or another package.
const FOREIGN: &[&str] = &[
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

/// The same, whole names.
const FOREIGN_NAMES: &[&str] = &[
    "CARGO",
    "DEBUG",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "TARGET",
];

/// A line that cargo writes on its standard output.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles all guests, and says where the core module of each lies, in their order.
/// Cargo's own messages go to standard error, which the outer cargo shows when this
/// fails.
pub fn build(
    toolchain: &Toolchain,
    workspace: &Path,
    target: &Path,
    guests: &[Guest],
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
    scrub(&mut command);
    command.env("CARGO_ENCODED_RUSTFLAGS", rust_flags());

    let output = command.output().context("cannot call cargo")?;
    ensure!(
        output.status.success(),
        "the WebAssembly guests do not compile: cargo's messages above say where"
    );
    let text = String::from_utf8(output.stdout).context("cannot read what cargo says")?;
    let messages: Vec<Message> = text
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
                .with_context(|| format!("cargo made no module of {}", guest.folder.display()))
        })
        .collect()
}

/// Takes from the call what was set for the outer run. What the toolchain set in it
/// stays.
fn scrub(command: &mut Command) {
    let own: Vec<OsString> = command
        .get_envs()
        .map(|(name, _)| name.to_owned())
        .collect();
    for (name, _) in env::vars_os().filter(|(name, _)| !own.contains(name)) {
        let text = name.to_string_lossy();
        if FOREIGN.iter().any(|prefix| text.starts_with(prefix))
            || FOREIGN_NAMES.contains(&text.as_ref())
        {
            command.env_remove(&name);
        }
    }
}

/// Panic messages hold the paths of the sources: without the home directory in them,
/// a guest has the same digest wherever it is built.
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
