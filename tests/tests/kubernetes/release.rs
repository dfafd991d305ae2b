//! A release of the chart on a real node.

mod pods;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_tests::{Authority, tools};
use serde_json::Value;
use tempfile::TempDir;

use crate::renderer::{chart, read};

pub use pods::Removal;

/// Where `cargo xtask kubernetes` has started the node.
const FOLDER: &str = "HOTSWAP_KUBERNETES";

/// How long anything may take. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The name of every release. Each has its own namespace.
const NAME: &str = "hotswap";

/// The engine's Deployment and service.
pub const ENGINE: &str = "hotswap-distributed-kernel-engine";

/// What the certificate of nodes is for, where they have one.
pub const NODE_NAME: &str = "nodes.hotswap.internal";

/// The Deployment and service of the default group of nodes.
pub const NODES: &str = "hotswap-distributed-kernel-nodes";

/// A release, in a namespace of its own. Both go with this value.
pub struct Release {
    namespace: String,
    kubeconfig: PathBuf,
    /// The machine's address, where ports of services are reached.
    address: String,
    /// Of the engine, once it is installed.
    server: String,
    token: String,
    /// Who has issued the certificates of engine and nodes, where they speak HTTPS.
    authority: Option<Authority>,
    folder: TempDir,
}

impl Release {
    /// Installs the chart with values in YAML, waits until all pods are ready, and uploads the
    /// sample module `hello` in versions 1.0.0, 2.0.0 and 3.0.0.
    ///
    /// # Errors
    /// If there is no node, or the release does not become ready.
    pub fn install(namespace: &str, values: &str) -> Result<Self> {
        let release = Self::prepare(namespace, values, None)?;
        release.create_namespace()?;
        release.start()
    }

    /// It admits no pod that the restricted security standard forbids.
    fn create_namespace(&self) -> Result<()> {
        let namespace = &self.namespace;
        self.kubectl(&["create", "namespace", namespace])?;
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", namespace, restricted])?;
        Ok(())
    }

    /// As [`Self::install`], with certificates of both sides in the secrets `engine-tls` and
    /// `nodes-tls`. That of the nodes is for [`NODE_NAME`].
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn install_over_https(namespace: &str, values: &str) -> Result<Self> {
        let release = Self::prepare(namespace, values, Some(Authority::new()?))?;
        release.create_namespace()?;
        let engine = format!("{ENGINE}.{namespace}.svc");
        for (secret, host) in [("engine-tls", engine.as_str()), ("nodes-tls", NODE_NAME)] {
            release.issue(secret, host)?;
        }
        release.start()
    }

    /// Makes a secret with a certificate for a host, and for the machine, where tests reach it.
    fn issue(&self, secret: &str, host: &str) -> Result<()> {
        let create = self.secret_command(secret, &[host])?;
        self.kubectl(&create.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(())
    }

    /// Puts another certificate into a secret of [`Self::install_over_https`]: for these hosts, and for
    /// the machine.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn renew(&self, secret: &str, hosts: &[&str]) -> Result<()> {
        let mut create = self.secret_command(secret, hosts)?;
        create.extend(["--dry-run=client", "--output=json"].map(str::to_owned));
        let object = self.kubectl(&create.iter().map(String::as_str).collect::<Vec<_>>())?;
        let file = self.folder.path().join("secret.json");
        fs::write(&file, object)?;
        self.kubectl(&["replace", "--filename", &file.to_string_lossy()])?;
        Ok(())
    }

    /// The arguments of the command that makes a secret with a new certificate.
    fn secret_command(&self, secret: &str, hosts: &[&str]) -> Result<Vec<String>> {
        let authority = self.authority.as_ref().context("no authority")?;
        let folder = self.folder.path();
        authority.issue_for(folder, secret, &[hosts, &[&self.address]].concat())?;
        let file = |key: &str, name: &str| {
            let path = folder.join(name);
            format!("--from-file={key}={}", path.display())
        };
        let files = [
            file("tls.crt", &format!("{secret}.crt")),
            file("tls.key", &format!("{secret}.key")),
            file("ca.crt", "ca.crt"),
        ];
        let create = [
            "create",
            "secret",
            "generic",
            secret,
            "--type=kubernetes.io/tls",
        ];
        let create = create.map(str::to_owned);
        Ok(create.into_iter().chain(files).collect())
    }

