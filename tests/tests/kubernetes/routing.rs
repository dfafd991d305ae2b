//! The chart's Ingresses and HTTPRoutes, as a real controller reads them from a real API server and
//! leads clients to a real engine and its nodes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hotswap_common::free_ports;
use hotswap_common::tls::{ClientFiles, ClientTls};
use hotswap_tests::{
    Authority, ChildProcess, HubClient, Installation, ProcessExit, host_address, tools,
};
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::admission::Admission;
use crate::renderer::Manifests;

/// How long the controller may take to know its routes. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

const ENVIRONMENT: &str = "development";

/// Of the engine. Every machine knows the address of `localhost`.
const HOST: &str = "localhost";

/// Of the nodes.
const MODULES: &str = "modules.localhost";

/// As a platform team exposes an engine and its nodes in both ways.
const VALUES: &str = "
engine:
  ingress:
    enabled: true
    className: public
    hosts: [localhost]
    tls: {enabled: true, secretName: edge}
  httpRoute:
    enabled: true
    parentRefs: [{name: public}]
    hostnames: [localhost]
    path: /hotswap
nodeGroups:
  nodes:
    environment: development
    ingress:
      enabled: true
      className: public
      hosts: [modules.localhost]
      tls: {enabled: true, secretName: edge}
    httpRoute:
      enabled: true
      parentRefs: [{name: public}]
      hostnames: [modules.localhost]
";

/// An engine and a node, and a controller before them.
struct Routed {
    installation: Installation,
    authority: Authority,
    /// Where the controller listens for what comes by Ingresses.
    ingress: u16,
    /// Where the gateway listens.
    gateway: u16,
    controller: ChildProcess,
    folder: TempDir,
    admission: Admission,
    _forwarders: Vec<AbortOnDropHandle<()>>,
}

impl Routed {
    async fn start() -> Result<Self> {
        let installation = Installation::start(ENVIRONMENT, 1, &[]);
        let (mut admission, installation) = tokio::try_join!(Admission::start(), installation)?;
        let folder = tempfile::tempdir()?;
        let authority = Authority::new()?;
        authority.write(folder.path(), "ca")?;
        authority.issue_for(folder.path(), "edge", &[HOST, MODULES])?;
        let [ingress, gateway] = free_ports(2)?[..] else {
            unreachable!("two ports are asked for");
        };
        create_ingress_class(&mut admission, folder.path()).await?;
        let manifests = Manifests::of(VALUES)?;
        for kind in ["Service", "Ingress", "HTTPRoute"] {
            for object in manifests.all(kind) {
                admission.create(object).await?;
            }
        }
        let mut forwarders = Vec::new();
        let engine = address_of(&installation.url)?;
        let node = address_of(&installation.data_urls().await?[0])?;
        for (service, target) in [
            ("rel-distributed-kernel-engine", engine),
            ("rel-distributed-kernel-nodes", node),
        ] {
            let service = manifests.get("Service", service);
            forwarders.push(lead_to(&mut admission, service, target).await?);
        }
        let mut command = tools::traefik()?;
        command
            // No settings of the user.
            .env_clear()
            .env("KUBECONFIG", admission.server.kubeconfig()?)
            .arg(format!("--entrypoints.ingress.address=127.0.0.1:{ingress}"))
            .args([
                "--entrypoints.ingress.asdefault=true",
                "--entrypoints.ingress.http.tls=true",
            ])
            .arg(format!("--entrypoints.gateway.address=127.0.0.1:{gateway}"))
            .args([
                "--providers.kubernetesingress=true",
                "--providers.kubernetesgateway=true",
            ])
            .args(["--global.checknewversion=false", "--log.level=INFO"]);
        Ok(Self {
            installation,
            authority,
            ingress,
            gateway,
            controller: ChildProcess::start(command)?,
            folder,
            admission,
            _forwarders: forwarders,
        })
    }

