#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{Clock, Environment, Health, NodeId};
use serde::Deserialize;

use super::backend::{Backend, Error, ErrorKind, Snapshot};
use super::instance::{Instance, InvalidInstance};
use crate::registry::check_node_url;

/// How often the file is read. A list of nodes is small.
const INTERVAL: Duration = Duration::from_millis(500);

/// Bytes of the largest file.
const MAX_BYTES: u64 = 16 << 20;

/// A file with a list of nodes, which may change at any time.
///
/// ```json
/// { "nodes": [{
///     "id": "edge-1",
///     "environment": "production",
///     "controlUrl": "http://10.0.0.1:8081",
///     "dataUrl": "http://10.0.0.1:8080",
///     "zone": "eu",
///     "labels": { "tier": "edge" }
/// }] }
/// ```
///
/// Write it to another file and rename that: a half-written list is an error, and the last one
/// stays.
pub struct StaticFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    nodes: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    id: String,
    environment: Option<String>,
    control_url: Option<String>,
    data_url: Option<String>,
    zone: Option<String>,
    version: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl StaticFile {
    /// The list in this file.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: path.into(),
            clock,
        }
    }

    /// The content of the file, with a cursor that stands for it.
    async fn read(&self) -> Result<(String, Vec<u8>), Error> {
        let unavailable = |error: std::io::Error| {
            let path = self.path.display();
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot read the list of nodes, {path}: {error}"),
            )
        };
        let size = tokio::fs::metadata(&self.path).await.map_err(unavailable)?;
        if size.len() > MAX_BYTES {
            let message = format!(
                "the list of nodes, {}, has {} bytes; at most {MAX_BYTES} are read",
                self.path.display(),
                size.len()
            );
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        let content = tokio::fs::read(&self.path).await.map_err(unavailable)?;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Ok((format!("{:016x}", hasher.finish()), content))
    }

    fn parse(&self, content: &[u8]) -> Result<(Vec<Instance>, Vec<InvalidInstance>), Error> {
        let list: List = serde_json::from_slice(content).map_err(|error| {
            let path = self.path.display();
            Error::new(
                ErrorKind::Protocol,
                format!("the list of nodes, {path}, is invalid: {error}"),
            )
        })?;
        let (mut instances, mut invalid) = (Vec::new(), Vec::new());
        for entry in list.nodes {
            let id = entry.id.chars().take(64).collect();
            match entry.into_instance() {
                Ok(instance) => instances.push(instance),
                Err(reason) => invalid.push(InvalidInstance { id, reason }),
            }
        }
        Ok((instances, invalid))
    }
}

impl Entry {
    fn into_instance(self) -> Result<Instance, String> {
        let id: NodeId = self.id.parse().map_err(|error| format!("id: {error}"))?;
        let environment = self.environment.map(|name| name.parse::<Environment>());
        let environment = environment
            .transpose()
            .map_err(|error| format!("environment: {error}"))?;
        for (field, url) in [
            ("controlUrl", &self.control_url),
            ("dataUrl", &self.data_url),
        ] {
            if let Some(url) = url {
                check_node_url(url).map_err(|reason| format!("{field}: {reason}"))?;
            }
        }
        Ok(Instance {
            id,
            environment,
            zone: self.zone,
            version: self.version,
            labels: self.labels,
            control_url: self.control_url,
            data_url: self.data_url,
            // A file knows nothing of it.
            health: Health::Unknown,
        })
    }
}

#[async_trait]
impl Backend for StaticFile {
    async fn watch(
        &mut self,
        cursor: Option<String>,
        patience: Duration,
    ) -> Result<Snapshot, Error> {
        let until = self.clock.instant() + patience;
        loop {
            let (now, content) = self.read().await?;
            let time = self.clock.instant();
            if cursor.as_ref() != Some(&now) || time >= until {
                let (instances, invalid) = self.parse(&content)?;
                return Ok(Snapshot {
                    instances,
                    invalid,
                    cursor: now,
                });
            }
            self.clock.sleep_until(until.min(time + INTERVAL)).await;
        }
    }
}
