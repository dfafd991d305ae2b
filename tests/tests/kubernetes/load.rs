//! Clients of modules while something happens to a release.

use anyhow::{Result, ensure};
use hotswap_tests::{LoadGenerator, LoadReport};

use crate::release::Release;

/// Clients that send requests to the module through the service of a group of nodes.
pub fn start(release: &Release, service: &str) -> Result<LoadGenerator> {
    let url = format!("{}/hello/", release.url(service)?);
    Ok(start_at(url))
}

/// Clients that send requests to a URL.
pub fn start_at(url: String) -> LoadGenerator {
    LoadGenerator::start(vec![url], 2)
}

/// Ends them. Every request was answered, and no container has ended and been started again.
///
/// # Errors
/// Says what failed or was started again.
pub async fn end(release: &Release, clients: LoadGenerator) -> Result<LoadReport> {
    let report = clients.stop().await;
    ensure!(report.failed_requests() == 0, "{report:?}");
    ensure!(report.requests > 100, "{report:?}");
    let restarted = release.restarted_pods()?;
    ensure!(restarted.is_empty(), "started again: {restarted:?}");
    Ok(report)
}
