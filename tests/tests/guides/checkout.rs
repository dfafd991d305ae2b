use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::{env, fs, iter};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::tools;
use tempfile::TempDir;
use tokio::process::Command;

use crate::guide::Guide;

/// A temporary folder that looks like a checkout in which everything is built, and a `PATH`
/// with `hotswap` on it.
pub struct Checkout {
    folder: TempDir,
    program: PathBuf,
}

impl Checkout {
    /// Prepares the files that the commands of the guides name.
    ///
    /// # Errors
    /// Where the program has not been built, or the folder cannot be written.
    pub fn new() -> Result<Self> {
        let program = PathBuf::from(tools::hotswap()?.as_std().get_program());
        let checkout = Self {
            folder: tempfile::tempdir()?,
            program,
        };
        for folder in [checkout.bin(), checkout.root().join("target/debug")] {
            fs::create_dir_all(&folder)?;
            symlink(&checkout.program, folder.join("hotswap"))?;
        }
        let mut halves = hotswap_guests::example_strategies().iter();
        let halves = halves.find(|guest| guest.name == "halves");
        let halves = halves.context("no example strategy halves")?;
        fs::write(checkout.root().join("halves.wasm"), halves.component)?;
        Ok(checkout)
    }

    /// The root of the checkout.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("checkout")
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// The folder in which a guide's commands run: that of an example, else the root.
    ///
    /// # Errors
    /// Where the example cannot be copied.
    pub fn folder_of(&self, guide: &Guide) -> Result<PathBuf> {
        let parent = guide.path.parent().unwrap_or(Path::new(""));
        if !parent.starts_with("examples") {
            return Ok(self.root());
        }
        let folder = self.root().join(parent);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(tools::repository_root().join(parent))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), folder.join(entry.file_name()))?;
            }
        }
        Ok(folder)
    }

    /// A shell that runs `script` in `folder`, without the `HOTSWAP_` variables of the user who
    /// runs the tests.
    ///
    /// # Errors
    /// Where `PATH` cannot hold the checkout's folder.
    pub fn shell(&self, folder: &Path, script: &str) -> Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(iter::once(self.bin()).chain(env::split_paths(&path)))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("HOTSWAP_") {
                command.env_remove(name);
            }
        }
        command.env("PATH", path);
        Ok(command)
    }

    /// Runs a script in the root, to its end.
    ///
    /// # Errors
    /// Where it cannot start.
    pub fn blocking_shell(&self, script: &str) -> Result<Output> {
        let command = self.shell(&self.root(), script)?;
        Ok(command.into_std().output()?)
    }

    /// The tasks that the help of `cargo xtask` lists.
    ///
    /// # Errors
    /// Where xtask has not been built.
    pub fn xtask_tasks(&self) -> Result<Vec<String>> {
        let xtask = self.program.with_file_name("xtask");
        let output = std::process::Command::new(&xtask).arg("--help").output();
        let output = output.context("no xtask beside hotswap: run `cargo build --bin xtask`")?;
        let help = String::from_utf8(output.stdout)?;
        let tasks = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let tasks = tasks.map_while(|line| line.split_whitespace().next());
        let tasks: Vec<_> = tasks.map(str::to_owned).collect();
        ensure!(!tasks.is_empty(), "no tasks in: {help}");
        Ok(tasks)
    }
}
