//! The pods of a release: which there are, what they run, and how they go.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{NODES, Release, kubernetes, run};

/// When a pod is removed, of several that may go.
#[derive(Debug, Clone, Copy)]
pub enum Removal {
    First,
    Last,
}

impl Release {
    /// The names of the pods of a component that do not terminate.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn pods(&self, component: &str) -> Result<Vec<String>> {
        let selector = format!("app.kubernetes.io/component={component}");
        let pods = ["get", "pods", "--selector", &selector, "--output", "json"];
        let pods: Value = serde_json::from_str(&self.kubectl(&pods)?)?;
        let pods = pods["items"].as_array().context("no list")?;
        let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let name = |pod: &Value| pod["metadata"]["name"].as_str().map(str::to_owned);
        pods.iter()
            .filter(stays)
            .map(name)
            .collect::<Option<_>>()
            .context("no name")
    }

    /// The name of a pod of the default group that runs this version of `hello`.
    ///
    /// # Errors
    /// If none does, by the engine.
    pub fn pod_with(&self, version: &str) -> Result<String> {
        let (versions, pods) = (self.versions()?, self.pods("node-nodes")?);
        let found = pods.into_iter().zip(&versions);
        let mut found = found.filter(|(_, one)| *one == version);
        let (pod, _) = found
            .next()
            .with_context(|| format!("no pod runs {version}: {versions:?}"))?;
        Ok(pod)
    }

    /// Asks Kubernetes to remove this pod before all others, or after them, when there are to be fewer.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn set_removal(&self, pod: &str, removal: Removal) -> Result<()> {
        let cost = match removal {
            Removal::First => "-1000",
            Removal::Last => "1000",
        };
        let cost = format!("controller.kubernetes.io/pod-deletion-cost={cost}");
        self.kubectl(&["annotate", "pod", pod, &cost])?;
        Ok(())
    }

    /// The address of a pod within the cluster.
    ///
    /// # Errors
    /// If there is no such pod, or it has no address yet.
    pub fn pod_address(&self, pod: &str) -> Result<String> {
        let address = "jsonpath={.status.podIP}";
        let address = self.kubectl(&["get", "pod", pod, "--output", address])?;
        ensure!(!address.is_empty(), "{pod} has no address");
        Ok(address)
    }

    /// The names of the threads of a pod's program, as the node's system knows them.
    ///
    /// # Errors
    /// If there is no such pod, or its container does not run.
    pub fn threads(&self, pod: &str) -> Result<Vec<String>> {
        let id = "jsonpath={.status.containerStatuses[0].containerID}";
        let id = self.kubectl(&["get", "pod", pod, "--output", id])?;
        let (_, id) = id.split_once("://").context("no container")?;
        // The container's control group has its id.
        let script = format!(
            "cat $(grep --files-with-matches {id} /proc/[0-9]*/cgroup | \
                sed 's,/cgroup$,/task/*/comm,')"
        );
        let mut shell = Command::new(kubernetes()?.join("inside"));
        let names = run(shell.args(["sh", "-c", &script]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The pods of which a container has ended and been started again.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn restarted_pods(&self) -> Result<Vec<String>> {
        let pods: Value =
            serde_json::from_str(&self.kubectl(&["get", "pods", "--output=json"])?)?;
        let pods = pods["items"].as_array().context("no list")?;
        let restarts = |pod: &Value| {
            let containers = pod["status"]["containerStatuses"].as_array();
            let counts = containers.into_iter().flatten();
            let counts = counts.map(|container| container["restartCount"].as_u64());
            counts.map(Option::unwrap_or_default).sum::<u64>()
        };
        let restarted = pods.iter().filter(|pod| restarts(pod) > 0);
        Ok(restarted
            .map(|pod| pod["metadata"]["name"].to_string())
            .collect())
    }

    /// Waits until that many node pods are ready, and no other is there.
    ///
    /// # Errors
    /// If they are not in time.
    pub fn wait_for_nodes(&self, count: usize) -> Result<()> {
        self.wait_for_pods(NODES, count)
    }

    /// As [`Self::wait_for_nodes`], of any Deployment.
    ///
    /// # Errors
    /// If they are not in time.
    pub fn wait_for_pods(&self, deployment: &str, count: usize) -> Result<()> {
        self.wait_until(&format!("{count} pods of {deployment}"), || {
            let ready = "jsonpath={.status.readyReplicas}/{.status.replicas}";
            let ready = self.kubectl(&["get", "deployment", deployment, "--output", ready])?;
            Ok(ready == format!("{count}/{count}"))
        })
    }

    /// What each node pod of the default group runs of `hello`, by the engine; `none` where it does not
    /// know.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn versions(&self) -> Result<Vec<String>> {
        self.versions_of("nodes")
    }

    /// Waits until so many node pods of the default group run this version of `hello`, and no others.
    /// The engine hears of it with a node's next report.
    ///
    /// # Errors
    /// If that does not come true, or the engine does not answer.
    pub fn wait_for_versions(&self, version: &str, nodes: usize) -> Result<()> {
        self.wait_until(&format!("{version} on {nodes} nodes"), || {
            let versions = self.versions()?;
            Ok(versions.len() == nodes && versions.iter().all(|one| one == version))
        })
    }

    /// As [`Self::versions`], of a group.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn versions_of(&self, group: &str) -> Result<Vec<String>> {
        let mut versions = Vec::new();
        for pod in self.pods(&format!("node-{group}"))? {
            // A pod that has just started is not a node yet.
            let node = self.json(&["node", "get", &pod]).unwrap_or_default();
            let modules = node["modules"].as_array().cloned().unwrap_or_default();
            let hello = modules
                .iter()
                .find(|module| module["moduleName"] == "hello");
            let version = hello.and_then(|module| module["actual"].as_str());
            versions.push(version.unwrap_or("none").to_owned());
        }
        Ok(versions)
    }

    /// Asks to evict a pod, as `kubectl drain` does. The error is the API server's.
    ///
    /// # Errors
    /// If it is refused.
    pub fn evict(&self, pod: &str) -> Result<()> {
        let file = self.folder.path().join("eviction.json");
        let eviction = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": pod, "namespace": self.namespace },
        });
        fs::write(&file, eviction.to_string())?;
        let namespace = &self.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let file = file.to_string_lossy();
        self.kubectl(&["create", "--raw", &path, "--filename", &file])?;
        Ok(())
    }
}
