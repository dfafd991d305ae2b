//! The chart's README.

use std::fs;

use hotswap_tests::tools;

use crate::renderer::{chart, read};

#[test]
fn the_readme_documents_every_value_as_the_generator_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let readme = folder.path().join("README.md");
    fs::write(&readme, read("README.md")).unwrap();
    let packages = tools::repository_root().join("tests/chart");
    let program = packages.join("node_modules/@bitnami/readme-generator-for-helm/bin/index.js");
    let mut generator = tools::nodejs(&packages).unwrap().into_std();
    let output = generator
        .arg(program)
        .arg("--values")
        .arg(chart().join("values.yaml"))
        .arg("--readme")
        .arg(&readme)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "a value is not documented: {said}");
    assert!(
        fs::read_to_string(&readme).unwrap() == read("README.md"),
        "the parameters in helm/distributed-kernel/README.md are not those of values.yaml: run \
         `npx readme-generator --values ../../helm/distributed-kernel/values.yaml --readme \
         ../../helm/distributed-kernel/README.md` in tests/chart"
    );
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let version = format!("appVersion: \"{}\"\n", env!("CARGO_PKG_VERSION"));
    assert!(read("Chart.yaml").contains(&version), "{version}");
}

#[test]
fn the_readme_links_to_what_exists() {
    let readme = read("README.md");
    for link in readme.split("](").skip(1) {
        let link = link.split(')').next().unwrap();
        match link.split_once('#') {
            Some(("", anchor)) => {
                let title = |line: &str| line.trim_start_matches('#').trim().to_lowercase();
                let anchors = readme
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(title);
                let mut anchors = anchors.map(|title| title.replace(' ', "-").replace(',', ""));
                assert!(anchors.any(|one| one == anchor), "{link}");
            }
            _ if link.starts_with("http") => {}
            _ => {
                let path = link.split('#').next().unwrap();
                assert!(chart().join(path).exists(), "{link}");
            }
        }
    }
}
