// `xtask` includes this file too, to set up what is looked for here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What guests are compiled for. A component is made of the core module afterwards,
/// so that no toolchain needs a WASI of its own.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's packages `rustc-web` and `cargo-web` put their programs.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";

/// A cargo and rustc that can compile for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain in use has the target's standard library.
    Active {
        /// The cargo to call.
        cargo: PathBuf,
        /// The rustc that it calls.
        rustc: PathBuf,
    },
    /// The distribution's toolchain has the sources of the standard library, and
    /// compiles them first.
    System {
        /// The linker, which the distribution does not bring.
        linker: PathBuf,
    },
}

/// No toolchain for guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Why the distribution's toolchain does not serve.
    system: String,
}

impl Toolchain {
    /// Looks first at the toolchain in use, `rustc` and `cargo`, then at the
    /// distribution's.
    ///
    /// # Errors
    /// Neither can compile for the target; the message says what to run.
    pub fn find(rustc: &Path, cargo: &Path) -> Result<Self, Missing> {
        if has_target(rustc) {
            return Ok(Self::Active {
                cargo: cargo.to_owned(),
                rustc: rustc.to_owned(),
            });
        }
        match system_linker(rustc) {
            Ok(linker) => Ok(Self::System { linker }),
            Err(system) => Err(Missing { system }),
        }
    }

    /// A call of cargo, without its subcommand, in which the toolchain is set.
    #[allow(dead_code, reason = "called by the build script alone")]
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
                    // `-Zbuild-std` is open to nightly compilers only.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    // Cargo adds the other toolchain's libraries for build scripts.
                    .env_remove("LD_LIBRARY_PATH")
                    .arg("-Zbuild-std=std,panic_abort");
                command
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no Rust toolchain here can compile for {TARGET}: run `cargo xtask setup`, or \
             `rustup target add {TARGET}` (the toolchain in use lacks the target; {})",
            self.system
        )
    }
}

impl std::error::Error for Missing {}

/// Whether this rustc has the target's standard library installed.
fn has_target(rustc: &Path) -> bool {
    let Some(folder) = print(rustc, &["target-libdir", "--target", TARGET]) else {
        return false;
    };
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// The linker to use with the distribution's toolchain, or what that one lacks.
fn system_linker(rustc: &Path) -> Result<PathBuf, String> {
    for program in [SYSTEM_RUSTC, SYSTEM_CARGO] {
        if !Path::new(program).is_file() {
            return Err(format!("{program} is not there either"));
        }
    }
    let system = Path::new(SYSTEM_RUSTC);
    let sysroot = print(system, &["sysroot"]).ok_or(format!("{SYSTEM_RUSTC} does not run"))?;
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !sources.is_file() {
        return Err(format!(
            "the system's Rust lacks its sources, {} (Debian: rust-web-src)",
            sources.display()
        ));
    }
    [rustc, system]
        .into_iter()
        .find_map(|rustc| {
            let sysroot = print(rustc, &["sysroot"])?;
            let host = print(rustc, &["host-tuple"])?;
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
            "the system's Rust has no rust-lld, which a toolchain of rustup brings".to_owned()
        })
}

/// What `rustc --print` says.
fn print(rustc: &Path, arguments: &[&str]) -> Option<String> {
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
