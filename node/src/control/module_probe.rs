//! Probes of a version, beside all traffic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotswap_core::ModuleName;
use hotswap_protocol::{ProbeAnswer, ProbeRequest, Problem, Version};
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};

use super::ControlContext;
use super::modules::check_version;
use crate::data::{LoadedVersion, ResponseBody, Route};
use crate::problem::{bad_request, problem};

/// Longer paths are no health checks.
const MAX_PROBE_PATH_BYTES: usize = 2048;

/// How much of a probe's response body is returned, in bytes.
const MAX_PROBE_BODY_BYTES: usize = 64 << 10;

/// Longest time-out of a probe.
const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a probe, and returns what the version answers.
///
/// # Errors
/// If the path is none, or the version is not on this node.
pub(super) async fn send(
    context: &ControlContext,
    module: &ModuleName,
    probe: &ProbeRequest,
) -> Result<ProbeAnswer, Problem> {
    // Before anything repeats them: they may be megabytes long.
    check_version(&probe.version).map_err(|error| bad_request(error.to_string()))?;
    let version = {
        let table = context.modules.routing_table().load();
        let route = table.get(module.as_str());
        route.and_then(|route| find_probed(route, &probe.version))
    };
    let version = version.ok_or_else(|| not_staged(module, probe))?;
    let request = check_path(module, &probe.path)?;

    let timeout = Duration::from_millis(probe.timeout_millis).min(MAX_PROBE_TIMEOUT);
    let answer = async {
        let response = version.handle_uncounted(request).await;
        let status = response.status().as_u16();
        let body = read_beginning(response.into_body()).await;
        ProbeAnswer { status, body }
    };
    let answer = tokio::time::timeout(timeout, answer).await;
    Ok(answer.unwrap_or_else(|_| ProbeAnswer {
        status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
        body: format!("no response within {timeout:?}"),
    }))
}

/// The version that a probe is for, if it is staged or active.
fn find_probed(route: &Route, version: &Version) -> Option<Arc<LoadedVersion>> {
    let loaded = [&route.staged, &route.active].into_iter().flatten();
    loaded
        .into_iter()
        .find(|loaded| loaded.version() == version)
        .cloned()
}

/// The first [`MAX_PROBE_BODY_BYTES`] of a body, or less if the body breaks off.
async fn read_beginning(mut body: ResponseBody) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            let free = MAX_PROBE_BODY_BYTES - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(free)]);
        }
        if bytes.len() == MAX_PROBE_BODY_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request for a path of a module.
///
/// # Errors
/// If it is no path.
pub(super) fn check_path(
    module: &ModuleName,
    path: &str,
) -> Result<http::Request<Empty<Bytes>>, Problem> {
    let is_path = path.starts_with('/') && path.len() <= MAX_PROBE_PATH_BYTES;
    let request = http::Request::get(format!("http://{module}{path}")).body(Empty::<Bytes>::new());
    match request {
        Ok(request) if is_path => Ok(request),
        _ => {
            let start: String = path.chars().take(80).collect();
            Err(bad_request(format!(
                "'{start}' is not a path: it must begin with '/', have no spaces, and at most \
                 {MAX_PROBE_PATH_BYTES} bytes"
            )))
        }
    }
}

fn not_staged(module: &ModuleName, probe: &ProbeRequest) -> Problem {
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        "refused",
        "The node rejects the probe",
        format!(
            "version {} of {module} is not staged on this node; stage it first",
            probe.version.version
        ),
    )
}
