//! `cargo xtask kubernetes`: a real Kubernetes of one node, and the tests that need it.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::go_program::{HELM, KUBERNETES_PARTS};
use crate::image::{self, Commit, ImageArgs};
use crate::kubernetes_version::{DEFAULT_KUBERNETES, KUBERNETES_VERSIONS, KubernetesVersion};
use crate::setup::test_servers;
use crate::shell::{self, Workspace};
use crate::venv::cache_folder;

/// Names of the image in the node. An upgrade goes from the first to the second.
const IMAGES: [&str; 2] = [
    concat!("localhost/hotswap:", env!("CARGO_PKG_VERSION")),
    "localhost/hotswap:next",
];

/// `cargo xtask kubernetes`.
#[derive(Debug, Args)]
pub struct KubernetesArgs {
    /// Leave the node up afterwards; target/kubernetes/kubeconfig is for kubectl, and
    /// tests/kubernetes/down.sh target/kubernetes ends it
    #[arg(long)]
    keep: bool,
    /// Version of Kubernetes: 1.28.15, 1.29.15 or 1.30.14
    #[arg(long, default_value = DEFAULT_KUBERNETES.number)]
    kubernetes: String,
    /// Arguments to pass to the tests, such as a part of a name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds what is missing, starts a node, runs the tests of the chart that need one, and ends it.
///
/// # Errors
/// If something cannot be built, the node does not start, or a test fails.
pub fn run(workspace: &Workspace, arguments: &KubernetesArgs) -> Result<()> {
    let version = KubernetesVersion::find(&arguments.kubernetes).with_context(|| {
        let known = KUBERNETES_VERSIONS.map(|version| version.number).join(", ");
        format!(
            "--kubernetes {} is not one of {known}",
            arguments.kubernetes
        )
    })?;
    for program in version
        .programs()
        .iter()
        .chain(&KUBERNETES_PARTS)
        .chain([&HELM])
    {
        test_servers::build(workspace, program)?;
    }
    let scripts = workspace.root().join("tests/kubernetes");
    let script = |name: &str| workspace.command(scripts.join(name));
    let packages = cache_folder()?.join("kubernetes-packages");
    shell::run(script("packages.sh").arg(packages))?;
    let folder = workspace.root().join("target/kubernetes");
    let program = workspace.build_hotswap()?;
    fs::create_dir_all(&folder)?;
    // Half a node that could not start is ended, too.
    let tested = shell::run(script("up.sh").arg(&folder).arg(version.number))
        .and_then(|()| test(workspace, arguments, &version, &program, &folder));
    if !arguments.keep {
        shell::run(script("down.sh").arg(&folder))?;
    }
    tested
}

fn test(
    workspace: &Workspace,
    arguments: &KubernetesArgs,
    version: &KubernetesVersion,
    program: &Path,
    folder: &Path,
) -> Result<()> {
    let archive = folder.join("hotswap.tar");
    for name in IMAGES {
        let image = ImageArgs::of(program.to_owned(), name.to_owned(), archive.clone());
        image::write(workspace, &image)?;
        let mut import = workspace.command(workspace.root().join("tests/kubernetes/import.sh"));
        shell::run(import.arg(folder).arg(&archive))
            .with_context(|| format!("cannot import {name}"))?;
    }
    // One after the other: each has a release of its own, and a node has little room.
    let tests = [
        "test",
        "--workspace",
        "--test",
        "kubernetes",
        "--",
        "--ignored",
        "--test-threads=1",
    ];
    let mut tests = workspace.cargo(&tests);
    tests.env("HOTSWAP_KUBERNETES", folder);
    tests.args(&arguments.arguments);
    let start = Instant::now();
    let (has_passed, counts) = run_tests(&mut tests)?;
    let counts = counts.context("the tests did not come to their end")?;
    println!(
        "{}",
        Record {
            version: version.number,
            counts,
            duration: start.elapsed(),
            revision: &Commit::of(workspace)?.revision,
        }
    );
    ensure!(has_passed, "{} tests failed", counts.failed);
    Ok(())
}

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u32,
    failed: u32,
}

/// A run, as a row of a table. docs/ci.md has the columns.
struct Record<'a> {
    version: &'a str,
    counts: Counts,
    duration: Duration,
    revision: &'a str,
}

/// Runs tests, passes on what they print, and reads their last line. Returns whether all passed.
fn run_tests(tests: &mut Command) -> Result<(bool, Option<Counts>)> {
    let mut child = tests
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the tests")?;
    let output = child.stdout.take().context("no pipe")?;
    let mut counts = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        counts = Counts::read(&line).or(counts);
    }
    Ok((child.wait()?.success(), counts))
}

impl Counts {
    /// Reads the line in which a test program tells its result.
    fn read(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            let mut counts = counts.split("; ");
            counts.find_map(|count| count.strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
        })
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            counts: Counts { passed, failed },
            duration,
            revision,
        } = self;
        let seconds = duration.as_secs();
        write!(
            f,
            "| {version} | {passed} | {failed} | {seconds} | {revision} |"
        )
    }
}