    /// Creates the gateway that the routes of the chart belong to. Before that the controller has
    /// the certificate from Ingresses only, and would show its own if they did not name the Secret.
    async fn create_gateway(&mut self) -> Result<()> {
        let version = "gateway.networking.k8s.io/v1";
        let class = json!({
            "apiVersion": version, "kind": "GatewayClass",
            "metadata": { "name": "public" },
            "spec": { "controllerName": "traefik.io/gateway-controller" },
        });
        let path = format!("/apis/{version}/gatewayclasses");
        self.admission.server.create(&path, &class).await?;
        let gateway = json!({
            "apiVersion": version, "kind": "Gateway",
            "metadata": { "name": "public" },
            "spec": {
                "gatewayClassName": "public",
                "listeners": [{
                    "name": "https", "protocol": "HTTPS", "port": self.gateway,
                    "tls": { "certificateRefs": [{ "name": "edge" }] },
                }],
            },
        });
        self.admission.create(&gateway).await
    }

    /// A request with the engine's token.
    async fn get(&self, port: u16, host: &str, path: &str) -> Result<Response> {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let client = self.authority.client_of(self.folder.path(), host, addr)?;
        let request = client.get(format!("https://{host}:{port}{path}"));
        Ok(request.bearer_auth(&self.installation.token).send().await?)
    }

    /// Waits until the controller knows its routes, and shows the certificate of the Secret.
    async fn wait_for(&self, port: u16, host: &str, path: &str) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let answer = self.get(port, host, path).await;
            if answer.as_ref().is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            let late = Instant::now() > deadline;
            ensure!(!late, "{host}{path}: {answer:?} by {}", self.controller);
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn hotswap(&self, server: &str, arguments: &[&str]) -> Result<String> {
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.installation.folder())
            .args(["--server", server, "--token-file", "engine/token", "--ca"])
            .arg(self.folder.path().join("ca.crt"))
            .args(arguments);
        let exit = ChildProcess::start(command)?.wait_for_exit().await?;
        let ProcessExit { code, stdout, .. } = &exit;
        ensure!(*code == Some(0), "{arguments:?}: {exit:?}");
        Ok(stdout.join("\n"))
    }

    /// Starts a node that reaches the engine by the controller only.
    fn start_node(&self, server: &str, id: &str) -> Result<ChildProcess> {
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.installation.folder())
            .args(["node", "--with-parent", "--environment", ENVIRONMENT])
            .args(["--engine", server, "--ca"])
            .arg(self.folder.path().join("ca.crt"))
            .args(["--id", id, "--dir", id])
            .args(["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .args(["--token-file", "engine/node-token"]);
        ChildProcess::start(command)
    }

    /// Connects to the hub of deployments, below a path.
    async fn hub(&self, port: u16, path: &str) -> Result<HubClient> {
        let files = ClientFiles {
            authorities: Some(self.folder.path().join("ca.crt")),
            trusts_system: false,
            ..ClientFiles::default()
        };
        let mut config = ClientTls::open(files)?.config()?;
        // An upgrade to a WebSocket is one of HTTP/1.1.
        config.alpn_protocols.clear();
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let tls = TlsConnector::from(Arc::new(config));
        let stream = tls.connect(HOST.try_into()?, stream).await?;
        let url = format!("wss://{HOST}:{port}{path}/hubs/deployments");
        HubClient::connect_over_tls(stream, &url, &self.installation.token).await
    }

    /// Waits until modules answer by the host of the nodes, with their paths as they are, and checks
    /// their version.
    async fn check_modules(&self, port: u16, version: &str) -> Result<()> {
        self.wait_for(port, MODULES, "/hello/").await?;
        let answer = self.get(port, MODULES, "/hello/").await?;
        ensure!(version_of(&answer) == version, "{answer:?}");
        Ok(())
    }

    /// Rolls a version out with a further node, by clients that reach the engine at this port and
    /// below this path only. `nodes` counts that node too. Returns it.
    async fn roll_out(
        &self,
        port: u16,
        path: &str,
        version: &str,
        nodes: usize,
    ) -> Result<ChildProcess> {
        let server = format!("https://{HOST}:{port}{path}");
        let id = format!("behind-{port}");
        let node = self.start_node(&server, &id)?;
        let joined = self.installation.wait_for_nodes(nodes).await;
        joined.with_context(|| format!("the node has not joined: {node}"))?;
        let listed = self.hotswap(&server, &["node", "list", "--json"]).await?;
        ensure!(listed.contains(&id), "{listed}");

        let mut hub = self.hub(port, path).await?;
        hub.subscribe_to_all(&Value::Null).await?;
        let module = format!("hello@{version}");
        let deploy = ["deploy", &module, "-e", ENVIRONMENT, "-s", "direct"];
        let deploy = [&deploy[..], &["--watch"]].concat();
        let watched = self.hotswap(&server, &deploy).await?;
        ensure!(watched.contains("succeeded"), "{watched}");
        // Among the events of the environment, such as that the node has been updated.
        while !hub.next().await?.1.to_string().contains("executionId") {}
        // Every node runs it, also the one that got it by the controller.
        for url in self.installation.data_urls().await? {
            let answer = reqwest::get(&url).await?;
            ensure!(version_of(&answer) == version, "{url}: {answer:?}");
        }
        Ok(node)
    }
}

