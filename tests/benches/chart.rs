//! What the chart costs Helm, on a real API server: the size of a release beside what one Secret
//! may hold, and the time of an installation beside that of a chart with one object.
//!
//! Helm keeps each revision, the chart and the rendered text among it, in one Secret. Where that
//! is full, nothing can be installed or upgraded any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::bench::{check_goals, median, print_header, print_row};
use hotswap_tests::{KubeApiServer, tools};
use tempfile::TempDir;

/// The most that the data of a Secret may have, in bytes: `MaxSecretSize` of Kubernetes' API.
const SECRET_LIMIT: f64 = 1_048_576.0;
/// The part of a Secret that a release may fill. There shall be room for values of the user.
const SIZE_GOAL: f64 = 0.5;
/// How many times as long as the chart of one object an installation may take.
const TIME_GOAL: f64 = 4.0;
const ROUNDS: usize = 9;

/// Files with values, from the smallest installation to the largest.
const VALUES: [&str; 3] = [
    "ci/minimal-values.yaml",
    "values-production.yaml",
    "ci/groups-values.yaml",
];

struct Helm {
    server: KubeApiServer,
    kubeconfig: PathBuf,
    /// Where Helm keeps what it has learned of the server.
    home: TempDir,
    /// How many were installed.
    releases: u32,
}

impl Helm {
    async fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut helm = tools::helm()?;
        helm.env_clear().env("KUBECONFIG", &self.kubeconfig);
        helm.env("HOME", self.home.path()).args(arguments);
        let output = helm.output().await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {error}");
        Ok(())
    }

    /// Installs a chart and removes it. Each time under a new name, because the claims of earlier
    /// releases stay: an API server alone deletes none. Returns the milliseconds of the
    /// installation, and the size of the release in bytes.
    async fn install(&mut self, chart: &Path, values: Option<&Path>) -> Result<(f64, f64)> {
        self.releases += 1;
        let release = format!("bench-{}", self.releases);
        let chart = chart.to_str().context("the path is no text")?;
        let mut arguments = vec!["install", &release, chart];
        if let Some(values) = values {
            let values = values.to_str().context("the path is no text")?;
            let image = "image.repository=registry.example/hotswap";
            arguments.extend(["--values", values, "--set", image]);
        }
        let start = Instant::now();
        self.run(&arguments).await?;
        let millis = start.elapsed().as_secs_f64() * 1e3;
        let secret = format!("/api/v1/namespaces/default/secrets/sh.helm.release.v1.{release}.v1");
        let secret = self.server.request("GET", &secret, "").await?;
        // The limit is for the data itself; the API shows it in Base64, four letters for three.
        let shown = secret["data"]["release"].as_str().context("no release")?;
        self.run(&["uninstall", &release]).await?;
        Ok((millis, shown.len() as f64 * 0.75))
    }
}

/// A chart of one object.
fn smallest_chart(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("templates"))?;
    let chart = "apiVersion: v2\nname: smallest\nversion: 1.0.0\n";
    fs::write(folder.join("Chart.yaml"), chart)?;
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: smallest\n";
    fs::write(folder.join("templates/object.yaml"), object)?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = KubeApiServer::start().await?;
    let kubeconfig = server.kubeconfig()?;
    let home = tempfile::tempdir()?;
    let smallest = home.path().join("smallest");
    smallest_chart(&smallest)?;
    let mut helm = Helm {
        server,
        kubeconfig,
        home,
        releases: 0,
    };
    let chart = tools::repository_root().join("helm/distributed-kernel");
    // Helm learns what the server has.
    helm.install(&smallest, None).await?;
    print_header();
    for name in VALUES {
        let values = chart.join(name);
        let (mut millis, mut ratios, mut size) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..ROUNDS {
            let (least, _) = helm.install(&smallest, None).await?;
            let (own, bytes) = helm.install(&chart, Some(&values)).await?;
            millis.push(own);
            ratios.push(own / least);
            size = bytes;
        }
        let name = Path::new(name).file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        print_row(
            &format!("release, {name}"),
            &format!("{:.0} KiB", size / 1024.0),
            "1024 KiB of a Secret",
            size / SECRET_LIMIT,
            SIZE_GOAL,
        );
        print_row(
            &format!("helm install, {name}"),
            &format!("{:.0} ms", median(millis)),
            "a chart of one object",
            median(ratios),
            TIME_GOAL,
        );
    }
    check_goals()
}
