//! Which packages are guests: the members of the workspace in certain folders.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// One use that guests are put to.
pub struct Kind {
    /// Where they lie, from the workspace's root. A folder each.
    pub folder: &'static str,
    /// The function that lists them.
    pub function: &'static str,
    /// What they are, for the documentation.
    pub doc: &'static str,
}

/// Every folder of guests. One that does not exist has none.
pub const KINDS: &[Kind] = &[
    Kind {
        folder: "strategies",
        function: "strategies",
        doc: "The strategies that come with the engine.",
    },
    Kind {
        folder: "examples/modules",
        function: "modules",
        doc: "The sample modules, which answer HTTP requests.",
    },
    Kind {
        folder: "examples/strategies",
        function: "example_strategies",
        doc: "The strategies of the examples.",
    },
    Kind {
        folder: "tests/guests",
        function: "tests",
        doc: "What tests run: guests that misbehave, each in a way of its own.",
    },
];

/// A package to be built for WebAssembly.
#[derive(Debug)]
pub struct Guest {
    /// Its folder from the workspace's root: `strategies/blue-green`.
    pub folder: PathBuf,
    /// Its folder's name: `blue-green`.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// One sentence of its author.
    pub description: Option<String>,
    /// Its place in [`KINDS`].
    pub kind: usize,
}

impl Guest {
    /// The component's file name.
    pub fn file_name(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// The constant that holds the component: `BLUE_GREEN`.
    pub fn constant(&self) -> String {
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

/// The guests among the workspace's members, by kind and name.
pub fn find(cargo: &Path, workspace: &Path) -> Result<Vec<Guest>> {
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot call cargo")?;
    ensure!(output.status.success(), "`cargo metadata` failed");
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .context("cannot understand what `cargo metadata` says")?;

    let mut guests = Vec::new();
    for package in metadata.packages {
        if let Some(guest) = classify(package, workspace)? {
            guests.push(guest);
        }
    }
    guests.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let mut names: Vec<_> = guests.iter().map(|guest| &guest.name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(
            "two guests are called `{}`: rename the folder of one",
            pair[0]
        );
    }
    Ok(guests)
}

fn classify(package: Package, workspace: &Path) -> Result<Option<Guest>> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
    let Ok(folder) = folder.strip_prefix(workspace) else {
        return Ok(None);
    };
    let Some(kind) = KINDS
        .iter()
        .position(|kind| folder.parent() == Some(Path::new(kind.folder)))
    else {
        return Ok(None);
    };
    let types = package.targets.iter().flat_map(|t| &t.crate_types);
    ensure!(
        types.into_iter().any(|name| name == "cdylib"),
        "{} is a folder of guests, but makes no WebAssembly: add `[lib] crate-type = \
         [\"cdylib\"]` to its Cargo.toml",
        folder.display()
    );
    let name = folder.file_name().and_then(|name| name.to_str());
    Ok(Some(Guest {
        name: name.context("a guest's folder has no name")?.to_owned(),
        folder: folder.to_owned(),
        package: package.name,
        description: package.description,
        kind,
    }))
}