    fn prepare(namespace: &str, values: &str, authority: Option<Authority>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("values.yaml"), values)?;
        if let Some(authority) = &authority {
            authority.write(folder.path(), "ca")?;
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            kubeconfig: kubernetes()?.join("kubeconfig"),
            address: node_address()?,
            server: String::new(),
            token: String::new(),
            authority,
            folder,
        })
    }

    fn start(mut self) -> Result<Self> {
        let release = &mut self;
        release.upgrade(&["--install"])?;
        release.server = release.url(ENGINE)?;
        let secret = [
            "get",
            "secret",
            "hotswap-distributed-kernel-tokens",
            "--output",
        ];
        let template = "go-template={{index .data \"api-token\" | base64decode}}";
        release.token = release.kubectl(&[&secret[..], &[template]].concat())?;
        // kube-proxy forwards to a pod a moment after it is ready.
        release.wait_until("the API", || Ok(release.hotswap(&["node", "list"]).is_ok()))?;
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ] {
            let file = release.folder.path().join("hello.wasm");
            fs::write(&file, component)?;
            let module = format!("hello@{version}");
            release.hotswap(&["module", "upload", &module, &file.to_string_lossy()])?;
        }
        Ok(self)
    }

    /// Upgrades the release with its values and more arguments, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn upgrade(&self, more: &[&str]) -> Result<String> {
        let chart = chart();
        let values = self.folder.path().join("values.yaml");
        let image = "--set=image.repository=localhost/hotswap,engine.service.type=NodePort,\
            node.service.type=NodePort,image.pullPolicy=Never";
        let (chart, values) = (chart.to_string_lossy(), values.to_string_lossy());
        let base = [
            "upgrade", NAME, &chart, "--values", &values, image, "--wait",
        ];
        self.helm(&[&base[..], &["--timeout=180s"], more].concat())
    }

    /// Upgrades the release to an image by the command in the README of the chart, and waits until it
    /// is ready.
    ///
    /// # Errors
    /// If the README has no such command, or the release does not become ready.
    pub fn upgrade_as_documented(&self, tag: &str) -> Result<String> {
        let (command, chart) = (documented_upgrade()?, chart());
        let chart = &*chart.to_string_lossy();
        let tag = format!("image.tag={tag}");
        let arguments = command.iter().map(|word| match word.as_str() {
            "helm/distributed-kernel" => chart,
            word if word.starts_with("image.tag=") => tag.as_str(),
            word => word,
        });
        self.helm(&arguments.chain(["--timeout=180s"]).collect::<Vec<_>>())
    }

    /// Runs Helm in the namespace, and returns what it prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut helm = tools::helm()?.into_std();
        helm.arg("--kubeconfig").arg(&self.kubeconfig);
        run(helm.args(["--namespace", &self.namespace]).args(arguments))
    }

    /// Runs kubectl in the namespace, and returns what it prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.kubectl_command(arguments)?)
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut kubectl = tools::kubectl(&kubernetes()?)?.into_std();
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig);
        kubectl
            .args(["--namespace", &self.namespace])
            .args(arguments);
        Ok(kubectl)
    }

    /// Runs `hotswap` as a user of the engine, and returns what it prints.
    ///
    /// # Errors
    /// If it ends with another code than 0.
    pub fn hotswap(&self, arguments: &[&str]) -> Result<String> {
        let mut hotswap = tools::hotswap()?.into_std();
        hotswap.env("HOTSWAP_SERVER", &self.server);
        hotswap.env("HOTSWAP_TOKEN", &self.token);
        if self.authority.is_some() {
            hotswap.env("HOTSWAP_CA", self.folder.path().join("ca.crt"));
        }
        run(hotswap.args(arguments).stdin(Stdio::null()))
    }

    /// The JSON that `hotswap` prints.
    ///
    /// # Errors
    /// As [`Self::hotswap`].
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.hotswap(&[arguments, &["--json"]].concat())?,
        )?)
    }

    /// Deploys a version of `hello` to `production`, and waits for the end. Returns the report.
    ///
    /// # Errors
    /// If it does not succeed.
    pub fn deploy(&self, version: &str, strategy: &str, more: &[&str]) -> Result<Value> {
        let id = self.begin(version, strategy, more)?;
        self.wait_for_end(&id)
    }

    /// Begins to deploy a version of `hello` to `production`, and returns the id.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub fn begin(&self, version: &str, strategy: &str, more: &[&str]) -> Result<String> {
        let module = format!("hello@{version}");
        let base = ["deploy", &module, "-e", "production", "-s", strategy];
        let report = self.json(&[&base[..], more].concat())?;
        Ok(report["id"].as_str().context("no id")?.to_owned())
    }

    /// Waits for the end of a deployment, and returns the report.
    ///
    /// # Errors
    /// If it does not succeed, whole or in part.
    pub fn wait_for_end(&self, id: &str) -> Result<Value> {
        self.json(&["watch", id, "--timeout", "170s"])
    }

    /// Polls until `check` is true.
    ///
    /// # Errors
    /// If it is not in time; then also the state of the pods and their last words.
    pub fn wait_until(&self, what: &str, mut check: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while !check()? {
            if Instant::now() > deadline {
                let pods = self.kubectl(&["get", "pods", "--output", "wide"])?;
                let log = self.kubectl(&["logs", &format!("deployment/{ENGINE}"), "--tail=20"])?;
                bail!("not in time: {what}\n{pods}\n{log}");
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The URL of a service from outside of the cluster.
    ///
    /// # Errors
    /// If there is no such service with a port on the node.
    pub fn url(&self, service: &str) -> Result<String> {
        let port = "jsonpath={.spec.ports[0].nodePort}";
        let port = self.kubectl(&["get", "service", service, "--output", port])?;
        ensure!(!port.is_empty(), "{service} has no port on the node");
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(format!("{scheme}://{}:{port}", self.address))
    }

    /// An HTTP client that trusts the certificates of this release alone.
    ///
    /// # Errors
    /// If it speaks no HTTPS.
    pub fn client(&self) -> Result<reqwest::Client> {
        let authority = self.authority.as_ref().context("no authority")?;
        authority.client(self.folder.path(), None)
    }

    /// As [`Self::client`], where a host is the machine.
    ///
    /// # Errors
    /// If it speaks no HTTPS.
    pub fn client_of(&self, host: &str) -> Result<reqwest::Client> {
        let authority = self.authority.as_ref().context("no authority")?;
        // The port is that of the request.
        let addr = SocketAddr::new(self.address.parse()?, 0);
        authority.client_of(self.folder.path(), host, addr)
    }

    /// Uninstalls the release, and returns what of it stays in the namespace.
    ///
    /// # Errors
    /// If Helm fails.
    pub fn uninstall(&self) -> Result<String> {
        self.uninstall_but(&[])
    }

    /// As [`Self::uninstall`], where these objects are to stay, each as `kind/name`.
    ///
    /// # Errors
    /// As [`Self::uninstall`].
    pub fn uninstall_but(&self, kept: &[&str]) -> Result<String> {
        self.helm(&["uninstall", NAME, "--wait"])?;
        let kinds = "all,configmap,secret,persistentvolumeclaim,serviceaccount,role,rolebinding,\
            networkpolicy,poddisruptionbudget,horizontalpodautoscaler,ingress,endpointslice";
        let mut left = String::new();
        // Pods and the volumes of a StatefulSet end in their own time.
        self.wait_until("everything to be gone", || {
            let names = ["get", kinds, "--output", "name"];
            let all = self.kubectl(&names)?;
            let of_kubernetes = ["configmap/kube-root-ca.crt", "serviceaccount/default"];
            let ours = all.lines().filter(|line| !of_kubernetes.contains(line));
            let ours = ours.collect::<Vec<_>>();
            left = ours.join("\n");
            Ok(ours == kept)
        })?;
        Ok(left)
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        // Volumes are written again by the next release: each test has its own.
        let delete = [
            "delete",
            "namespace",
            &self.namespace,
            "--wait=false",
            "--now",
        ];
        let _ = self.kubectl(&delete);
    }
}

/// The arguments of the command in the part "Upgrade" of the chart's README, without the namespace.
///
/// # Errors
/// If there is no such command.
pub fn documented_upgrade() -> Result<Vec<String>> {
    let readme = read("README.md");
    let section = readme.split("\n## Upgrade\n").nth(1);
    let block = section.and_then(|section| section.split("```").nth(1));
    let command = block.and_then(|block| block.strip_prefix("sh\nhelm --namespace hotswap "));
    let command = command.context("no command")?.replace('\\', " ");
    Ok(command.split_whitespace().map(str::to_owned).collect())
}

/// The folder of the node.
///
/// # Errors
/// If there is no node.
pub fn kubernetes() -> Result<PathBuf> {
    let folder = std::env::var(FOLDER);
    let folder = folder.context("there is no node: run `cargo xtask kubernetes`")?;
    Ok(PathBuf::from(folder))
}

/// The address of the node.
///
/// # Errors
/// If there is no node.
pub fn node_address() -> Result<String> {
    let address = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
    let mut kubectl = tools::kubectl(&kubernetes()?)?.into_std();
    kubectl
        .arg("--kubeconfig")
        .arg(kubernetes()?.join("kubeconfig"));
    run(kubectl.args(["get", "nodes", "--output", address]))
}

/// Runs a command, and returns what it prints.
///
/// # Errors
/// If it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    ensure!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    Ok(out.into_owned())
}
