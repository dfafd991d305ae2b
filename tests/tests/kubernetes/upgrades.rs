//! Upgrades on a real API server, which keeps objects and has no controllers: what Helm is told by
//! the chart, and what becomes of the objects.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{KubeApiServer, tools};
use serde_json::Value;
use tempfile::TempDir;

use crate::guards::{CLAIM_GOES, SERVER_GOES};
use crate::release::documented_upgrade;
use crate::renderer::{chart, read};

const NAMESPACE: &str = "hotswap";
const RELEASE: &str = "hotswap";
const CLAIM: &str = "hotswap-distributed-kernel-engine";

/// An API server, and Helm with its address.
struct Cluster {
    server: KubeApiServer,
    kubeconfig: PathBuf,
    /// Where Helm keeps what it has learned of the server.
    home: TempDir,
}

impl Cluster {
    async fn start() -> Result<Self> {
        let server = KubeApiServer::start().await?;
        let kubeconfig = server.kubeconfig()?;
        Ok(Self {
            server,
            kubeconfig,
            home: tempfile::tempdir()?,
        })
    }

    /// Runs Helm in the namespace. The inner result is what it prints, or its error.
    async fn helm(&self, arguments: &[&str]) -> Result<Result<String, String>> {
        let mut helm = tools::helm()?;
        helm.env_clear().env("KUBECONFIG", &self.kubeconfig);
        helm.env("HOME", self.home.path());
        helm.args(["--namespace", NAMESPACE]).args(arguments);
        let output = helm.output().await?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        })
    }

    /// Installs a chart. Nobody starts its pods, so nobody waits for them.
    async fn install(&self, chart: &Path, more: &[&str]) -> Result<()> {
        let chart = chart.to_str().context("the path is no text")?;
        let base = ["install", RELEASE, chart, "--create-namespace"];
        let image = "--set=image.repository=registry.example/hotswap";
        let installed = self.helm(&[&base[..], &[image], more].concat()).await?;
        installed.map_err(anyhow::Error::msg)?;
        Ok(())
    }

    /// Upgrades to the chart of the repository, with the values as they are and these.
    async fn upgrade(&self, settings: &[&str]) -> Result<Result<String, String>> {
        let chart = chart();
        let chart = chart.to_str().context("the path is no text")?;
        let base = ["upgrade", RELEASE, chart, "--reset-then-reuse-values"];
        let settings = settings.iter().map(|setting| format!("--set={setting}"));
        let settings: Vec<_> = settings.collect();
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        self.helm(&[&base[..], &settings].concat()).await
    }

    /// What a secret holds.
    async fn secret(&self, name: &str) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
        let secret = self.server.request("GET", &path, "").await?;
        Ok(secret["data"].clone())
    }

    /// The engine's claim, as long as nobody has asked to delete it.
    async fn claim(&self) -> Option<Value> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/{CLAIM}");
        let claim = self.server.request("GET", &path, "").await.ok()?;
        claim["metadata"]["deletionTimestamp"]
            .is_null()
            .then_some(claim)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_would_delete_the_journals_is_refused_until_they_are_kept() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.install(&chart(), &[]).await?;
    ensure!(cluster.claim().await.is_some(), "no claim");
    let reason = CLAIM_GOES.replace("%s", CLAIM);
    for setting in [
        "redis.enabled=true",
        "externalRedis.url=redis://redis:6379",
        "engine.persistence.existingClaim=mine",
        "fullnameOverride=other",
    ] {
        let refused = cluster.upgrade(&[setting]).await?;
        let error = refused.err().with_context(|| setting.to_owned())?;
        ensure!(error.contains(&reason), "{setting}: {error}");
        ensure!(error.contains("engine.persistence.keep"), "{error}");
        ensure!(cluster.claim().await.is_some(), "{setting}");
        // Kept and gone from the release in one step, Helm would not have read that it is kept.
        let both = ["engine.persistence.keep=true", setting];
        ensure!(cluster.upgrade(&both).await?.is_err(), "{setting}");
    }
    // What does not touch the claim goes on.
    for settings in ["node.replicaCount=4", "engine.persistence.keep=true"] {
        let upgraded = cluster.upgrade(&[settings]).await?;
        upgraded.map_err(anyhow::Error::msg)?;
    }
    let upgraded = cluster.upgrade(&["redis.enabled=true"]).await?;
    upgraded.map_err(anyhow::Error::msg)?;
    let claim = cluster.claim().await.context("the claim is gone")?;
    let policy = &claim["metadata"]["annotations"]["helm.sh/resource-policy"];
    ensure!(policy == "keep", "{claim}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_would_leave_the_journals_in_the_valkey_is_refused_until_they_are_moved()
-> Result<()> {
    let cluster = Cluster::start().await?;
    cluster
        .install(&chart(), &["--set=redis.enabled=true"])
        .await?;
    let reason = SERVER_GOES.replace("%s", "hotswap-redis");
    let alone = ["redis.enabled=false"];
    let external = [
        "redis.enabled=false",
        "externalRedis.url=redis://redis:6379",
    ];
    for settings in [&alone[..], &external[..]] {
        let refused = cluster.upgrade(settings).await?;
        let error = refused.err().with_context(|| format!("{settings:?}"))?;
        ensure!(error.contains(&reason), "{settings:?}: {error}");
        ensure!(error.contains("redis.stateMoved"), "{error}");
    }
    // What leaves the server alone goes on, and so does a move that somebody has made.
    let moved = [&external[..], &["redis.stateMoved=true"]].concat();
    for settings in [&["node.replicaCount=4"][..], &moved] {
        let upgraded = cluster.upgrade(settings).await?;
        upgraded.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_secrets_survive_upgrades() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster
        .install(&chart(), &["--set=redis.enabled=true"])
        .await?;
    let secrets = async || {
        let tokens = cluster.secret("hotswap-distributed-kernel-tokens").await?;
        anyhow::Ok((tokens, cluster.secret("hotswap-redis").await?))
    };
    let (tokens, password) = secrets().await?;
    // 43 characters, in base64.
    for secret in [
        &tokens["api-token"],
        &tokens["node-token"],
        &password["password"],
    ] {
        ensure!(
            secret.as_str().is_some_and(|text| text.len() == 60),
            "{secret}"
        );
    }
    for setting in ["node.replicaCount=4", "redis.maxMemory=256mb"] {
        let upgraded = cluster.upgrade(&[setting]).await?;
        upgraded.map_err(anyhow::Error::msg)?;
        let after = secrets().await?;
        ensure!(after == (tokens.clone(), password.clone()), "{setting}");
    }
    // One that is set is taken, and leaves the others alone.
    let upgraded = cluster.upgrade(&["auth.apiToken=0123456789abcdef"]).await?;
    upgraded.map_err(anyhow::Error::msg)?;
    let (changed, same) = secrets().await?;
    ensure!(changed["api-token"] != tokens["api-token"]);
    ensure!(changed["node-token"] == tokens["node-token"] && same == password);
    Ok(())
}

/// A release of an older chart lacks sections that the new one has.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_the_readme_upgrades_from_a_chart_with_fewer_values() -> Result<()> {
    let cluster = Cluster::start().await?;
    let folder = tempfile::tempdir()?;
    let old = folder.path().join("distributed-kernel");
    fs::create_dir_all(old.join("templates"))?;
    let of_this = read("Chart.yaml");
    let (alone, _) = of_this
        .split_once("dependencies:\n")
        .context("no dependencies")?;
    fs::write(old.join("Chart.yaml"), alone)?;
    fs::write(
        old.join("values.yaml"),
        "image: {repository: '', tag: ''}\n",
    )?;
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n";
    fs::write(old.join("templates/old.yaml"), object)?;
    cluster
        .install(&old, &["--set=nodeGroups.nodes.environment=qa"])
        .await?;

    let (command, chart) = (documented_upgrade()?, chart());
    let chart = chart.to_str().context("the path is no text")?;
    let arguments: Vec<_> = command
        .iter()
        // Nobody starts the pods.
        .filter(|word| *word != "--wait")
        .map(|word| match word.as_str() {
            "helm/distributed-kernel" => chart,
            word => word,
        })
        .collect();
    let upgraded = cluster.helm(&arguments).await?;
    upgraded.map_err(anyhow::Error::msg)?;
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
    let nodes = format!("{path}/hotswap-distributed-kernel-nodes");
    let nodes = cluster.server.request("GET", &nodes, "").await?;
    let container = &nodes["spec"]["template"]["spec"]["containers"][0];
    ensure!(
        container["image"] == "registry.example/hotswap:0.2.0",
        "{container}"
    );
    let arguments = container["args"].to_string();
    ensure!(arguments.contains("--environment=qa"), "{arguments}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notes_name_addresses_that_answer() -> Result<()> {
    let cluster = Cluster::start().await?;
    let chart = chart();
    let chart = chart.to_str().context("the path is no text")?;
    let notes = async |settings: &str| {
        let base = ["install", RELEASE, chart, "--dry-run=server"];
        let settings = format!("--set=image.repository=a/b,{settings}");
        let printed = cluster.helm(&[&base[..], &[&settings]].concat()).await?;
        let printed = printed.map_err(anyhow::Error::msg)?;
        let notes = printed.split("\nNOTES:\n").nth(1).context("no notes")?;
        anyhow::Ok(notes.to_owned())
    };
    let nodes = "//hotswap-distributed-kernel-nodes.hotswap.svc";
    let plain = notes("node.replicaCount=3").await?;
    for part in [
        "port-forward service/hotswap-distributed-kernel-engine 5000:5000",
        "export HOTSWAP_SERVER=http://127.0.0.1:5000",
        "get secret hotswap-distributed-kernel-tokens",
        &format!("http:{nodes}/MODULE/"),
        "The engine's volume goes with the release",
    ] {
        ensure!(plain.contains(part), "{part}: {plain}");
    }
    ensure!(
        !plain.contains("https:") && !plain.contains("HOTSWAP_CA"),
        "{plain}"
    );
    let tls = "tls.engineSecret=ours,tls.nodeSecret=theirs,tls.nodeName=nodes";
    let secure = notes(tls).await?;
    for part in [
        "export HOTSWAP_SERVER=https://127.0.0.1:5000",
        "get secret ours",
        &format!("https:{nodes}:80/MODULE/"),
    ] {
        ensure!(secure.contains(part), "{part}: {secure}");
    }
    ensure!(!secure.contains("http:"), "{secure}");
    let ingress = "engine.ingress.enabled=true,engine.ingress.hosts={a.example}";
    let at_root = notes(ingress).await?;
    let server = "export HOTSWAP_SERVER=http://a.example\n";
    ensure!(at_root.contains(server), "{at_root}");
    let annotation = "engine.ingress.annotations.rewrite=/$2";
    let path = "engine.ingress.path=/hotswap(/|$)(.*)";
    let below = notes(&format!("{ingress},{annotation},{path}")).await?;
    let server = "export HOTSWAP_SERVER=http://a.example/hotswap\n";
    ensure!(below.contains(server), "{below}");
    let shared = notes("redis.enabled=true").await?;
    ensure!(shared.contains("3 engines share the Valkey"), "{shared}");
    Ok(())
}
