use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;

use crate::config::{DiscoverySource, STATIC};

/// The registries that a node registers in, from a file with the tables `[[discovery]]` of the
/// engine's configuration.
///
/// # Errors
/// If the file cannot be read, or a table is invalid.
pub fn read_node_sources(file: &Path) -> Result<Vec<DiscoverySource>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        discovery: Vec<DiscoverySource>,
    }
    let shown = file.display();
    if !file.is_file() {
        bail!("there is no file {shown}; --discovery takes a file with [[discovery]] tables");
    }
    let read: Result<File, _> = Figment::from(Toml::file_exact(file)).extract();
    let read = read.map_err(|error| {
        // An error repeats the value, which may be megabytes long.
        let text: String = error.to_string().chars().take(400).collect();
        anyhow::anyhow!(text).context(format!("{shown} is invalid"))
    })?;
    DiscoverySource::check_all(&read.discovery).with_context(|| format!("{shown} is invalid"))?;
    let is_useful = |it: &DiscoverySource| it.register && it.backend != STATIC;
    ensure!(
        read.discovery.iter().any(is_useful),
        "{shown} names no registry that a node can register in; add a [[discovery]] table with the \
         backend consul or etcd, or start the node with --discovered if others register it"
    );
    Ok(read.discovery)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<DiscoverySource>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        std::fs::write(&file, text).unwrap();
        read_node_sources(&file).map_err(|error| format!("{error:#}"))
    }

    const CONSUL: &str =
        "[[discovery]]\nname = \"main\"\nbackend = \"consul\"\norigins = [\"http://c:8500\"]\n";

    #[test]
    fn a_node_reads_the_tables_that_an_engine_reads() {
        let sources = read(CONSUL).unwrap();
        assert_eq!(sources[0].name, "main");
        assert_eq!(super::super::peers(&sources[0]).unwrap(), ["c:8500"]);
    }

    #[test]
    fn a_file_that_registers_nowhere_is_refused() {
        let list = "[[discovery]]\nname = \"a\"\nbackend = \"static\"\nfile = \"x\"\n";
        let off = format!("{CONSUL}register = false\n");
        for (text, reason) in [
            ("", "names no registry"),
            (list, "names no registry"),
            (&*off, "names no registry"),
            ("listen = \"127.0.0.1:1\"", "listen"),
            (
                "[[discovery]]\nname = \"a\"\nbackend = \"consul\"\n",
                "origins is empty",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let missing = read_node_sources(Path::new("missing.toml")).unwrap_err();
        assert!(missing.to_string().contains("missing.toml"), "{missing}");
    }
}
