use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_common::free_ports;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::child_process::ChildProcess;
use crate::{RegistryKind, RegistryServer, tools};

/// How long it may take to answer. Generous, because the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The token of the administrator.
const ADMIN: &str = "token-of-the-administrator";

/// A real API server of Kubernetes, with an etcd of its own and without controllers or nodes. Both
/// are killed when this is dropped.
pub struct KubeApiServer {
    etcd: RegistryServer,
    port: u16,
    data: TempDir,
    /// `None` while it is down.
    process: Option<ChildProcess>,
    tls: TlsConnector,
}

impl KubeApiServer {
    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// If a program is not installed, or does not answer in time.
    pub async fn start() -> Result<Self> {
        let data = TempDir::new()?;
        let tls = write_files(data.path())?;
        let mut server = Self {
            etcd: RegistryServer::start(RegistryKind::Etcd).await?,
            port: free_ports(1)?[0],
            data,
            process: None,
            tls,
        };
        server.restart().await?;
        server.create_default_account().await?;
        Ok(server)
    }

    /// Pods need it, and nobody else creates it here.
    async fn create_default_account(&self) -> Result<()> {
        let account = json!({ "metadata": { "name": "default" } });
        let path = "/api/v1/namespaces/default/serviceaccounts";
        let deadline = Instant::now() + START_TIMEOUT;
        // The namespace appears a moment after the server is ready.
        while let Err(error) = self.create(path, &account).await {
            if Instant::now() > deadline {
                return Err(error);
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Where it answers requests.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority that its own is of.
    pub fn authority(&self) -> PathBuf {
        self.data.path().join("ca.pem")
    }

    /// Writes a configuration of the administrator, for `kubectl` and Helm, and returns its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "admin",
            "clusters": [{ "name": "admin", "cluster": {
                "server": self.url(), "certificate-authority": self.authority(),
            } }],
            "users": [{ "name": "admin", "user": { "token": ADMIN } }],
            "contexts": [{ "name": "admin", "context": { "cluster": "admin", "user": "admin" } }],
        });
        let path = self.data.path().join("kubeconfig");
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// The etcd in which it keeps its objects.
    pub fn etcd(&self) -> &RegistryServer {
        &self.etcd
    }

    /// Creates an object as the administrator.
    ///
    /// # Errors
    /// If it does not answer with a status 2xx.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.request("POST", path, &object.to_string()).await
    }

    /// A service account, bound to a role with these rules, and a token of it.
    ///
    /// # Errors
    /// If one of these cannot be created.
    pub async fn account(&self, name: &str, rules: &Value) -> Result<String> {
        let of = |kind: &str| format!("/api/v1/namespaces/default/{kind}");
        let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
        let metadata = json!({ "name": name });
        let account = json!({ "metadata": metadata });
        self.create(&of("serviceaccounts"), &account).await?;
        let role = json!({ "metadata": metadata, "rules": rules });
        self.create(&format!("{rbac}/roles"), &role).await?;
        let binding = json!({
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "default" }],
        });
        self.create(&format!("{rbac}/rolebindings"), &binding)
            .await?;
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "expirationSeconds": 3600 },
        });
        let path = of(&format!("serviceaccounts/{name}/token"));
        let answer = self.create(&path, &request).await?;
        let token = answer["status"]["token"].as_str();
        Ok(token.context("no token in the answer")?.to_owned())
    }

    /// Sends it a request as the administrator, and returns the answer.
    ///
    /// # Errors
    /// If it does not answer with a status 2xx.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let (answer, connection) = self.send(method, path, body).await?;
        let status = answer.status();
        let answer = answer.into_body().collect().await?.to_bytes();
        drop(connection);
        let text = String::from_utf8_lossy(&answer);
        if !status.is_success() {
            bail!("{method} {path}: {status} {text}");
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Watches objects as the administrator, from now on: calls `seen` for each part of the answer.
    ///
    /// # Errors
    /// Once the watch has ended, and if it does not begin.
    pub async fn watch(&self, path: &str, seen: impl Fn(&[u8])) -> Result<()> {
        let (answer, _connection) = self.send("GET", path, "").await?;
        let status = answer.status();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                seen(&data);
            }
        }
        bail!("{path}: {status}: the watch has ended")
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(Response<Incoming>, AbortOnDropHandle<()>)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = TokioIo::new(self.tls.connect(name, stream).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let connection = tokio::spawn(async move {
            // A request that waits for it is told why it failed.
            let _ = connection.await;
        });
        let connection = AbortOnDropHandle::new(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        Ok((sender.send_request(request).await?, connection))
    }

    /// Kills it. Its etcd goes on.
    ///
    /// # Errors
    /// If it is down, or is not gone in time.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.take().context("it is down")?.kill().await
    }

    /// Starts it again on the same port, and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = Some(ChildProcess::start(self.command()?)?);
        let deadline = Instant::now() + START_TIMEOUT;
        // It says when it is ready only to those who ask.
        while let Err(error) = self.request("GET", "/readyz", "").await {
            if Instant::now() > deadline {
                let process = self.process.as_ref().map(ToString::to_string);
                bail!("{error:#}: {}", process.unwrap_or_default());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Starts it again on the same port, without its objects: its etcd has lost everything.
    ///
    /// # Errors
    /// If it is not down, or a program does not answer in time.
    pub async fn restart_empty(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "it would write its objects again");
        self.etcd.kill().await?;
        self.etcd.restart_empty().await?;
        self.restart().await?;
        self.create_default_account().await
    }

    fn command(&self) -> Result<Command> {
        let file = |name: &str| self.data.path().join(name).display().to_string();
        let mut command = tools::kube_apiserver()?;
        command
            .arg(format!("--etcd-servers={}", self.etcd.url()))
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--cert-dir={}", file("certificates")))
            .arg(format!("--tls-cert-file={}", file("server.pem")))
            .arg(format!("--tls-private-key-file={}", file("server.key")))
            .arg(format!(
                "--service-account-key-file={}",
                file("accounts.pub")
            ))
            .arg(format!(
                "--service-account-signing-key-file={}",
                file("accounts.key")
            ))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .args(["--bind-address=127.0.0.1", "--authorization-mode=RBAC"])
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg("--service-cluster-ip-range=10.0.0.0/24");
        Ok(command)
    }
}

/// Writes what it needs to start, and returns what trusts it.
fn write_files(folder: &Path) -> Result<TlsConnector> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let server = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let accounts = KeyPair::generate()?;
    for (name, content) in [
        ("ca.pem", authority.pem()),
        ("server.pem", server.pem()),
        ("server.key", key.serialize_pem()),
        ("accounts.key", accounts.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
        (
            "tokens.csv",
            format!("{ADMIN},admin,admin,system:masters\n"),
        ),
    ] {
        std::fs::write(folder.join(name), content)?;
    }
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
