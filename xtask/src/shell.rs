//! Where the workspace is, and how programs are run in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How often a child is asked whether it has ended. Short beside any installation.
const POLL: Duration = Duration::from_millis(100);

/// What `cargo run` tells a program about its own package. Some build scripts watch
/// these variables, and would run again at each change between a call from here and
/// one from a terminal.
const OF_THIS_PACKAGE: &[&str] = &[
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
    /// Finds the workspace at run time: the path at compile time may be that of
    /// another checkout with the same target directory.
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

    /// The cargo in use.
    pub fn cargo_path(&self) -> &Path {
        &self.cargo
    }

    /// A call of cargo in the workspace's root.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.cargo);
        command.args(arguments);
        command
    }

    /// A call of a program in the workspace's root.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if OF_THIS_PACKAGE
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Builds the `hotswap` program and says where it lies: beside this one, which
    /// cargo built into the same folder.
    pub fn build_hotswap(&self) -> Result<PathBuf> {
        // Of the workspace, not of the package: features are then chosen as for the tests,
        // and the dependencies are built once.
        run(&mut self.cargo(&["build", "--workspace", "--bin", "hotswap"]))?;
        let own = env::current_exe().context("cannot find the path of this program")?;
        let program = own.with_file_name(format!("hotswap{}", env::consts::EXE_SUFFIX));
        ensure!(
            program.is_file(),
            "cargo built hotswap, but not to {}",
            program.display()
        );
        Ok(program)
    }
}

/// Runs a program to its end and passes its output through.
///
/// # Errors
/// It cannot be started, or did not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", name(command)))?;
    judge(command, status)
}

/// As [`run`], but ends the program, and fails, after the given time.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", name(command)))?;
    match wait_within(&mut child, limit)? {
        Some(status) => judge(command, status),
        None => {
            child.kill().context("cannot end a program")?;
            child.wait().context("cannot end a program")?;
            bail!("{} did not end within {} s", name(command), limit.as_secs())
        }
    }
}

fn wait_within(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a program")? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Runs a program and returns what it writes on standard output.
pub fn read(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    judge(command, output.status)?;
    Ok(output.stdout)
}

/// Puts the program in the place of this one, so that signals and the terminal are
/// its own. Returns only where that is impossible.
#[cfg(unix)]
pub fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;

    announce(command);
    Err(command.exec()).with_context(|| format!("cannot start {}", name(command)))
}

/// Runs the program to its end: this system cannot replace a process by another.
#[cfg(not(unix))]
pub fn become_program(command: &mut Command) -> Result<()> {
    run(command)
}

/// Where a program lies on the path, or in cargo's own folder of programs.
pub fn which(program: &str) -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(home.map(|home| home.join("bin")))
        .map(|folder| folder.join(format!("{program}{}", env::consts::EXE_SUFFIX)))
        .find(|path| path.is_file())
}

fn judge(command: &Command, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "{} failed: {status}", name(command));
    Ok(())
}

fn announce(command: &Command) {
    eprintln!("$ {}", name(command));
}

/// The command as a person would type it.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
