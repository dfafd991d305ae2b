//! Finds a Rust toolchain that can compile guests. `xtask` includes this file too: it installs
//! what this build script looks for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that guests are compiled for. Components are made from the core modules
/// afterwards, so the toolchain does not need a WASI target.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The paths of the programs in Debian's packages `rustc-web` and `cargo-web`.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";

/// A cargo and rustc that can compile for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain that runs this build. It has the standard library of the target.
    Active {
        /// The path of cargo.
        cargo: PathBuf,
        /// The path of the rustc that cargo must use.
        rustc: PathBuf,
    },
    /// The toolchain of the Linux distribution. It compiles the standard library from source.
    System {
        /// The path of the linker, which the distribution does not package.
        linker: PathBuf,
    },
}

/// No toolchain can compile guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoToolchain {
    /// Why the toolchain of the distribution cannot be used.
    system_problem: String,
}

impl Toolchain {
    /// Tries the toolchain in use, `rustc` and `cargo`, and then that of the distribution.
    ///
    /// # Errors
    /// If neither can compile for the target. The message says which command to run.
    pub fn find(rustc: &Path, cargo: &Path) -> Result<Self, NoToolchain> {
        if has_target(rustc) {
            return Ok(Self::Active {
                cargo: cargo.to_owned(),
                rustc: rustc.to_owned(),
            });
        }
        match system_linker(rustc) {
            Ok(linker) => Ok(Self::System { linker }),
            Err(system_problem) => Err(NoToolchain { system_problem }),
        }
    }

    /// A cargo command without a subcommand, set up to use this toolchain.
    #[allow(dead_code, reason = "only the build script calls it")]
    pub fn cargo(&self) -> Command {
        match self {
            Self::Active { cargo, rustc } => {
                let mut command = Command::new(cargo);
                command.env("RUSTC", rustc);
                command
            }
            Self::System { linker } => {
                let mut command = Command::new(SYSTEM_CARGO);
                command
                    .env("RUSTC", SYSTEM_RUSTC)
                    // Without this, only nightly compilers accept `-Zbuild-std`.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    // Cargo sets this for build scripts, to the libraries of the other toolchain.
                    .env_remove("LD_LIBRARY_PATH")
                    .arg("-Zbuild-std=std,panic_abort");
                command
            }
        }
    }
}

impl fmt::Display for NoToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no Rust toolchain on this machine can compile for {TARGET}: run `cargo xtask setup` or \
             `rustup target add {TARGET}` (the toolchain in use lacks the target; {})",
            self.system_problem
        )
    }
}

impl std::error::Error for NoToolchain {}

/// Whether this rustc has the standard library of the target.
fn has_target(rustc: &Path) -> bool {
    let Some(folder) = rustc_print(rustc, &["target-libdir", "--target", TARGET]) else {
        return false;
    };
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// The linker for the toolchain of the distribution. The error says what that toolchain lacks.
fn system_linker(rustc: &Path) -> Result<PathBuf, String> {
    for program in [SYSTEM_RUSTC, SYSTEM_CARGO] {
        if !Path::new(program).is_file() {
            return Err(format!("{program} is not installed"));
        }
    }
    let system = Path::new(SYSTEM_RUSTC);
    let sysroot = rustc_print(system, &["sysroot"]).ok_or(format!("cannot run {SYSTEM_RUSTC}"))?;
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !sources.is_file() {
        return Err(format!(
            "the system's Rust has no sources at {}; on Debian, install rust-web-src",
            sources.display()
        ));
    }
    [rustc, system]
        .into_iter()
        .find_map(|rustc| {
            let sysroot = rustc_print(rustc, &["sysroot"])?;
            let host = rustc_print(rustc, &["host-tuple"])?;
            let linker = Path::new(&sysroot)
                .join("lib/rustlib")
                .join(host)
                .join("bin/rust-lld");
            linker.is_file().then_some(linker)
        })
        .or_else(|| {
            std::env::split_paths(&std::env::var_os("PATH")?)
                .map(|folder| folder.join("rust-lld"))
                .find(|linker| linker.is_file())
        })
        .ok_or_else(|| {
            "there is no rust-lld for the system's Rust; rustup toolchains include it".to_owned()
        })
}

/// The output of `rustc --print`; `None` if it fails or is empty.
fn rustc_print(rustc: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(rustc)
        .arg("--print")
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}
