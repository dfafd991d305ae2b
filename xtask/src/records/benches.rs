//! The benches that pages name.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::{folders, read};

const FLAG: &str = "--bench ";

/// The names of all benches of the workspace.
///
/// # Errors
/// If a manifest cannot be read.
pub(super) fn of_workspace(root: &Path) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    // No package lies deeper that has a bench.
    for folder in folders(root)? {
        for package in folders(&folder)?.into_iter().chain([folder]) {
            let manifest = package.join("Cargo.toml");
            if manifest.is_file() {
                all.extend(of_manifest(&read(&manifest)?));
            }
        }
    }
    Ok(all)
}

/// The names of the benches in a manifest.
fn of_manifest(text: &str) -> Vec<String> {
    let tables = text
        .split("\n[")
        .filter(|table| table.starts_with("[bench]]"));
    let names = tables.filter_map(|table| {
        let mut lines = table.lines();
        lines.find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
    });
    names.map(str::to_owned).collect()
}

/// The benches that a text names and that do not exist.
pub(super) fn find_missing(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let named = text.split(FLAG).skip(1).filter_map(|after| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        (end > 0).then(|| &after[..end])
    });
    let missing = named.filter(|name| !known.contains(*name));
    missing
        .map(|name| format!("names `{FLAG}{name}`, and no package has such a bench"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_that_is_named_exists() {
        let manifest = "[package]\nname = \"a\"\n\n[[bench]]\nname = \"one\"\nharness = false\n\n\
                        [[bin]]\nname = \"two\"\n\n[[bench]]\nharness = false\nname = \"three\"\n";
        let known: BTreeSet<_> = of_manifest(manifest).into_iter().collect();
        assert_eq!(known, ["one", "three"].map(str::to_owned).into());
        let text = "By `cargo bench --bench one` and `--bench two`, or `--bench three`.";
        let missing = find_missing(text, &known);
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].contains("--bench two"), "{missing:?}");
    }

    #[test]
    fn the_workspace_has_the_bench_of_the_router() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = of_workspace(&root).unwrap();
        assert!(all.contains("router") && all.contains("judge"), "{all:?}");
    }
}
