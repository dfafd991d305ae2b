//! `cargo xtask kubernetes`: a real Kubernetes of one node, and the tests that need it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::go_program::{HELM, KUBERNETES_PARTS};
use crate::image::{self, ImageArgs};
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
        .and_then(|()| test(workspace, arguments, &program, &folder));
    if !arguments.keep {
        shell::run(script("down.sh").arg(&folder))?;
    }
    tested
}

fn test(
    workspace: &Workspace,
    arguments: &KubernetesArgs,
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
    shell::run(tests.args(&arguments.arguments))
}
