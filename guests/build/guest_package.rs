//! Finds the guests: the workspace members in certain folders.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// A kind of guests, which share a folder.
pub struct GuestKind {
    /// The folder that holds a folder for each guest, relative to the workspace's root.
    pub folder: &'static str,
    /// The name of the generated function that lists them.
    pub function: &'static str,
    /// The documentation of that function.
    pub doc: &'static str,
}

/// Every kind. A folder may be missing: then there are no guests of the kind.
pub const GUEST_KINDS: &[GuestKind] = &[
    GuestKind {
        folder: "strategies",
        function: "strategies",
        doc: "The strategies that come with the engine.",
    },
    GuestKind {
        folder: "discovery",
        function: "discovery",
        doc: "The discovery backends that come with the engine.",
    },
    GuestKind {
        folder: "examples/modules",
        function: "modules",
        doc: "The sample modules, which answer HTTP requests.",
    },
    GuestKind {
        folder: "examples/strategies",
        function: "example_strategies",
        doc: "The strategies of the examples.",
    },
    GuestKind {
        folder: "tests/guests",
        function: "tests",
        doc: "Guests for tests. Each misbehaves in its own way.",
    },
];

/// A package that is built for WebAssembly.
#[derive(Debug)]
pub struct GuestPackage {
    /// Its folder, relative to the workspace's root: `strategies/blue-green`.
    pub folder: PathBuf,
    /// The name of its folder: `blue-green`.
    pub name: String,
    /// The name of its package.
    pub package: String,
    /// The description in its `Cargo.toml`.
    pub description: Option<String>,
    /// Its index in [`GUEST_KINDS`].
    pub kind_index: usize,
}

impl GuestPackage {
    /// The file name of the component.
    pub fn file_name(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// The name of the generated constant that holds the component: `BLUE_GREEN`.
    pub fn constant_name(&self) -> String {
        self.name.replace('-', "_").to_uppercase()
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    description: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// The guests among the workspace's members, sorted by kind and name.
///
/// # Errors
/// If cargo cannot list the members, two guests have the same name, or a package in a guest
/// folder does not build to WebAssembly.
pub fn find_guests(cargo: &Path, workspace: &Path) -> Result<Vec<GuestPackage>> {
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "`cargo metadata` failed");
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .context("cannot parse the output of `cargo metadata`")?;

    let mut guests = Vec::new();
    for package in metadata.packages {
        if let Some(guest) = guest_of(package, workspace)? {
            guests.push(guest);
        }
    }
    guests.sort_by(|a, b| (a.kind_index, &a.name).cmp(&(b.kind_index, &b.name)));
    let mut names: Vec<_> = guests.iter().map(|guest| &guest.name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(
            "two guests are named `{}`: rename the folder of one of them",
            pair[0]
        );
    }
    Ok(guests)
}

/// The guest of a package; `None` if the package is not in a guest folder.
fn guest_of(package: Package, workspace: &Path) -> Result<Option<GuestPackage>> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
    let Ok(folder) = folder.strip_prefix(workspace) else {
        return Ok(None);
    };
    let Some(kind_index) = GUEST_KINDS
        .iter()
        .position(|kind| folder.parent() == Some(Path::new(kind.folder)))
    else {
        return Ok(None);
    };
    let types = package
        .targets
        .iter()
        .flat_map(|target| &target.crate_types);
    ensure!(
        types.into_iter().any(|name| name == "cdylib"),
        "{} is in a folder of guests, but does not build to WebAssembly: add `[lib] crate-type = \
         [\"cdylib\"]` to its Cargo.toml",
        folder.display()
    );
    let name = folder.file_name().and_then(|name| name.to_str());
    Ok(Some(GuestPackage {
        name: name.context("a guest's folder has no name")?.to_owned(),
        folder: folder.to_owned(),
        package: package.name,
        description: package.description,
        kind_index,
    }))
}
