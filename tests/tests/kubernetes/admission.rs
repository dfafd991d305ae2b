//! Every manifest, and every pod that comes of one, given to a real API server: it knows the resources
//! of others by their definitions, and its namespace enforces the restricted security standard.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_tests::resource_definition::RESOURCE_DEFINITIONS;
use hotswap_tests::{KubeApiServer, read_yaml, tools};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::renderer::{Manifests, VERSIONS, read, render, value_files};

/// The namespace in which the chart is rendered.
pub const NAMESPACE: &str = "ns";

/// Nothing is kept, and a field that the kind does not have is an error.
const DRY_RUN: &str = "?dryRun=All&fieldValidation=Strict";

/// How long a definition may take to become a resource. Generous, because the machine may be busy.
const DEFINITION_TIMEOUT: Duration = Duration::from_secs(60);

/// An API server with a namespace that enforces the restricted standard.
pub struct Admission {
    pub server: KubeApiServer,
    /// The paths of namespaced kinds, below their namespace's, by `apiVersion` and kind.
    resources: BTreeMap<(String, String), String>,
}

impl Admission {
    pub async fn start() -> Result<Self> {
        let admission = Self {
            server: KubeApiServer::start().await?,
            resources: BTreeMap::new(),
        };
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let namespace = json!({ "metadata": { "name": NAMESPACE, "labels": labels } });
        admission
            .server
            .create("/api/v1/namespaces", &namespace)
            .await?;
        // Of pods that name no other account. Nobody else creates it here.
        admission.create_account("default").await?;
        for definition in &RESOURCE_DEFINITIONS {
            let text = tools::resource_definition(definition)?;
            let definition = read_yaml(&text)?.remove(0);
            admission.define(&definition).await?;
        }
        Ok(admission)
    }