/// What a platform team has before it installs a chart with an Ingress: a class, and a certificate.
async fn create_ingress_class(admission: &mut Admission, folder: &Path) -> Result<()> {
    let class = json!({
        "metadata": { "name": "public" },
        "spec": { "controller": "traefik.io/ingress-controller" },
    });
    let path = "/apis/networking.k8s.io/v1/ingressclasses";
    admission.server.create(path, &class).await?;
    let read = |name: &str| {
        Ok::<_, std::io::Error>(BASE64_STANDARD.encode(std::fs::read(folder.join(name))?))
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "edge" },
        "data": { "tls.crt": read("edge.crt")?, "tls.key": read("edge.key")? },
    });
    admission.create(&secret).await
}

/// The version of the module that has answered, by a header of nodes.
fn version_of(answer: &Response) -> &str {
    let version = answer.headers().get("x-hotswap-version");
    let version = version.and_then(|version| version.to_str().ok());
    version.unwrap_or_default()
}

/// The `host:port` of a URL.
fn address_of(url: &str) -> Result<SocketAddr> {
    let url = reqwest::Url::parse(url)?;
    let addrs = url.socket_addrs(|| None)?;
    addrs.first().copied().context("no address")
}

/// Makes `target` the only endpoint of a service, as the controllers of a cluster do with a pod.
/// An endpoint cannot have a loopback address, so something that listens elsewhere passes
/// connections on.
async fn lead_to(
    admission: &mut Admission,
    service: &Value,
    target: SocketAddr,
) -> Result<AbortOnDropHandle<()>> {
    let listener = TcpListener::bind((host_address()?, 0)).await?;
    let addr = listener.local_addr()?;
    let name = &service["metadata"]["name"];
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [addr.ip()], "conditions": { "ready": true } }],
        "ports": [{
            "name": service["spec"]["ports"][0]["name"], "port": addr.port(), "protocol": "TCP",
        }],
    });
    admission.create(&slice).await?;
    let forward = async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut inside = TcpStream::connect(target).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    };
    Ok(AbortOnDropHandle::new(tokio::spawn(forward)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_and_a_route_lead_clients_nodes_and_hubs_to_the_engine() -> Result<()> {
    let mut routed = Routed::start().await?;
    let (ingress, gateway) = (routed.ingress, routed.gateway);
    routed.wait_for(ingress, HOST, "/api/v1/nodes").await?;
    let _first = routed.roll_out(ingress, "", "1.0.0", 2).await?;
    routed.check_modules(ingress, "1.0.0").await?;

    routed.create_gateway().await?;
    let path = "/hotswap/api/v1/nodes";
    routed.wait_for(gateway, HOST, path).await?;
    let _second = routed.roll_out(gateway, "/hotswap", "2.0.0", 3).await?;
    routed.check_modules(gateway, "2.0.0").await?;
    routed.check_modules(ingress, "2.0.0").await?;

    // Without its prefix a path is not the engine's, and no host is another's.
    for (port, host, path) in [
        (gateway, HOST, "/api/v1/nodes"),
        (ingress, MODULES, "/api/v1/nodes"),
        (gateway, MODULES, path),
    ] {
        let answer = routed.get(port, host, path).await?;
        ensure!(answer.status() == 404, "{host}{path}: {answer:?}");
    }
    Ok(())
}
