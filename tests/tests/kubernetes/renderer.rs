//! Runs Helm on the chart.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{read_yaml, tools};
use serde_json::Value;

/// The versions of Kubernetes that the chart is for.
pub const VERSIONS: [&str; 3] = ["1.28.15", "1.29.15", "1.30.14"];

/// What every installation must set.
const MINIMAL: &str = "ci/minimal-values.yaml";

/// The folder of the chart.
pub fn chart() -> PathBuf {
    tools::repository_root().join("helm/distributed-kernel")
}

/// Files with values: those of `ci`, and those that users begin with. The latter name no image.
pub fn value_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in [chart(), chart().join("ci")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let has_values = name.starts_with("values-") || name.ends_with("-values.yaml");
            if has_values {
                files.push(path);
            }
        }
    }
    files.sort();
    ensure!(files.len() > 5, "only {} files with values", files.len());
    Ok(files)
}

/// Runs Helm with these arguments, and returns what it prints, or its error.
pub fn helm(arguments: &[&str]) -> Result<Result<String, String>> {
    let mut command = tools::helm()?.into_std();
    // No settings of the user, and no cluster.
    command.env_clear().args(arguments);
    let output = command.output()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(match output.status.success() {
        true => Ok(text(&output.stdout)),
        // `lint` tells what is wrong on standard output.
        false => Err(text(&output.stderr) + &text(&output.stdout)),
    })
}

/// Renders the chart as release `rel` in namespace `ns`, with more arguments. Values go over those of
/// `ci/minimal-values.yaml`.
pub fn render(version: &str, more: &[&str]) -> Result<Result<String, String>> {
    let (chart, minimal) = (text(chart())?, text(chart().join(MINIMAL))?);
    let base = [
        "template",
        "rel",
        &chart,
        "--namespace=ns",
        "--values",
        &minimal,
    ];
    helm(&[&base[..], &["--kube-version", version], more].concat())
}

/// Lints the chart, with more arguments, as strictly as Helm can.
pub fn lint(version: &str, more: &[&str]) -> Result<Result<String, String>> {
    let (chart, minimal) = (text(chart())?, text(chart().join(MINIMAL))?);
    let base = ["lint", "--strict", &chart, "--values", &minimal];
    helm(&[&base[..], &["--kube-version", version], more].concat())
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string()
        .into_string()
        .ok()
        .context("the path is no text")
}

/// Renders the chart with values in YAML.
pub fn render_values(values: &str) -> Result<Result<String, String>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), values)?;
    let file = file.path().to_str().context("the path is no text")?;
    render(VERSIONS[2], &["--values", file])
}

/// The manifests of a rendering.
pub struct Manifests(Vec<Value>);

impl Manifests {
    /// Renders the chart with values in YAML.
    ///
    /// # Errors
    /// If it does not render.
    pub fn of(values: &str) -> Result<Self> {
        let text = render_values(values)?.map_err(anyhow::Error::msg)?;
        Ok(Self(read_yaml(&text)?))
    }

    /// The one of this kind and name.
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The one of this kind and name, if there is one.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let mut all = self.0.iter();
        all.find(|manifest| manifest["kind"] == kind && manifest["metadata"]["name"] == name)
    }

    /// Those of this kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let of_kind = move |manifest: &&Value| manifest["kind"] == kind;
        self.0.iter().filter(of_kind)
    }

    /// Whether there is any of this kind.
    pub fn has(&self, kind: &str) -> bool {
        self.all(kind).next().is_some()
    }

    /// The arguments of the first container of a workload.
    pub fn arguments(&self, kind: &str, name: &str) -> Vec<String> {
        let pod = &self.get(kind, name)["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        let arguments = arguments
            .iter()
            .map(|text| text.as_str().unwrap().to_owned());
        arguments.collect()
    }
}

/// A file of the chart.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = chart().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