    /// Defines a resource, and waits until the server has it.
    async fn define(&self, definition: &Value) -> Result<()> {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.server.create(path, definition).await?;
        let name = definition["metadata"]["name"].as_str();
        let path = format!("{path}/{}", name.context("no name")?);
        let deadline = Instant::now() + DEFINITION_TIMEOUT;
        loop {
            let status = self.server.request("GET", &path, "").await?;
            let conditions = status["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            if conditions.any(|one| one["type"] == "Established" && one["status"] == "True") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not established: {status}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn create_account(&self, name: &str) -> Result<()> {
        let account = json!({ "metadata": { "name": name } });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
        self.ignore_existing(&path, &account).await
    }

    async fn ignore_existing(&self, path: &str, object: &Value) -> Result<()> {
        match self.server.create(path, object).await {
            Err(error) if !error.to_string().contains("AlreadyExists") => Err(error),
            _ => Ok(()),
        }
    }

    /// The path of the collection of a kind.
    async fn path(&mut self, version: &str, kind: &str) -> Result<String> {
        let key = (version.to_owned(), kind.to_owned());
        if let Some(path) = self.resources.get(&key) {
            return Ok(path.clone());
        }
        let group = match version.contains('/') {
            true => format!("/apis/{version}"),
            false => format!("/api/{version}"),
        };
        let deadline = Instant::now() + DEFINITION_TIMEOUT;
        // A resource that has just been defined is listed a moment later.
        let path = loop {
            let listed = self.server.request("GET", &group, "").await;
            let listed = listed.unwrap_or_default();
            let resources = listed["resources"].as_array();
            let mut resources = resources.into_iter().flatten();
            let found = resources.find(|one| {
                // Not those such as deployments/scale.
                let is_whole = one["name"].as_str().is_some_and(|name| !name.contains('/'));
                is_whole && one["kind"] == kind
            });
            if let Some(resource) = found {
                ensure!(resource["namespaced"] == true, "{kind} has no namespace");
                let name = resource["name"].as_str().context("no name")?;
                break format!("{group}/namespaces/{NAMESPACE}/{name}");
            }
            ensure!(Instant::now() < deadline, "no {kind} of {version}");
            sleep(Duration::from_millis(50)).await;
        };
        self.resources.insert(key, path.clone());
        Ok(path)
    }

    /// The path of the collection that an object belongs into.
    async fn path_of(&mut self, object: &Value) -> Result<String> {
        let (version, kind) = (&object["apiVersion"], &object["kind"]);
        let version = version.as_str().context("no apiVersion")?;
        self.path(version, kind.as_str().context("no kind")?).await
    }

    /// Creates an object in the namespace.
    pub async fn create(&mut self, object: &Value) -> Result<()> {
        let path = self.path_of(object).await?;
        self.server.create(&path, object).await.map(drop)
    }

    /// Gives the server an object, which it does not keep.
    async fn try_out(&mut self, object: &Value) -> Result<()> {
        let path = format!("{}{DRY_RUN}", self.path_of(object).await?);
        // An account that a pod needed is there; whether it already exists is asked last.
        self.ignore_existing(&path, object).await
    }

    /// Gives the server the first pod of a controller, such as a Deployment.
    async fn try_out_pod(&mut self, controller: &Value) -> Result<()> {
        let template = &controller["spec"]["template"];
        let mut spec = template["spec"].clone();
        // As the controller of StatefulSets does it.
        let claims = controller["spec"]["volumeClaimTemplates"].as_array();
        for claim in claims.into_iter().flatten() {
            let name = &claim["metadata"]["name"];
            let volume = json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
            match spec["volumes"].as_array_mut() {
                Some(volumes) => volumes.push(volume),
                None => spec["volumes"] = json!([volume]),
            }
        }
        // What a cluster has before: the chart does not make these.
        if let Some(account) = spec["serviceAccountName"].as_str() {
            self.create_account(account).await?;
        }
        if let Some(class) = spec["priorityClassName"].as_str() {
            let class = json!({ "metadata": { "name": class }, "value": 1 });
            let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
            self.ignore_existing(path, &class).await?;
        }
        let mut metadata = template["metadata"].clone();
        metadata["name"] = json!("pod");
        let (version, kind) = ("v1", "Pod");
        let pod =
            json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec });
        self.try_out(&pod).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_accepts_every_manifest_and_a_restricted_namespace_every_pod() -> Result<()> {
    let mut admission = Admission::start().await?;
    let mut kinds = BTreeMap::<String, usize>::new();
    for file in value_files()? {
        let more = ["--values", file.to_str().context("the path is no text")?];
        let text = render(VERSIONS[2], &more)?.map_err(anyhow::Error::msg)?;
        for object in read_yaml(&text)? {
            let kind = object["kind"].as_str().context("no kind")?.to_owned();
            let what = || format!("{}: {kind} {}", file.display(), object["metadata"]["name"]);
            admission.try_out(&object).await.with_context(what)?;
            if object["spec"]["template"].is_object() {
                let tried = admission.try_out_pod(&object).await;
                tried.with_context(|| format!("the pod of {}", what()))?;
            }
            *kinds.entry(kind).or_default() += 1;
        }
    }
    for kind in [
        "DaemonSet",
        "Deployment",
        "HTTPRoute",
        "Pod",
        "PrometheusRule",
        "ServiceMonitor",
        "StatefulSet",
    ] {
        ensure!(kinds.contains_key(kind), "no {kind}: {kinds:?}");
    }
    Ok(())
}

/// Without this, the test above could pass on a server that accepts everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_refuses_a_pod_with_rights_and_a_field_that_a_kind_of_others_does_not_have()
-> Result<()> {
    let mut admission = Admission::start().await?;
    let manifests =
        Manifests::of("redis: {enabled: true, securityContext: {allowPrivilegeEscalation: true}}")?;
    let store = manifests.get("StatefulSet", "rel-redis");
    let Err(error) = admission.try_out_pod(store).await else {
        bail!("a pod with rights is accepted");
    };
    ensure!(format!("{error:#}").contains("PodSecurity"), "{error:#}");
    let exposed = Manifests::of(&read("ci/exposed-values.yaml"))?;
    let mut route = exposed.all("HTTPRoute").next().context("no route")?.clone();
    route["spec"]["rules"][0]["backend"] = json!("nodes");
    let Err(error) = admission.try_out(&route).await else {
        bail!("an unknown field is accepted");
    };
    ensure!(format!("{error:#}").contains("unknown field"), "{error:#}");
    Ok(())
}
