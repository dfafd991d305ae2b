//! Finds the workspace, and runs programs in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How often to poll whether a child has ended. Short compared with any installation.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Prefixes of the variables in which `cargo run` describes the running package. Some build
/// scripts watch these variables, and would run again after each switch between this program
/// and a terminal.
const CARGO_RUN_PREFIXES: &[&str] = &[
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
];

/// The workspace that this program was started in.
pub struct Workspace {
    root: PathBuf,
    cargo: PathBuf,
}

impl Workspace {
    /// Finds the workspace at run time. The path at compile time may be that of another checkout
    /// with the same target directory.
    ///
    /// # Errors
    /// If this does not run in a checkout of this repository.
    pub fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => env::current_dir().context("cannot read the working directory")?,
        };
        let root = start
            .ancestors()
            .find(|folder| folder.join("xtask/Cargo.toml").is_file())
            .context("not in a checkout of this repository")?
            .to_owned();
        let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        Ok(Self { root, cargo })
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the cargo in use.
    pub fn cargo_path(&self) -> &Path {
        &self.cargo
    }

    /// A cargo command in the workspace's root.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.cargo);
        command.args(arguments);
        command
    }

    /// A command in the workspace's root.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if CARGO_RUN_PREFIXES
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Builds the `hotswap` program and returns its path.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_hotswap(&self) -> Result<PathBuf> {
        self.build("hotswap")
    }

    /// Builds a program of the workspace and returns its path. It is in the same folder as this
    /// program.
    ///
    /// # Errors
    /// If it does not build, or cargo writes it to another folder.
    pub fn build(&self, name: &str) -> Result<PathBuf> {
        // `--workspace` selects the same features as the tests do, so that dependencies are built
        // only once.
        run(&mut self.cargo(&["build", "--workspace", "--bin", name]))?;
        let this_program = env::current_exe().context("cannot find the path of this program")?;
        let program = this_program.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
        ensure!(
            program.is_file(),
            "cargo built {name}, but not to {}",
            program.display()
        );
        Ok(program)
    }
}

/// Runs a command to its end. Its output goes to the terminal.
///
/// # Errors
/// If it cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    print_command_line(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command_line(command)))?;
    ensure_success(command, status)
}

/// As [`run`], but kills the program and fails if it is still running after `timeout`.
pub fn run_with_timeout(command: &mut Command, timeout: Duration) -> Result<()> {
    print_command_line(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", command_line(command)))?;
    match wait_with_timeout(&mut child, timeout)? {
        Some(status) => ensure_success(command, status),
        None => {
            child.kill().context("cannot kill a program")?;
            child.wait().context("cannot kill a program")?;
            bail!(
                "{} is still running after {} s: killed it",
                command_line(command),
                timeout.as_secs()
            )
        }
    }
}

/// The exit status of `child`; `None` if it is still running after `timeout`.
fn wait_with_timeout(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a program")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// If it cannot be started, or fails.
pub fn read_stdout(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", command_line(command)))?;
    ensure_success(command, output.status)?;
    Ok(output.stdout)
}

/// Replaces this process by the command, which so gets signals and the terminal directly.
/// Returns only on failure.
#[cfg(unix)]
pub fn exec(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;

    print_command_line(command);
    Err(command.exec()).with_context(|| format!("cannot start {}", command_line(command)))
}

/// Runs the command to its end: this system cannot replace a process.
#[cfg(not(unix))]
pub fn exec(command: &mut Command) -> Result<()> {
    run(command)
}

/// The path of a program in a folder of `PATH`, or in cargo's folder of programs.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(home.map(|home| home.join("bin")))
        // Debian's servers, which are on the path of root only.
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(format!("{program}{}", env::consts::EXE_SUFFIX)))
        .find(|path| path.is_file())
}

fn ensure_success(command: &Command, status: ExitStatus) -> Result<()> {
    ensure!(
        status.success(),
        "{} failed: {status}",
        command_line(command)
    );
    Ok(())
}

fn print_command_line(command: &Command) {
    eprintln!("$ {}", command_line(command));
}

/// The command as a person would type it, with the program's name instead of its path.
fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
