use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Commit;
use super::layout::hash;
use crate::shell::{self, Workspace};

/// The packages of the workspace whose code is in the program: itself, and the components that it
/// embeds.
const ROOT: &str = "hotswap";
const EMBEDDED: [&str; 2] = ["/strategies/", "/discovery/"];

/// A crate whose code is in the program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for the workspace's own.
    checksum: Option<String>,
    is_own: bool,
}

/// What the program is made of.
#[derive(Debug)]
pub(super) struct Sbom(BTreeSet<Crate>);

impl Sbom {
    /// Asks cargo.
    ///
    /// # Errors
    /// If cargo fails, or says something that this does not understand.
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let arguments = ["metadata", "--locked", "--format-version=1"];
        let metadata = shell::read_stdout(&mut workspace.cargo(&arguments))?;
        let metadata: Value = serde_json::from_slice(&metadata)?;
        let lock = fs::read_to_string(workspace.root().join("Cargo.lock"))?;
        Self::of(&metadata, &lock)
    }

    fn of(metadata: &Value, lock: &str) -> Result<Self> {
        let checksums = checksums(lock);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages: BTreeMap<String, Value> = list(&metadata["packages"])
            .into_iter()
            .map(|package| (text(&package["id"]), package))
            .collect();
        let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let is_linked = |needed: &&Value| {
                let kinds = needed["dep_kinds"].as_array();
                kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
            };
            let needed = list(&node["deps"]);
            let needed = needed.iter().filter(is_linked);
            needs.insert(
                text(&node["id"]),
                needed.map(|needed| text(&needed["pkg"])).collect(),
            );
        }
        let is_root = |package: &Value| {
            let path = text(&package["manifest_path"]);
            let is_member = package["source"].is_null();
            is_member
                && (package["name"] == ROOT || EMBEDDED.iter().any(|folder| path.contains(folder)))
        };
        ensure!(
            packages.values().any(|package| package["name"] == ROOT),
            "there is no package {ROOT} in the workspace"
        );
        let roots = packages.iter().filter(|(_, package)| is_root(package));
        let mut open: Vec<String> = roots.map(|(id, _)| id.clone()).collect();
        let mut seen = BTreeSet::new();
        let mut crates = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let package = packages.get(&id).context("a package without metadata")?;
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            crates.insert(Crate {
                license: package["license"]
                    .as_str()
                    .map(|text| text.replace('/', " OR ")),
                checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
                is_own: package["source"].is_null(),
                name,
                version,
            });
            open.extend(needs.get(&id).cloned().unwrap_or_default());
        }
        Ok(Self(crates))
    }

    /// The document in SPDX 2.3.
    pub(super) fn document(
        &self,
        version: &str,
        commit: &Commit,
        program: &[u8],
        libraries: &[(PathBuf, Vec<u8>)],
    ) -> Vec<u8> {
        let mut packages = vec![json!({
            "SPDXID": "SPDXRef-hotswap",
            "name": "hotswap",
            "versionInfo": version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseDeclared": "Apache-2.0",
            "primaryPackagePurpose": "APPLICATION",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": hash(program) }],
        })];
        packages.extend(self.0.iter().map(Crate::package));
        packages.extend(libraries.iter().map(|(path, content)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            json!({
                "SPDXID": format!("SPDXRef-library-{}", identifier(&name)),
                "name": name,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": false,
                "primaryPackagePurpose": "LIBRARY",
                "checksums": [{ "algorithm": "SHA256", "checksumValue": hash(content) }],
            })
        }));
        let contained = packages.iter().skip(1).map(|package| {
            json!({
                "spdxElementId": "SPDXRef-hotswap",
                "relationshipType": "CONTAINS",
                "relatedSpdxElement": package["SPDXID"],
            })
        });
        let describes = json!({
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-hotswap",
        });
        let relationships: Vec<_> = std::iter::once(describes).chain(contained).collect();
        let document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": format!("hotswap-{version}"),
            "documentNamespace":
                format!("https://spdx.org/spdxdocs/hotswap-{version}-{}", commit.revision),
            "creationInfo": {
                "created": commit.date,
                "creators": ["Tool: cargo-xtask-image"],
            },
            "packages": packages,
            "relationships": relationships,
        });
        let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl Crate {
    fn package(&self) -> Value {
        let Self { name, version, .. } = self;
        let location = match self.is_own {
            true => "NOASSERTION".to_owned(),
            false => format!("https://crates.io/api/v1/crates/{name}/{version}/download"),
        };
        let mut package = json!({
            "SPDXID": format!("SPDXRef-crate-{}", identifier(&format!("{name}-{version}"))),
            "name": name,
            "versionInfo": version,
            "downloadLocation": location,
            "filesAnalyzed": false,
            "licenseDeclared": self.license.as_deref().unwrap_or("NOASSERTION"),
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")),
            }],
        });
        if let Some(checksum) = &self.checksum {
            package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": checksum }]);
        }
        package
    }
}

/// Letters, digits, dots and hyphens: what an identifier of SPDX may hold.
fn identifier(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    text.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}

/// The checksums in `Cargo.lock`, by name and version. The file is written by cargo, a key a line.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let blocks = lock.split("[[package]]");
    blocks
        .filter_map(|block| {
            let value = |key: &str| {
                let lines = block.lines();
                let mut values =
                    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
                Some(values.next()?.trim_end_matches('"').to_owned())
            };
            Some(((value("name")?, value("version")?), value("checksum")?))
        })
        .collect()
}
