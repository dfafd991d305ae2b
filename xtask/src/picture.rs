//! The picture of a rollout in the README: one frame of a terminal during a real run, as SVG.

mod svg;

use std::fs;
use std::io::Read as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::Workspace;

/// Where the picture is committed.
const FILE: &str = "docs/images/rollout.svg";
/// Size of the terminal, in characters.
const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(92).unwrap();
/// The picture shows the canary's second stage, once a node of it is being watched.
const STAGE: &str = "stage 2";
const WATCHED: &str = "active, watched";
/// Starting six nodes takes seconds; more means that something failed.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Long enough for the judge to reach a verdict.
const SOAK: &str = "soak=20s";

/// Starts `hotswap dev` in an empty folder, watches a canary in a terminal, and writes the
/// picture.
///
/// # Errors
/// Where the run fails, or the expected frame never appeared.
pub fn write(workspace: &Workspace) -> Result<()> {
    let program = workspace.build_hotswap()?;
    let folder = workspace.root().join("target/picture");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove the data of the last picture")?;
    }
    fs::create_dir_all(&folder).context("cannot create a folder for the run")?;
    let mut dev = Dev::start(&program, &folder)?;
    dev.wait_until_ready(&folder)?;
    let screen = record(&program, &folder)?;
    drop(dev);
    let path = workspace.root().join(FILE);
    let parent = path.parent().context("the picture has no folder")?;
    fs::create_dir_all(parent).context("cannot create the folder of the picture")?;
    fs::write(&path, svg::render(&screen)).with_context(|| format!("cannot write {FILE}"))?;
    eprintln!("wrote {FILE}");
    Ok(())
}

/// A running `hotswap dev`, stopped when dropped.
struct Dev {
    child: Child,
    log: PathBuf,
}

impl Dev {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let log = folder.join("dev.out");
        let output = fs::File::create(&log).context("cannot create the log of the run")?;
        let child = Command::new(program)
            .args(["dev", "--port", "0", "--rate", "120"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start hotswap dev")?;
        Ok(Self { child, log })
    }

    /// `hotswap dev` writes the file `server` once everything runs.
    fn wait_until_ready(&mut self, folder: &Path) -> Result<()> {
        let server = folder.join(".hotswap/dev/server");
        let start = Instant::now();
        while !server.exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "hotswap dev ended with {status}: see {}",
                    self.log.display()
                );
            }
            ensure!(
                start.elapsed() < READY_TIMEOUT,
                "hotswap dev is not ready: see {}",
                self.log.display()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // SIGTERM, so that it also stops its nodes.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// Runs the rollout in a pseudo-terminal, and returns the screen to show.
fn record(program: &Path, folder: &Path) -> Result<vt100::Screen> {
    let deploy = format!(
        "stty rows {ROWS} cols {COLUMNS}; exec '{}' deploy hello@2.0.0 -e production --set {SOAK} --watch",
        program.display()
    );
    let mut terminal = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--flush",
            "--command",
            &deploy,
            "/dev/null",
        ])
        .current_dir(folder)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start script, which is part of util-linux")?;
    let mut output = terminal.stdout.take().context("script has no output")?;
    let mut parser = vt100::Parser::new(ROWS, COLUMNS, 0);
    let mut shown = None;
    let mut buffer = [0; 4096];
    loop {
        let count = output
            .read(&mut buffer)
            .context("cannot read the terminal")?;
        if count == 0 {
            break;
        }
        parser.process(&buffer[..count]);
        let text = parser.screen().contents();
        if text.contains(STAGE) && text.matches(WATCHED).count() > 1 {
            shown = Some(parser.screen().clone());
        }
    }
    let status = terminal.wait()?;
    ensure!(status.success(), "the rollout ended with {status}");
    shown.context("the second stage of the canary never appeared on the terminal")
}
