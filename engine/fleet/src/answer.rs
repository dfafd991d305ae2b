//! What the answers of nodes mean, and those that do not come.

use std::error::Error as _;
use std::time::Duration;

use hotswap_core::{
    Digest, Histogram, ModuleName, ModuleVersion, NodeError, NodeId, NodeReading, Timestamp,
    VersionReading,
};
use hotswap_protocol::{ModuleStatus, Version, VersionStatus};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::Reply;

/// Characters of a node's own words that are passed on.
const MOST_DETAIL: usize = 500;

/// The part of an RFC 9457 problem that is for people.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

impl Reply {
    /// What it holds, where it is a success.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        self.accept()?;
        serde_json::from_slice(&self.body).map_err(|error| {
            NodeError::Other(format!(
                "its answer cannot be understood ({error}); is it a node of this version?"
            ))
        })
    }

    /// Whether the node did as asked: it refused where the fault is with the request.
    pub(crate) fn accept(&self) -> Result<(), NodeError> {
        if self.status.is_success() {
            return Ok(());
        }
        let detail = self.detail();
        Err(match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NodeError::Refused(
                "it does not accept this engine's node token; start both with the same".to_owned(),
            ),
            status if status.is_client_error() => {
                NodeError::Refused(detail.unwrap_or_else(|| format!("it answered {status}")))
            }
            status => NodeError::Other(match detail {
                Some(detail) => format!("it answered {status}: {detail}"),
                None => format!("it answered {status}"),
            }),
        })
    }

    fn detail(&self) -> Option<String> {
        let problem: Problem = serde_json::from_slice(&self.body).ok()?;
        let told = problem.detail.or(problem.title)?;
        let printable = told
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter });
        let told: String = printable.take(MOST_DETAIL).collect();
        (!told.trim().is_empty()).then_some(told)
    }
}

/// The sentence for an answer that did not come. Without the URL, which is no news.
pub(crate) fn lost(error: reqwest::Error, timeout: Duration) -> NodeError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    NodeError::Unreachable(if error.is_connect() && error.is_timeout() {
        "no connection in time".to_owned()
    } else if error.is_connect() {
        format!("no connection: {cause}")
    } else if error.is_timeout() {
        format!("no answer within {:.1} s", timeout.as_secs_f64())
    } else if error.source().is_some() {
        format!("the connection broke: {cause}")
    } else {
        "the connection broke".to_owned()
    })
}

pub(crate) fn wire(version: &ModuleVersion) -> Version {
    Version {
        version: version.version.to_string(),
        digest: version.digest.to_string(),
    }
}

/// A version that a node told.
pub(crate) fn version(module: &ModuleName, told: &Version) -> Result<ModuleVersion, NodeError> {
    Ok(ModuleVersion {
        name: module.clone(),
        version: semver::Version::parse(&told.version).map_err(|error| {
            NodeError::Other(format!("it told a version that is none: {error}"))
        })?,
        digest: digest(told)?,
    })
}

/// What a node told of a module's counters, at `at`.
pub(crate) fn reading(
    node: &NodeId,
    at: Timestamp,
    status: ModuleStatus,
) -> Result<NodeReading, NodeError> {
    let versions: Result<_, _> = status.versions.into_iter().map(counters).collect();
    Ok(NodeReading {
        node: node.clone(),
        boot: status.boot,
        at,
        cpu_millis: status.cpu_millis,
        versions: versions?,
    })
}

fn counters(status: VersionStatus) -> Result<VersionReading, NodeError> {
    let pairs = status.latency.iter().map(|held| (held.bucket, held.count));
    let latency = Histogram::from_pairs(pairs.collect()).ok_or_else(|| {
        NodeError::Other("it told latencies in buckets that there are not".to_owned())
    })?;
    Ok(VersionReading {
        digest: digest(&status.version)?,
        requests: status.requests,
        errors: status.errors,
        cpu_micros: status.cpu_micros,
        latency,
        memory: status.memory_bytes,
    })
}

fn digest(told: &Version) -> Result<Digest, NodeError> {
    told.digest
        .parse()
        .map_err(|error| NodeError::Other(format!("it told a digest that is none: {error}")))
}
